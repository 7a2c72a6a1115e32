"""Which tokens stay visible in training: every rule chooses as an answer does, and training computes what answering computes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig, neighbour_similarity
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.tiny.decayed import DecayedPlan, least_like_neighbours
from afterview.training.tiny.device_batch import DeviceBatch, to_device
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.stories import Shelf, StoryBatch, make_batch
from afterview.training.tiny.study import StudyObjective
from afterview.training.tiny.texts import Words
from afterview.training.world.facts import KINDS

BASE: dict[str, Any] = {"spatial": "uniform", "spatial_ratio": 16, "max_frames": 8, "min_frames": 2}
PLAN = LessonPlan(
    name="all", kinds=dict.fromkeys(KINDS, 1.0), frames=40, stories=2, questions=3, most=1, duration_s=(120, 900), wobble=0.0
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def table() -> torch.Tensor:
    """Features of a bank that never was."""
    return torch.randn(400, 64, 128, generator=torch.Generator().manual_seed(0)).half()


def stories(
    shelf: Shelf, tokenizer: PreTrainedTokenizerFast, rows: int, **changes: Any
) -> tuple[StoryBatch, ForgettingConfig]:
    config = ForgettingConfig(**{**BASE, **changes})
    batch = make_batch(PLAN, shelf, Words(tokenizer), config, seed=1, number=0)
    batch.rows[:] %= rows
    return batch, config


@pytest.mark.parametrize("switches", [{}, {"rotary": False}, {"use_memaug": False}, {"scale": 0.06}, {"ratio": 4}])
def test_training_computes_what_answering_computes(
    switches: dict[str, Any], shelf: Shelf, model: AfterviewModel, table: torch.Tensor
) -> None:
    assert model.tokenizer is not None
    changes = {"repository_scale": switches.get("scale", 1.0), "spatial_ratio": switches.get("ratio", 16)}
    batch, config = stories(shelf, model.tokenizer, len(table), **changes)
    network, words = model.video_language, Words(model.tokenizer)
    network.rotary, network.use_memaug = switches.get("rotary", True), switches.get("use_memaug", True)
    try:
        with torch.no_grad():
            embeds, mass, asking = (
                StudyObjective(network, words.head, forgetting=config).eval().find(to_device(batch, table))
            )
        for row in range(len(batch.after)):
            story, (start, end) = row // PLAN.questions, batch.question[row]
            span = int(batch.spans[story])
            prompt = model.prompt(model.tokenizer.decode(batch.after[row, start:end]), frames=span, seconds=float(span))
            layout = plan_layout(span, batch.numbers[story], config=config, trained_frames=12_000)
            plain = network.inputs_embeds(table[batch.rows[story]], layout, prompt)
            together = embeds[row, : len(plain.inputs_embeds)]
            torch.testing.assert_close(together, plain.inputs_embeds, atol=2e-4, rtol=1e-3)
            assert (mass is None) == (asking is None) == (not network.use_memaug)
            if mass is not None:
                np.testing.assert_allclose(mass.mean(0)[row].numpy(), plain.frame_weights, atol=1e-5)
    finally:
        network.rotary = network.use_memaug = True


def test_without_memaug_answers_are_learnt_and_nothing_points_to_a_time(
    shelf: Shelf, model: AfterviewModel, table: torch.Tensor
) -> None:
    batch, config = stories(shelf, model.tokenizer, len(table))
    network, moment = model.video_language, int(batch.answers[0, 0])
    network.use_memaug = False
    try:
        objective = StudyObjective(
            network, Words(model.tokenizer).head, forgetting=config, pointers=[moment], telling_weight=1.0, evidence_weight=1.0
        )  # fmt: skip
        with torch.no_grad():
            output = objective(to_device(batch, table))
    finally:
        network.use_memaug = True
    assert torch.isfinite(output.loss)
    assert float(output.loss) == float(output.figures["answering"])
    assert "evidence/right" not in output.figures


def test_a_smaller_repository_keeps_the_visible_frames_and_others_evenly(
    shelf: Shelf, tokenizer: PreTrainedTokenizerFast
) -> None:
    whole, _ = stories(shelf, tokenizer, 400)
    half, _ = stories(shelf, tokenizer, 400, repository_scale=0.5)
    none, _ = stories(shelf, tokenizer, 400, repository_scale=0.06)
    assert (whole.numbers.shape[1], half.numbers.shape[1], none.numbers.shape[1]) == (40, 20, 8)
    for batch in (half, none):
        for story in range(PLAN.stories):
            assert set(batch.numbers[story]) <= set(whole.numbers[story])
            seen = batch.numbers[story][batch.visible[story]]
            assert seen.tolist() == whole.numbers[story][whole.visible[story]].tolist()
    assert none.needles.sum() < half.needles.sum() < whole.needles.sum()


def test_random_frames_are_drawn_anew_for_every_story(shelf: Shelf, tokenizer: PreTrainedTokenizerFast) -> None:
    batch, _ = stories(shelf, tokenizer, 400, temporal="random")
    again, _ = stories(shelf, tokenizer, 400, temporal="random")
    assert np.array_equal(batch.visible, again.visible)
    seen = np.take_along_axis(batch.numbers, batch.visible, axis=1)
    uniform, _ = stories(shelf, tokenizer, 400)
    assert not np.array_equal(seen, np.take_along_axis(uniform.numbers, uniform.visible, axis=1))
    assert (np.diff(seen, axis=1) > 0).all()


def test_key_frames_are_those_that_the_papers_rule_names() -> None:
    vectors = torch.randn(3, 30, 16, generator=torch.Generator().manual_seed(1))
    chosen = least_like_neighbours(vectors, 7)
    for story in range(3):
        rows = vectors[story].double().numpy()
        likeness = neighbour_similarity(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        assert chosen[story].tolist() == sorted(np.argsort(likeness)[:7].tolist())


def test_every_question_sees_the_frames_most_like_it(shelf: Shelf, model: AfterviewModel, table: torch.Tensor) -> None:
    batch, config = stories(shelf, model.tokenizer, len(table), temporal="question-guided")
    moved = to_device(batch, table)
    after = model.video_language.language.decoder.model.embed_tokens(moved.after)
    decayed = DecayedPlan(config, 8).choose(moved, model.video_language, after)
    assert decayed.visible.shape == (6, 8)
    vectors = model.video_language.frame_vectors(table[batch.rows[1]].float())
    start, end = batch.question[4]
    question = after[4, start:end].mean(0).double().detach().numpy()
    alike = vectors @ question / np.linalg.norm(vectors, axis=1)
    assert decayed.visible[4].tolist() == sorted(np.argsort(-alike)[:8].tolist())
    assert decayed.story.tolist() == [0, 0, 0, 1, 1, 1]


def test_random_cells_are_a_different_part_of_every_frame(
    shelf: Shelf, model: AfterviewModel, table: torch.Tensor
) -> None:
    batch, config = stories(shelf, model.tokenizer, len(table), spatial="random")
    moved: DeviceBatch = replace(to_device(batch, table), tokens_read=None)
    cells = DecayedPlan(config, 8).choose(moved, model.video_language, torch.empty(0)).cells
    assert cells.shape == (2, 8, 5)
    assert (cells[..., -1] == 64).all()  # the newline
    assert (cells.diff(dim=-1) > 0).all()
    assert len({tuple(frame) for frame in cells.flatten(0, 1).tolist()}) > 12
