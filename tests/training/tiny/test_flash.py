"""The small VideoChat-Flash: its bank of clips, its stories, a step of its training, and its checkpoint. Nothing is rendered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from afterview.configs import load
from afterview.memory.plans.clips import ClipLayout
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.run import is_recipe
from afterview.training.tiny.bank import CODE, LABELS
from afterview.training.tiny.clip_stories import ClipBatch, ClipShelf, FlashWords, clip_shelf, make_clip_batch
from afterview.training.tiny.clip_study import NEW_LAYERS, ClipStudyObjective, begin_by_likeness, clips_to_device
from afterview.training.tiny.flash import FlashRecipe, new_network
from afterview.training.tiny.flash_model import save_flash
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.windows import WindowConfig, WindowJob, labelled, plan_windows
from afterview.training.world.facts import KINDS

RECIPE = Path(__file__).parents[3] / "configs" / "training" / "tiny-flash.yaml"
WINDOWS = WindowConfig()
PLAN = LessonPlan(
    name="test", kinds={"colour": 1.0, "shape": 1.0, "exists": 1.0}, frames=32, stories=3, questions=4, asked=(1,),
    duration_s=(60, 300), wobble=0.0, most=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def base() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def jobs() -> list[WindowJob]:
    return plan_windows(WINDOWS)


@pytest.fixture(scope="module")
def shelf(jobs: list[WindowJob]) -> ClipShelf:
    return clip_shelf(jobs)


@pytest.fixture(scope="module")
def words(base: AfterviewModel) -> FlashWords:
    assert base.tokenizer is not None
    return FlashWords(base.tokenizer)


@pytest.fixture
def batch(shelf: ClipShelf, words: FlashWords) -> ClipBatch:
    return make_clip_batch(PLAN, shelf, words, seed=1, number=0)


def _table(jobs: list[WindowJob], batch: ClipBatch) -> torch.Tensor:
    """Random tokens of the clips of a batch."""
    table = torch.zeros(sum(job.clips for job in jobs), 64, 128, dtype=torch.float16)
    used = torch.from_numpy(np.unique(batch.clips))
    table[used] = torch.randn(len(used), 64, 128, generator=torch.Generator().manual_seed(0)).half()
    return table


def test_clips_are_neighbouring_seconds_and_show_what_they_are_filed_under(jobs: list[WindowJob]) -> None:
    labels = labelled(jobs).labels
    kind, shape = LABELS.index("kind"), LABELS.index("shape")
    assert len(labels) == sum(job.clips for job in jobs)
    for job in jobs[:12]:
        times = np.array(job.job.times).reshape(-1, 4)
        assert (np.diff(times, axis=1) == 1).all()
        for event, clip in job.events:
            begins = times[clip - job.first_clip, 0]
            assert begins <= np.ceil(event.start_s) < begins + 4
            if event.shape is not None:
                assert labels[clip, shape] == CODE["shape"][event.shape]
        assert (labels[list(job.empty), kind] == -1).all()


def test_a_batch_holds_the_proof_of_its_questions_and_depends_on_its_number_alone(
    shelf: ClipShelf, words: FlashWords, jobs: list[WindowJob], batch: ClipBatch
) -> None:
    again = make_clip_batch(PLAN, shelf, words, seed=1, number=0)
    np.testing.assert_array_equal(batch.clips, again.clips)
    assert not np.array_equal(batch.clips, make_clip_batch(PLAN, shelf, words, seed=1, number=1).clips)
    assert batch.clips.shape == (3, 8)
    assert batch.needles.shape == (12, 8)
    attribute = batch.kinds == KINDS.index("colour")
    seen = attribute & ~batch.denied
    assert (batch.needles[seen].any(1)).all()
    labels = labelled(jobs).labels[:, LABELS.index("kind")]
    for number in np.flatnonzero(seen):
        assert (labels[batch.clips[number // 4][batch.needles[number]]] >= 0).all()


def test_questions_that_share_a_video_are_answered_as_each_alone(
    base: AfterviewModel, words: FlashWords, batch: ClipBatch, jobs: list[WindowJob]
) -> None:
    """The mask and the positions of the study are those of the model that is asked."""
    recipe = load(RECIPE, FlashRecipe)
    network = new_network(recipe, base)
    begin_by_likeness(network, 0)
    table = _table(jobs, batch)
    shown = torch.zeros(len(table), 1, dtype=torch.bool)
    learner = ClipStudyObjective(
        network, words.head, torch.zeros(1, dtype=torch.long), evidence_weight=0.0, dropping=2
    ).eval()
    moved = clips_to_device(batch, table, shown, None)
    with torch.no_grad():
        embeds, mask, positions = learner._inputs(moved)
        bias = torch.where(mask, 0.0, -1e9)[:, None]
        out = network.language.decoder.model(
            inputs_embeds=embeds, attention_mask=bias, position_ids=positions, use_cache=False
        ).last_hidden_state
        longest = batch.texts.shape[1]
        story, question = 1, 6  # the third question of the second story
        features = table[torch.from_numpy(batch.clips[story])].reshape(32, 16, 128)
        lead = batch.lead[story][: batch.lead_lengths[story]]
        end = batch.answer[question][0]
        ids = [np.array(words.head), np.concatenate([lead, batch.texts[question][:end]])]
        visual = network.projector(network.tensor(features).flatten(0, 1))
        alone = torch.cat([network.language.embed(ids[0]), visual, network.language.embed(ids[1])])
        right = network.language(alone[None])[0, -1]
    row = out.shape[1] - 4 * longest + 2 * longest + int(end) - 1
    torch.testing.assert_close(out[story, row], right, rtol=1e-3, atol=1e-3)


def test_a_step_has_a_loss_and_gradients_for_every_part(
    base: AfterviewModel, words: FlashWords, batch: ClipBatch, jobs: list[WindowJob]
) -> None:
    network = new_network(load(RECIPE, FlashRecipe), base)
    before = [layer.self_attn.o_proj.weight.clone() for layer in network.language.decoder.model.layers]
    begin_by_likeness(network, 0)
    assert not torch.equal(before[0], network.language.decoder.model.layers[0].self_attn.o_proj.weight)
    assert torch.equal(before[NEW_LAYERS], network.language.decoder.model.layers[NEW_LAYERS].self_attn.o_proj.weight)
    network.requires_grad_(True).language.decoder.set_attn_implementation("eager")
    table = _table(jobs, batch)
    shown = torch.ones(len(table), 3, dtype=torch.bool)
    learner = ClipStudyObjective(network, words.head, torch.tensor([5, 6, 7]), evidence_weight=0.4, dropping=2)
    output = learner(clips_to_device(batch, table, shown, 8, (0.3, 1.5)))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert float(output.figures["evidence/asked"]) == batch.needles.any(1).sum()
    assert all(p.grad is not None for p in network.projector.parameters())
    assert all(layer.self_attn.q_proj.weight.grad is not None for layer in network.language.decoder.model.layers)


def test_train_knows_its_recipe() -> None:
    assert (is_recipe(RECIPE), is_recipe(RECIPE, "windows")) == (False, True)
    recipe = load(RECIPE, FlashRecipe)
    assert recipe.dropout.layers[0] < recipe.language.layers
    assert [lesson.frames for lesson in recipe.study.lessons] == [12, 32, 96, 512]


def test_the_checkpoint_sees_clips_and_drops_visual_tokens(base: AfterviewModel, tmp_path: Path) -> None:
    recipe = load(RECIPE, FlashRecipe)
    network = new_network(recipe, base)
    save_flash(network, base, recipe.dropout, name="small", notice="random", directory=tmp_path / "model")
    model = load_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    assert model.preset.sees_clips
    assert model.preset.visual_dropout == recipe.dropout
    assert (model.vision.spec.tokens_per_frame, model.vision.spec.frames_per_record) == (16, 4)
    half = network.language.decoder.model.layers[4].mlp.up_proj.weight.half().float()
    assert torch.equal(model.video_language.language.decoder.model.layers[4].mlp.up_proj.weight, half)
    prompt = model.prompt("Was there a red ring?", frames=8, seconds=8.0)
    (inputs,) = model.video_inputs([(np.zeros((8, 16, 128), np.float32), ClipLayout(8, 16), prompt)])
    assert inputs.visual[0][1] == 128
    assert isinstance("".join(model.answer(inputs, max_new_tokens=2)), str)
    assert replace(model, weights_hash="").notice == "random"
