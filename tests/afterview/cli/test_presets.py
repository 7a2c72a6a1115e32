"""Every switch of a preset, end to end: a clip is replayed under a preset file, and asked about without naming the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import afterview
from afterview.configs import preset_path
from afterview.memory.base.errors import NothingRecorded, SpecMismatch
from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory
from afterview.model.base.errors import InputMismatch
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.saving import save_pretrained
from afterview.stream.ask.answerer import Answerer, Context
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.support.clips import make_clip
from tests.support.presets import FORGETTING, write_preset

FPS, FRAMES = 5.0, 38  # 38 sampled frames: not a whole number of clips of 4
TEXT = "Where was the yellow block?"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=2 * FRAMES, rate=10)


def replay(reference: str | Path, clip: Path, memory: Path, *, camera: str = "door") -> None:
    async def main() -> None:
        async with Session(memory, load_encoders(reference, device="cpu")) as session:
            session.add(camera, IngestConfig(parse_source(str(clip)), fps=FPS, live=False, start=1e9))
            await session.run()

    run_loop(main())


def ask(memory: Path, text: str = TEXT) -> Answer:
    """Without naming a model: the memory knows which one recorded it."""
    return afterview.ask(memory, text)


def plan(model: AfterviewModel, memory: Path, text: str = TEXT) -> Context:
    return Answerer(Memory(memory), model).plan("door", Question(text), now=0.0)


# --- where a memory finds its model again ---


def test_a_preset_file_is_found_again_from_anywhere(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "presets"
    place.mkdir()
    write_preset(place)
    monkeypatch.chdir(place)
    replay("mine.yaml", clip, tmp_path / "memory")
    monkeypatch.chdir(tmp_path)
    assert Memory(tmp_path / "memory").camera("door").spec.model == str((place / "mine.yaml").resolve())
    answer = ask(tmp_path / "memory")
    assert answer.parts[0].coverage.frames == FRAMES
    assert answer.parts[0].provenance["model"] == str((place / "mine.yaml").resolve())


def test_a_saved_checkpoint_is_found_again_by_its_directory_and_not_by_its_presets_name(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_pretrained(write_preset(tmp_path), device="cpu")
    save_pretrained(model, tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    replay("./saved", clip, tmp_path / "memory")
    monkeypatch.chdir("/")
    assert Memory(tmp_path / "memory").camera("door").spec.model == str((tmp_path / "saved").resolve())
    assert ask(tmp_path / "memory").parts[0].provenance["weights"] == model.weights_hash


def test_shipped_presets_are_stored_by_name() -> None:
    assert load_encoders("tiny", device="cpu").feature_spec.model == "tiny"
    by_path = load_encoders(preset_path("tiny"), device="cpu").feature_spec.model
    assert by_path == str(preset_path("tiny").resolve())


# --- forgetting, recall, positions ---

SWITCHES: dict[str, dict[str, Any]] = {
    "spatial random": {"forgetting": FORGETTING | {"spatial": "random", "spatial_ratio": 8}},
    "temporal random": {"forgetting": FORGETTING | {"temporal": "random"}},
    "keyframe": {"forgetting": FORGETTING | {"temporal": "keyframe"}},
    "question-guided": {"forgetting": FORGETTING | {"temporal": "question-guided"}},
    "nothing forgotten": {"forgetting": FORGETTING | {"spatial_ratio": 1, "temporal_ratio": 1, "max_frames": 96}},
    "ratio 16": {"forgetting": FORGETTING | {"spatial_ratio": 16, "temporal_ratio": 2}},
    "half the repository": {"forgetting": FORGETTING | {"repository_scale": 0.5}},
    "a quarter": {"forgetting": FORGETTING | {"repository_scale": 0.25}},
    "decayed tokens alone": {"forgetting": FORGETTING | {"repository_scale": 0.06}},
    "bounded recall": {"recall": {"budget": 20, "window": 4, "nearest": 4}},
    "bounded, rank": {"recall": {"budget": 20, "window": 4, "nearest": 4}, "positions": "rank", "trained_frames": 10},
    "interpolated": {"positions": "interpolate", "trained_frames": 10},
    "true positions": {"positions": "true", "trained_frames": 10},
}


@pytest.fixture(scope="module")
def recorded(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One memory for all switches that do not change what is stored."""
    directory = tmp_path_factory.mktemp("recorded")
    replay(write_preset(directory), clip, directory / "memory")
    return directory / "memory"


