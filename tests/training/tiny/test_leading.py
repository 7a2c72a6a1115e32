"""One picture leads to another: evidence is asked of the one and then of the other."""

from dataclasses import replace

import pytest
import torch

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.tiny.bank import BankConfig, plan_bank
from afterview.training.tiny.device_batch import to_device
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.stories import StoryBatch, make_batch, shelf_of
from afterview.training.tiny.study import StudyObjective
from afterview.training.tiny.texts import Words
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)
PLAN = LessonPlan(
    name="leading", kinds={"before": 1.0, "after": 1.0, "colour": 0.5}, frames=48, tokens_read=6, window=4, stories=3, questions=6,
    asked=(1,), duration_s=(100, 200), most=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def batch() -> StoryBatch:
    bank = BankConfig(seeds=4, clips=66, backgrounds=4, first_seed=FIRST_TRAINING_SEED + 9000)
    tokenizer = load_pretrained("tiny").tokenizer
    assert tokenizer is not None
    return make_batch(PLAN, shelf_of(plan_bank(bank)), Words(tokenizer), FORGETTING, seed=1, number=0)


def test_evidence_is_asked_of_what_leads_and_then_of_the_proof(batch: StoryBatch) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    assert model.tokenizer is not None
    study = StudyObjective(model.video_language, Words(model.tokenizer).head, forgetting=FORGETTING)
    features = torch.randn(batch.rows.max() + 1, 64, 128, generator=torch.Generator().manual_seed(0)).half()
    places = batch.needles.cumsum(1) * batch.needles
    two = batch.needles.sum(1, keepdims=True) > 1  # the first frame of several leads to the last
    firsts, last = (
        batch.needles & (~two | (places == 1)),
        batch.needles & (~two | (places == places.max(1, keepdims=True))),
    )
    ready = to_device(replace(batch, firsts=firsts, needles=last), features, None, PLAN.tokens_read)
    assert ready.led.any()
    assert not ready.led.all()
    with torch.no_grad():
        reading = study.read(ready)
        losses = {}
        for name, first, second in (
            ("leads, proof", ready.firsts, ready.needles),
            ("proof, proof", ready.needles, ready.needles),
            ("leads, leads", ready.firsts, ready.firsts),
        ):
            looked = [mask / mask.sum(1, keepdim=True).clamp(min=1) for mask in (first, second)]
            asking = reading.asking._replace(clues_BN=looked[0])
            told = reading._replace(masses_KBN=torch.stack(looked), asking=asking)
            losses[name] = float(study.judged(ready, told).figures["proving"])
    right = losses.pop("leads, proof")
    assert right == pytest.approx(0.0, abs=1e-6)
    assert min(losses.values()) > 0.5
