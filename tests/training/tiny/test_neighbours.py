"""What came right before or after a thing: the thing leads to its neighbour, and evidence is asked of the one after the other."""

from random import Random

import numpy as np
import pytest
import torch

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.tiny.bank import BankConfig, plan_bank
from afterview.training.tiny.device_batch import to_device
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.stories import StoryBatch, make_batch, shelf_of
from afterview.training.tiny.study import StudyObjective
from afterview.training.tiny.texts import Text, Words
from afterview.training.world import WorldQuestion
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)
PLAN = LessonPlan(
    name="neighbours", kinds={"before": 1.0, "after": 1.0, "colour": 0.5}, frames=48, tokens_read=6, window=4, stories=3, questions=6,
    asked=(1,), duration_s=(100, 200), most=10,
)  # fmt: skip


class NotingWords(Words):
    """Words that note which questions they read."""

    def read(self, question: WorldQuestion, span: int, rng: Random, noisy: float, reword: float = 0.0) -> Text:
        noted.append(question)
        return super().read(question, span, rng, noisy, reword)


noted: list[WorldQuestion] = []


@pytest.fixture(scope="module")
def batch() -> StoryBatch:
    bank = BankConfig(seeds=4, clips=66, backgrounds=4, first_seed=FIRST_TRAINING_SEED + 9000)
    tokenizer = load_pretrained("tiny").tokenizer
    assert tokenizer is not None
    return make_batch(PLAN, shelf_of(plan_bank(bank)), NotingWords(tokenizer), FORGETTING, seed=1, number=0)


def test_a_thing_leads_to_its_neighbour(batch: StoryBatch) -> None:
    kinds = set()
    for row, question in enumerate(noted):
        numbers = batch.numbers[row // PLAN.questions]
        leads, proofs = (numbers[mask[row]] for mask in (batch.firsts, batch.needles))
        if question.kind == "colour" or len(question.spans) < 2:
            assert np.array_equal(leads, proofs)
            continue
        (start, end), (next_start, next_end) = question.spans
        assert len(leads)
        assert len(proofs)
        assert all(start <= number < end for number in leads)
        assert all(next_start <= number < next_end for number in proofs)
        assert (leads.max() < proofs.min()) == (question.kind == "after")
        kinds.add(question.kind)
    assert kinds == {"before", "after"}


def test_evidence_is_asked_of_the_thing_and_then_of_its_neighbour(batch: StoryBatch) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    assert model.tokenizer is not None
    study = StudyObjective(model.video_language, Words(model.tokenizer).head, forgetting=FORGETTING)
    features = torch.randn(batch.rows.max() + 1, 64, 128, generator=torch.Generator().manual_seed(0)).half()
    ready = to_device(batch, features, None, PLAN.tokens_read)
    assert ready.led.any()
    assert not ready.led.all()
    with torch.no_grad():
        reading = study.read(ready)
        losses = {}
        for name, first, second in (
            ("thing, neighbour", ready.firsts, ready.needles),
            ("neighbour, neighbour", ready.needles, ready.needles),
            ("thing, thing", ready.firsts, ready.firsts),
        ):
            looked = [mask / mask.sum(1, keepdim=True).clamp(min=1) for mask in (first, second)]
            asking = reading.asking._replace(clues_BN=looked[0])
            told = reading._replace(masses_KBN=torch.stack(looked), asking=asking)
            losses[name] = float(study.judged(ready, told).figures["proving"])
    right = losses.pop("thing, neighbour")
    assert right == pytest.approx(0.0, abs=1e-6)
    assert min(losses.values()) > 0.5