@pytest.mark.parametrize("name", SWITCHES)
def test_every_rule_answers_through_a_preset(name: str, recorded: Path, tmp_path: Path) -> None:
    model = load_pretrained(write_preset(tmp_path, **SWITCHES[name]), device="cpu")
    context = plan(model, recorded)
    answer = afterview.ask(recorded, TEXT, model=model)
    coverage, forgetting = answer.parts[0].coverage, model.preset.forgetting
    assert coverage.frames == FRAMES
    assert coverage.recall == ("bounded" if model.preset.recall.budget < FRAMES else "full")
    assert coverage.recalled == min(FRAMES, model.preset.recall.budget)
    visible = min(forgetting.max_frames, FRAMES // forgetting.temporal_ratio)
    assert len(context.visible_frames) == coverage.visible == visible
    assert context.layout.cells.shape[1] == 64 // forgetting.spatial_ratio
    assert len(context.layout.key_rows) == max(visible, round(coverage.recalled * forgetting.repository_scale))
    numbers = context.layout.key_numbers
    if model.preset.positions != "true" and model.preset.trained_frames < FRAMES:
        expected = 9 if model.preset.positions == "interpolate" else len(numbers) - 1
        assert coverage.positions == model.preset.positions
    else:
        expected = FRAMES - 1
        assert coverage.positions == "true"
    assert numbers.max() == pytest.approx(expected)
    weights = model.video_language.inputs_embeds(context.features, context.layout, context.prompt).frame_weights
    assert weights is not None
    assert weights.sum() == pytest.approx(1)
    attended = np.unique(context.layout.key_rows)
    assert set(np.flatnonzero(weights)) == set(attended)
    assert len(answer.evidence) == 8
    assert afterview.ask(recorded, TEXT, model=model).text == answer.text


def test_rules_that_look_choose_otherwise_than_rules_that_count(recorded: Path, tmp_path: Path) -> None:
    seen = {}
    for rule in ("uniform", "random", "keyframe", "question-guided"):
        model = load_pretrained(write_preset(tmp_path, forgetting=FORGETTING | {"temporal": rule}), device="cpu")
        seen[rule] = tuple(plan(model, recorded).visible_frames)
    assert len(set(seen.values())) == 4
    other = tuple(plan(model, recorded, "Zzz?").visible_frames)  # the last model is guided by the question
    assert other != seen["question-guided"]


@pytest.fixture(scope="module")
def bounded(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    """Recall of at most 16 of 38 frames, the visible ones drawn at random, positions beyond the training."""
    changes: dict[str, Any] = {"forgetting": FORGETTING | {"temporal": "random"}, "trained_frames": 12}
    changes["recall"] = {"budget": 16, "window": 3, "nearest": 4}
    path = write_preset(tmp_path_factory.mktemp("bounded"), **changes)
    return Answerer(Memory(recorded), load_pretrained(path, device="cpu"))


@given(st.floats(0, 8), st.floats(0, 8), st.sampled_from([TEXT, "a red bar", "?"]))
@settings(max_examples=40, deadline=None)
def test_a_question_sees_its_span_and_nothing_after_it(
    bounded: Answerer, first: float, second: float, text: str
) -> None:
    """Never a frame after `at` or before `start`; the budget kept, the visible always recalled, order and positions consistent."""
    snapshot = bounded.memory.camera("door").snapshot()
    start, at = (float(snapshot.times[0]) + seconds for seconds in sorted((first, second)))
    inside = np.flatnonzero((snapshot.times >= start) & (snapshot.times <= at))
    if not len(inside):
        with pytest.raises(NothingRecorded):
            bounded.plan("door", Question(text, start=start, at=at), now=at)
        return
    context = bounded.plan("door", Question(text, start=start, at=at), now=at)
    np.testing.assert_array_equal(context.ids, snapshot.ids[inside])
    recalled = context.recall.frames
    assert len(recalled) == min(len(inside), 16)
    assert (np.diff(recalled) > 0).all()
    assert 0 <= recalled[0] <= recalled[-1] < len(inside)
    assert set(context.visible_frames) <= set(recalled)
    np.testing.assert_array_equal(recalled[context.layout.key_rows[context.layout.visible]], context.visible_frames)
    np.testing.assert_array_equal(context.features, snapshot.tokens(snapshot.ids[inside][recalled]))
    numbers = context.layout.key_numbers
    assert (np.diff(numbers) > 0).all()
    assert numbers[-1] <= 11  # the last number seen in training
    # exactly what a memory that ended at `at` would have shown
    then = bounded._planner.plan_snapshot(snapshot.as_of(at), Question(text, start=start), now=at)
    np.testing.assert_array_equal(then.recall.frames, recalled)
    np.testing.assert_array_equal(then.layout.query_position_ids(), context.layout.query_position_ids())


# --- the compressions of VideoChat-Flash ---

DROPOUT = {"kind": "uniform0_attention", "layers": [1, 2], "ratios": [1.0, 0.5, 0.25]}


@pytest.mark.parametrize("frames_per_clip", [1, 4])
def test_merged_tokens_are_stored_and_asked_about(frames_per_clip: int, clip: Path, tmp_path: Path) -> None:
    path = write_preset(tmp_path, token_merging={"frames_per_clip": frames_per_clip})
    replay(path, clip, tmp_path / "memory")
    reader = Memory(tmp_path / "memory").camera("door")
    spec, share = reader.spec.tokens, 64 // frames_per_clip
    assert (spec.tokens_per_frame, spec.frames_per_record, spec.pooling) == (share, frames_per_clip, "merged")
    snapshot = reader.snapshot()
    assert snapshot.frames == FRAMES
    answer = ask(tmp_path / "memory")
    assert answer.parts[0].coverage.frames == FRAMES
    assert len(answer.evidence) == 8
    model = load_pretrained(path, device="cpu")
    context = plan(model, tmp_path / "memory")
    assert context.features.shape == (FRAMES, share, 48)
    assert context.layout.cells.shape[1] == share // 4
    plain = load_pretrained(write_preset(tmp_path), device="cpu").encoders.feature_spec
    with pytest.raises(SpecMismatch, match=r"tokens\.(tokens_per_frame|pooling)"):
        require_same(reader.spec, plain, where="camera 'door'")


def test_clips_end_with_the_recording_and_do_not_depend_on_batches(clip: Path, tmp_path: Path) -> None:
    """What is stored is what encoding all frames at once gives: clips of four from the first frame on, the last one of two."""
    path = write_preset(tmp_path, token_merging={"frames_per_clip": 4})
    replay(path, clip, tmp_path / "memory")
    replay(path, clip, tmp_path / "memory", camera="twin")
    memory = Memory(tmp_path / "memory")
    one, two = (memory.camera(name).snapshot() for name in ("door", "twin"))
    np.testing.assert_array_equal(one.tokens(one.ids), two.tokens(two.ids))
    vision = load_encoders(path, device="cpu").vision
    frames = np.random.default_rng(0).integers(0, 256, (10, 72, 72, 3), dtype=np.uint8)
    whole = vision.encode(frames)
    assert whole.shape == (10, 16, 48)
    np.testing.assert_allclose(
        whole[:8], np.concatenate([vision.encode(frames[:4]), vision.encode(frames[4:8])]), atol=2e-3
    )
    np.testing.assert_allclose(whole[8:], vision.encode(frames[8:]), atol=2e-3)


@pytest.mark.parametrize("use_memaug", [True, False], ids=["with MemAug", "alone"])
def test_visual_dropout_answers_as_a_recomputation_without_cache(
    use_memaug: bool, recorded: Path, tmp_path: Path
) -> None:
    path = write_preset(tmp_path, visual_dropout=DROPOUT, use_memaug=use_memaug, max_new_tokens=12)
    model = load_pretrained(path, device="cpu")
    context, network = plan(model, recorded), model.video_language
    inputs = network.inputs_embeds(context.features, context.layout, context.prompt)
    assert (inputs.frame_weights is not None) == use_memaug
    visual = (len(context.prompt.before), len(context.layout.query_tokens()))
    assert inputs.visual == (visual,)
    tokens = list(network.generate(inputs, max_new_tokens=12))
    dropping, language = network.language.dropping, network.language
    assert dropping is not None
    length = len(inputs.inputs_embeds)
    for count in range(len(tokens)):
        with torch.inference_mode():
            whole = torch.cat([inputs.inputs_embeds, language.embed(np.array(tokens[:count], dtype=np.int64))])
            out = dropping.forward(whole[None], [[visual]], prompt_ends=[length - 1])
            assert int(language.logits(out.hidden[0, -1]).argmax()) == tokens[count]
    text = length - visual[1]
    stages = [length, text + visual[1] // 2, text + visual[1] // 4, text + visual[1] // 4]
    assert dropping.forward(inputs.inputs_embeds[None], [[visual]]).layer_lengths == stages
    answer = afterview.ask(recorded, TEXT, model=model)
    assert bool(answer.evidence) == use_memaug
    assert answer.text == "".join(model.answer(inputs)).strip()


def test_dropout_is_off_unless_a_preset_turns_it_on(recorded: Path, tmp_path: Path) -> None:
    logits = {}
    for name, setting in [("off", None), ("on", DROPOUT), ("keeps all", DROPOUT | {"ratios": [1.0, 1.0, 1.0]})]:
        model = load_pretrained(write_preset(tmp_path, visual_dropout=setting), device="cpu")
        assert (model.video_language.language.dropping is None) == (name == "off")
        context = plan(model, recorded)
        inputs = model.video_language.inputs_embeds(context.features, context.layout, context.prompt)
        logits[name] = model.video_language.first_token_logits(inputs)
    torch.testing.assert_close(logits["keeps all"], logits["off"], rtol=1e-4, atol=1e-4)
    assert (logits["on"] - logits["off"]).abs().max() > 1e-4


def test_dropout_beyond_the_decoder_is_refused_when_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputMismatch, match="after layer 24 of a decoder of 4 layers"):
        load_pretrained(write_preset(tmp_path, visual_dropout={}), device="cpu")
