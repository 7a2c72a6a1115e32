"""Further lessons stay near their teacher on what it knows."""

import dataclasses

import pytest
import torch

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.tiny.bank import BankConfig, plan_bank
from afterview.training.tiny.device_batch import DeviceBatch, to_device
from afterview.training.tiny.keeping import KeepingObjective
from afterview.training.tiny.lessons import KeepWeights, LessonPlan
from afterview.training.tiny.stories import make_batch, shelf_of
from afterview.training.tiny.study import StudyObjective
from afterview.training.tiny.texts import Words
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)
PLAN = LessonPlan(
    name="some", kinds={"colour": 1.0, "where": 1.0}, frames=24, tokens_read=6, window=4, stories=2, questions=3,
    asked=(1,), duration_s=(60, 200), most=10,
)  # fmt: skip


def study(*, every_block: bool = False) -> StudyObjective:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    assert model.tokenizer is not None
    return StudyObjective(
        model.video_language, Words(model.tokenizer).head, forgetting=FORGETTING, every_block=every_block
    )


@pytest.fixture(scope="module")
def stories() -> DeviceBatch:
    bank = BankConfig(seeds=4, clips=66, backgrounds=4, first_seed=FIRST_TRAINING_SEED + 9000)
    tokenizer = load_pretrained("tiny").tokenizer
    assert tokenizer is not None
    made = make_batch(PLAN, shelf_of(plan_bank(bank)), Words(tokenizer), FORGETTING, seed=1, number=0)
    features = torch.randn(made.rows.max() + 1, 64, 128, generator=torch.Generator().manual_seed(0)).half()
    return to_device(made, features, None, PLAN.tokens_read)


def kept(objective: KeepingObjective, batch: DeviceBatch) -> float:
    batch = dataclasses.replace(batch, keep=KeepWeights(answers=1.0))
    with torch.no_grad():
        return sum(float(objective(batch).figures[f"kept {what}"]) for what in ("answers", "evidence"))


def test_a_student_that_is_its_teacher_has_kept_all_and_reads_the_same_tokens(stories: DeviceBatch) -> None:
    torch.manual_seed(3)
    assert kept(KeepingObjective(study(), study()), stories) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("changed", ["language.decoder.model.layers.2", "memaug.layers.1"])
def test_what_changes_answers_or_evidence_is_counted_and_weighed(stories: DeviceBatch, changed: str) -> None:
    student = study()
    with torch.no_grad():
        for weights in student.model.get_submodule(changed).parameters():
            weights.mul_(1.3)
    losses = []
    for weights in (None, KeepWeights(answers=2.0), KeepWeights(evidence=3.0)):
        torch.manual_seed(3)
        objective = KeepingObjective(student, study())
        with torch.no_grad():
            output = objective(dataclasses.replace(stories, keep=weights))
        losses.append(float(output.loss))
    answers, evidence = (float(output.figures[f"kept {what}"]) for what in ("answers", "evidence"))
    assert (answers if "decoder" in changed else evidence) > 1e-3
    assert losses[1] - losses[0] == pytest.approx(2 * answers, rel=1e-2, abs=1e-5)
    assert losses[2] - losses[0] == pytest.approx(3 * evidence, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("block", range(4))
def test_where_each_block_looks_is_kept_also_where_no_evidence_is_read(stories: DeviceBatch, block: int) -> None:
    losses = {}
    for every_block in (False, True):
        student = study(every_block=every_block)
        with torch.no_grad():
            student.model.get_submodule(f"memaug.layers.{block}.cross_attn.Wq").weight.mul_(3.0)
        torch.manual_seed(3)
        objective = KeepingObjective(student, study(every_block=every_block))
        with torch.no_grad():
            output = objective(dataclasses.replace(stories, keep=KeepWeights(evidence=1.0)))
        losses[every_block] = float(output.figures["kept evidence"])
    assert losses[True] > 1e-3
    if block == 3:  # only the last block's own attention has changed, and evidence is not read from it
        assert losses[False] == pytest.approx(0.0, abs=1e-5)


def test_where_only_decoders_differ_what_comes_before_them_may_be_computed_once(stories: DeviceBatch) -> None:
    student = study()
    with torch.no_grad():
        student.model.language.decoder.lm_head.weight.mul_(1.3)
    batch, outputs = dataclasses.replace(stories, keep=KeepWeights(answers=2.0, evidence=1.0)), []
    for shared in (False, True):
        torch.manual_seed(3)
        with torch.no_grad():
            outputs.append(KeepingObjective(student, study(), shared=shared)(batch))
    plain, once = outputs
    assert float(plain.figures["kept answers"]) > 0
    torch.testing.assert_close(once.loss, plain.loss)
    for name, figure in plain.figures.items():
        torch.testing.assert_close(once.figures[name], figure, msg=name)


def test_new_lessons_have_no_teacher_and_the_teacher_is_not_trained(stories: DeviceBatch) -> None:
    student = study()
    objective = KeepingObjective(student, study())
    with torch.no_grad():
        assert "kept answers" not in objective(stories).figures
    assert {id(x) for x in objective.parameters()} == {id(x) for x in student.parameters()}


def test_kinds_that_the_teacher_does_not_know_are_left_to_the_truth(stories: DeviceBatch) -> None:
    student = study()
    with torch.no_grad():
        student.model.language.decoder.lm_head.weight.mul_(1.3)
        student.model.get_submodule("memaug.layers.1.cross_attn.Wq").weight.mul_(3.0)
    objective, strayed = KeepingObjective(student, study()), {}
    for besides in ((), ("colour",), ("where",), ("colour", "where")):
        torch.manual_seed(3)
        with torch.no_grad():
            figures = objective(dataclasses.replace(stories, keep=KeepWeights(answers=1.0, besides=besides))).figures
        strayed[besides] = {what: float(figures[f"kept {what}"]) for what in ("answers", "evidence")}
    for what in ("answers", "evidence"):
        assert strayed["colour", "where"][what] == 0.0
        every, one, other = (strayed[besides][what] for besides in ((), ("colour",), ("where",)))
        assert min(one, other) < every < max(one, other), "the mean of all lies between those of two kinds"
