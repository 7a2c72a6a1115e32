"""A memory of merged clips (VideoChat-Flash): live = replay = offline, as-of questions, evidence, crashes, forgetting, re-embedding."""

import asyncio
import errno
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from afterview.cli.main import main
from afterview.memory.base.durable import observed
from afterview.memory.base.errors import NothingRecorded, SpecMismatch
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import FrameRecord
from afterview.memory.base.settings import CameraSettings, read_settings
from afterview.memory.directory import Memory
from afterview.memory.plans.clip_marks import marks_of, whole_clips
from afterview.memory.plans.clip_sampling import ClipSampling
from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.recall import RecallConfig
from afterview.memory.reading.reader import CameraReader
from afterview.memory.span_file import SpanFile, export_span, import_span
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Acknowledgement
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.visual_attention import evidence_layer
from afterview.model.vision.preprocess import to_square
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.context import Context
from afterview.stream.ask.question import Question
from afterview.stream.ingest.config import Controls, IngestConfig
from afterview.stream.ingest.items import Interruption, Pace
from afterview.stream.ingest.queues import Blocking
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.write import CameraWriter, Stored
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.crash.disk import Recorder
from tests.crash.power import cuts, evenly
from tests.support.clips import make_clip
from tests.support.flash import flash_preset
from tests.support.memory_world import kill_writer, make_frame, make_spec
from tests.support.processes import environment
from tests.support.servers import RtspServer, need_rtsp

FPS, FRAMES, RATE = 10.0, 92, 20  # 46 frames of memory: eleven clips of four, and one of two
QUESTION = "Where was the yellow square before it left?"
TOLERANCE = 2e-3  # between encoder batches of different sizes: float32 sums in another order, stored as float16


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flash_preset(tmp_path_factory.mktemp("flash"))


@pytest.fixture(scope="module")
def model(preset: Path) -> AfterviewModel:
    return load_pretrained(preset, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=FRAMES, rate=RATE)


def ingest(model: AfterviewModel, memory: Path, name: str, source: str, *, live: bool = False) -> int:
    """Record; returns how many clips were closed early."""

    async def main() -> int:
        async with Session(memory, model.encoders) as session:
            camera = session.add(name, IngestConfig(parse_source(source), fps=FPS, live=live))
            task = asyncio.create_task(session.run())
            while live and camera.stats.recorded < 44 and not task.done():
                await asyncio.sleep(0.05)
            if live:
                session.stop()
            await task
            return camera.stats.short_clips

    return run_loop(main())


@pytest.fixture(scope="module")
def replayed(model: AfterviewModel, video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = tmp_path_factory.mktemp("memory")
    assert ingest(model, memory, "a", str(video)) == 1
    return memory


def plan(model: AfterviewModel, memory: Path, name: str = "a", **question: Any) -> Context:
    return Answerer(Memory(memory), model).plan(name, Question(QUESTION, **question), now=1e10)


def logits(model: AfterviewModel, features: NDArray[Any], layout: Any, prompt: Any) -> NDArray[np.float32]:
    inputs = model.video_language.inputs_embeds(features, layout, prompt)
    return model.video_language.first_token_logits(inputs).float().numpy()


def decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        yield from (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))


def assert_same(model: AfterviewModel, one: Context, other: Context) -> None:
    np.testing.assert_array_equal(one.recall.frames, other.recall.frames)
    assert one.layout == other.layout
    np.testing.assert_array_equal(one.prompt.after, other.prompt.after)
    np.testing.assert_allclose(one.features, other.features, atol=TOLERANCE, rtol=TOLERANCE)
    first, second = (logits(model, seen.features, seen.layout, seen.prompt) for seen in (one, other))
    np.testing.assert_allclose(first, second, atol=0.02)


def test_replay_equals_offline(model: AfterviewModel, replayed: Path, video: Path) -> None:
    """Offline: frames decoded here, each clip encoded alone, no memory."""
    seen = plan(model, replayed)
    spec = model.encoders.feature_spec.tokens
    squares = [to_square(rgb, spec.resolution) for number, rgb in enumerate(decoded(video)) if number % 2 == 0]
    assert len(squares) == 46
    tokens = np.concatenate([model.vision.encode(np.stack(squares[at : at + 4])) for at in range(0, 46, 4)])
    assert seen.recall.mode == "full"
    assert isinstance(seen.layout, ClipLayout)
    assert seen.layout.sizes == (4,) * 11 + (2,)
    np.testing.assert_allclose(seen.features, tokens, atol=TOLERANCE, rtol=TOLERANCE)
    prompt = model.prompt(QUESTION, frames=46, seconds=4.6)
    np.testing.assert_array_equal(prompt.after, seen.prompt.after)
    alone = logits(model, tokens, ClipLayout(46, 16), prompt)
    np.testing.assert_allclose(logits(model, seen.features, seen.layout, seen.prompt), alone, atol=0.02)


@pytest.mark.integration
def test_live_equals_replay(model: AfterviewModel, replayed: Path, video: Path, tmp_path: Path) -> None:
    need_rtsp()
    with RtspServer(video) as server:
        ingest(model, tmp_path, "a", server.url, live=True)
    live, other = Memory(tmp_path).camera("a").snapshot(), Memory(replayed).camera("a").snapshot()
    at = float(live.times[43]), float(other.times[43])
    assert live.clip_marks(live.ids)[:44].tolist() == marks_of(44, 4).tolist()
    assert_same(model, plan(model, tmp_path, at=at[0]), plan(model, replayed, at=at[1]))


def test_as_of_a_moment_a_clip_that_was_not_complete_is_not_seen(model: AfterviewModel, replayed: Path) -> None:
    snapshot = Memory(replayed).camera("a").snapshot()
    for last, whole in ((3, 4), (6, 4), (7, 8), (44, 44), (45, 46)):
        seen = plan(model, replayed, at=float(snapshot.times[last]))
        assert (seen.span_frames, seen.left_out) == (whole, last + 1 - whole)
        assert seen.seconds == round(whole / FPS, 3)
        shorter = replace(snapshot, times=snapshot.times[:whole], ids=snapshot.ids[:whole])
        then = Answerer(Memory(replayed), model)._planner.plan_snapshot(shorter, Question(QUESTION), 1e10)
        np.testing.assert_array_equal(then.features, seen.features)
        np.testing.assert_array_equal(then.prompt.after, seen.prompt.after)
    seen = plan(model, replayed, start=float(snapshot.times[2]), at=float(snapshot.times[9]))
    assert seen.ids.tolist() == [4, 5, 6, 7]
    with pytest.raises(
        NothingRecorded, match=r"its 3 frames in that span make no whole clip .*ask about a longer span"
    ):
        plan(model, replayed, start=float(snapshot.times[1]), at=float(snapshot.times[3]))


BY_ATTENTION = VisualDropoutConfig(kind="attention", layers=(2,), ratios=(1.0, 0.5))


@pytest.mark.parametrize(("dropout", "layer"), [(BY_ATTENTION, 2), (None, 3)])
def test_the_evidence_is_the_attention_in_the_layer_that_drops(
    preset: Path, replayed: Path, dropout: VisualDropoutConfig | None, layer: int
) -> None:
    """Compared with the weights that transformers' own eager attention gives in that layer."""
    model = load_pretrained(preset, device="cpu", dtype="float32", changes={"visual_dropout": dropout})
    seen = plan(model, replayed)
    decoder = model.video_language.language.decoder.model
    assert evidence_layer(dropout, len(decoder.layers)) == layer
    inputs = model.video_language.inputs_embeds(seen.features, seen.layout, seen.prompt)
    assert inputs.attention is not None
    assert inputs.attention.mass is None
    next(iter(model.video_language.generate_several([inputs], max_new_tokens=1)), None)
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            whole = decoder(inputs_embeds=inputs.inputs_embeds[None], output_attentions=True, use_cache=False)
    finally:
        decoder.set_attn_implementation(before)
    ((start, count),) = inputs.visual
    expected = whole.attentions[layer][0, :, -1].mean(0)[start : start + count]
    torch.testing.assert_close(inputs.attention.mass, expected, rtol=1e-4, atol=1e-6)
    assert isinstance(seen.layout, ClipLayout)
    weights = inputs.attention.frame_weights(seen.layout)
    assert weights is not None
    assert weights.sum() == pytest.approx(1)
    clips = np.add.reduceat(expected.numpy().astype(float), [64 * clip for clip in range(12)])
    np.testing.assert_allclose(np.add.reduceat(weights, range(0, 46, 4)), clips / clips.sum(), rtol=1e-3)
    answer = Answerer(Memory(replayed), model).ask(Question(QUESTION, evidence=3))
    best = np.argsort(-clips)[:3]
    assert [item.frame for item in answer.evidence] == [min(4 * clip + 1, 44) for clip in best]
    np.testing.assert_allclose([item.weight for item in answer.evidence], (clips / clips.sum())[best], rtol=1e-3)


def test_tokens_that_were_dropped_before_have_no_weight(model: AfterviewModel, replayed: Path) -> None:
    """Uniform after layer 1, by attention after layer 2: a quarter is gone when the evidence is read."""
    seen = plan(model, replayed)
    inputs = model.video_language.inputs_embeds(seen.features, seen.layout, seen.prompt)
    next(iter(model.video_language.generate_several([inputs], max_new_tokens=1)), None)
    assert inputs.attention is not None
    assert inputs.attention.mass is not None
    assert int((inputs.attention.mass > 0).sum()) == 46 * 16 * 3 // 4


def test_beyond_the_most_frames_the_index_helps(preset: Path, replayed: Path) -> None:
    changes = {"clip_sampling": ClipSampling(min_frames=8, max_frames=16), "recall": RecallConfig(window=4, nearest=1)}
    model = load_pretrained(preset, device="cpu", dtype="float32", changes=changes)
    at_a_second_each = Memory(replayed)
    seen = plan(model, replayed)
    assert (seen.recall.mode, seen.search) == ("sampled", "none")  # 4.6 s: 8 frames are wanted
    assert len(seen.recall.frames) == 8
    planner = Answerer(at_a_second_each, model)._planner
    snapshot = at_a_second_each.camera("a").snapshot()
    slow = replace(snapshot, times=snapshot.times[0] + np.arange(46.0))
    bounded = planner.plan_snapshot(slow, Question(QUESTION), 1e10)
    assert (bounded.recall.mode, bounded.search, len(bounded.recall.frames)) == ("bounded", "exact", 14)
    query = model.encoders.index.encode_texts([QUESTION])[0]
    best = int(np.argmax(snapshot.embeddings(snapshot.ids) @ query))
    assert {best, 44, 45} <= set(bounded.ids[bounded.recall.frames].tolist())
    np.testing.assert_array_equal(bounded.features, snapshot.tokens(bounded.ids[bounded.recall.frames]))


def test_several_cameras_get_the_answers_they_would_get_alone(
    model: AfterviewModel, video: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        ingest(model, tmp_path, name, str(video))
    both = Answerer(Memory(tmp_path), model).ask(Question(QUESTION))
    alone = Answerer(Memory(tmp_path), model).ask(Question(QUESTION, cameras=("b",)))
    assert len(both.parts) == 2
    assert {part.text for part in both.parts} == {alone.text}
    for part in both.parts:
        np.testing.assert_allclose(
            [item.weight for item in part.evidence], [item.weight for item in alone.evidence], rtol=1e-3
        )


def test_a_model_of_another_family_is_refused(
    model: AfterviewModel, replayed: Path, tmp_path: Path, video: Path, preset: Path
) -> None:
    other = load_pretrained("tiny", device="cpu", dtype="float32")
    with pytest.raises(SpecMismatch, match=r"flash\.yaml.*reembed"):
        plan(other, replayed)
    ingest(other, tmp_path, "a", str(video))
    with pytest.raises(SpecMismatch, match=r"'tiny'.*reembed"):
        plan(model, tmp_path)


# --- writing ---


def clip_spec() -> FeatureSpec:
    spec = make_spec(width=8, cells=16)
    return spec.model_copy(
        update={"tokens": spec.tokens.model_copy(update={"frames_per_record": 4, "clip_marks": True})}
    )


def frames_of(count: int, first: int = 0) -> list[FrameRecord]:
    marks = marks_of(count, 4).tolist()
    return [replace(make_frame(first + number, clip_spec()), clip=marks[number]) for number in range(count)]


def test_marks_are_kept_in_the_journal_and_when_sealed(tmp_path: Path) -> None:
    expected = marks_of(150, 4)
    with open_camera(tmp_path, "a", clip_spec()) as camera:
        for frame in frames_of(150):
            camera.append(frame)
        camera.sync()
        assert camera.manifest.frames == 128
    snapshot = CameraReader(tmp_path / "a").snapshot()
    np.testing.assert_array_equal(snapshot.clip_marks(snapshot.ids), expected)
    some = snapshot.ids[[3, 64, 127, 128, 149]]
    np.testing.assert_array_equal(snapshot.clip_marks(some), expected[[3, 64, 127, 128, 149]])


def test_a_clip_that_a_crash_cut_off_is_taken_back(tmp_path: Path) -> None:
    camera = open_camera(tmp_path, "a", clip_spec())
    frames = frames_of(12)
    for frame in frames[:8]:
        camera.append(frame)
    assert [ack.frame for ack in camera.sync()] == list(range(8))
    for frame in frames[8:10]:
        camera.append(frame)
    kill_writer(camera)
    cut = CameraReader(tmp_path / "a").snapshot()  # before a writer comes
    assert whole_clips(cut.ids, cut.clip_marks(cut.ids)).rows().tolist() == list(range(8))
    with open_camera(tmp_path, "a", clip_spec()) as camera:
        assert (camera.frames, camera.last_time) == (8, frames[7].time)
        for frame in frames[8:]:
            camera.append(frame)
    snapshot = CameraReader(tmp_path / "a").snapshot()
    np.testing.assert_array_equal(snapshot.times, [frame.time for frame in frames])
    np.testing.assert_array_equal(snapshot.clip_marks(snapshot.ids), marks_of(12, 4))


def test_frames_of_a_clip_that_is_not_complete_are_not_acknowledged(tmp_path: Path) -> None:
    """Not even where the writer ends in the middle of one: the next writer takes them back."""
    with open_camera(tmp_path, "a", clip_spec()) as camera:
        for frame in frames_of(12)[:10]:
            camera.append(frame)
        assert [ack.frame for ack in camera.sync()] == list(range(8))
        camera.append(frames_of(12)[10])
        assert camera.sync() == []
        camera.append(frames_of(12)[11])
        assert [ack.frame for ack in camera.sync()] == [8, 9, 10, 11]
        camera.append(frames_of(4, first=12)[0])
        assert camera.close() == []
    with open_camera(tmp_path, "a", clip_spec()) as camera:
        assert camera.frames == 12


def test_the_writer_keeps_a_clip_together_and_acknowledges_it_at_once(tmp_path: Path) -> None:
    """Its frames and what came between them wait for its last frame; a full disk in the middle of it makes it wait, and no more."""
    camera, acks = open_camera(tmp_path, "a", clip_spec()), list[list[int]]()
    nobody: Any = None  # no encoder is looked up here
    outbox: Blocking[Stored] = Blocking(64)
    writer = CameraWriter(
        camera, outbox, IngestStats(), Controls(read_settings(camera.directory), nobody),
        on_durable=lambda done: acks.append([ack.frame for ack in done]),
    )  # fmt: skip
    frames = frames_of(10)
    failing = iter([None, OSError(errno.ENOSPC, "full"), None])
    append = camera.append

    def unreliable(frame: FrameRecord) -> int:
        error = next(failing, None)
        if error is not None:
            raise error
        return append(frame)

    camera.append = unreliable  # type: ignore[method-assign]
    writer._store(frames[:2])
    assert (camera.frames, [done for done in acks if done]) == (0, [])
    writer._append(Pace(30.0))
    writer._append(frames[2])
    with pytest.raises(OSError, match="full"):
        writer._append(frames[3])
    assert camera.frames == 1
    writer._append(frames[3])  # as `_store` does once there is space
    assert camera.frames == 4
    writer._store([*frames[4:], Interruption("lost")])
    assert camera.frames == 10
    assert [done for done in acks if done] == [list(range(10))]
    outbox.close()
    writer.run()
    snapshot = CameraReader(tmp_path / "a").snapshot()
    np.testing.assert_array_equal(snapshot.clip_marks(snapshot.ids), marks_of(10, 4))
    np.testing.assert_array_equal(snapshot.times, [frame.time for frame in frames])


def test_a_power_cut_loses_no_acknowledged_frame_of_a_clip(tmp_path: Path) -> None:
    recorder, nobody = Recorder(), cast("Any", None)

    def durable(done: Sequence[Acknowledgement]) -> None:
        for ack in done:
            recorder.promise("ack", f"{ack.frame} {ack.time!r} {ack.crc:08x}")

    with observed(recorder):
        camera, outbox = open_camera(tmp_path / "m", "a", clip_spec()), Blocking[Stored](128)
        writer = CameraWriter(
            camera, outbox, IngestStats(), Controls(CameraSettings(), nobody), on_durable=durable
        )  # fmt: skip
        for frame in frames_of(70):
            outbox.put(frame)
        outbox.close()
        writer.run()
    assert sum(step.kind == "ack" for step in recorder.steps) == 70
    steps = len(recorder.steps)
    assert [
        what for _, _, found in cuts(recorder.steps, evenly(steps, 20), clip_spec(), seed=0) for what in found
    ] == []


def test_frames_that_wait_for_their_clip_are_forgotten_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    camera = open_camera(tmp_path, "a", clip_spec())
    nobody: Any = None
    outbox: Blocking[Stored] = Blocking(64)
    writer = CameraWriter(camera, outbox, IngestStats(), Controls(read_settings(camera.directory), nobody))
    frames = frames_of(16)
    writer._store(frames[:6])
    with ThreadPoolExecutor(1) as other:  # as the control socket's thread
        result = other.submit(writer.command, {"do": "forget", "start": frames[3].time, "stop": frames[5].time})
        while not result.done():
            writer._execute_commands()
            time.sleep(0.01)
    assert result.result()["frames"] == 4
    late = replace(frames[8], arrival_time=time.time() + 1)
    writer._store([*frames[6:8], late, *frames[9:12], *frames[12:]])
    assert "on their way when their span was forgotten, so not recorded: 4 frames" in caplog.text
    outbox.close()
    writer.run()
    snapshot = CameraReader(tmp_path / "a").snapshot()
    np.testing.assert_array_equal(snapshot.times, [frame.time for frame in frames[8:]])


def test_a_frame_must_say_its_clip_where_the_spec_does(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", clip_spec()) as camera, pytest.raises(ValueError, match="does not say its clip"):
        camera.append(make_frame(0, clip_spec()))


@pytest.mark.parametrize("frames", [12, 80])  # in the journal; sealed
def test_forgetting_takes_whole_clips(tmp_path: Path, frames: int) -> None:
    with open_camera(tmp_path, "a", clip_spec()) as camera:
        made = frames_of(frames)
        for frame in made:
            camera.append(frame)
        camera.sync()
        done = camera.forget(made[5].time, made[6].time)
    assert done.frames == 4
    snapshot = CameraReader(tmp_path / "a").snapshot()
    assert snapshot.ids.tolist() == [*range(4), *range(8, frames)]
    clips = whole_clips(snapshot.ids, snapshot.clip_marks(snapshot.ids))
    assert snapshot.ids[clips.rows()].tolist() == snapshot.ids.tolist()


def test_an_exported_span_keeps_its_clips_and_loses_those_that_it_cuts(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", clip_spec()) as camera:
        for frame in frames_of(12):
            camera.append(frame)
    export_span(CameraReader(tmp_path / "a").snapshot(), 2, 10, tmp_path / "span")
    span = SpanFile(tmp_path / "span")
    assert [frame.clip for frame in span.frames()] == [0, 0, 64, 65, 66, 67, 0, 0]
    with open_camera(tmp_path, "b", clip_spec()) as camera:
        assert import_span(span, camera) == 8
    with open_camera(tmp_path, "b", clip_spec()) as camera:
        assert camera.frames == 8  # nothing is taken back as torn


@pytest.mark.slow
def test_a_recording_that_was_killed_goes_on_without_a_hole_or_a_double(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed while frames of a clip wait: none of those was acknowledged, and the memory ends up as that of one run."""
    folder, memory, acks = tmp_path / "archive", tmp_path / "memory", tmp_path / "acks"
    folder.mkdir()
    make_clip(folder / "2025-01-01_00-00-00.mp4", frames=90, rate=2)
    command = ["replay", str(folder), "--memory", str(memory), "--model", str(preset)]
    killed = subprocess.Popen(
        [sys.executable, "-m", "afterview", *command, "--camera", "a", "--speed", "10", "--ack-file", str(acks)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (acks.exists() and acks.read_text().count("\n") >= 10):
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    promised = [int(line.split()[0]) for line in acks.read_text().splitlines()]
    assert promised == list(range(len(promised)))
    assert len(promised) % 4 == 0
    assert 8 < len(promised) < 45
    assert CameraReader(memory / "a").snapshot().frames >= len(promised)
    for name in ("a", "whole"):
        assert main([*command, "--camera", name, "--speed", "max"]) == 0
    capsys.readouterr()
    model = load_pretrained(preset, device="cpu", dtype="float32")
    gone_on, whole = (CameraReader(memory / name).snapshot() for name in ("a", "whole"))
    np.testing.assert_array_equal(gone_on.times, whole.times)
    np.testing.assert_array_equal(gone_on.clip_marks(gone_on.ids), whole.clip_marks(whole.ids))
    assert gone_on.frames == 45
    assert gone_on.gaps == ()
    assert_same(model, plan(model, memory, "a"), plan(model, memory, "whole"))


# --- re-embedding, through the command line ---


@pytest.mark.slow
def test_reembed_turns_either_memory_into_the_other(
    preset: Path, tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, other in ((str(preset), "tiny"), ("tiny", str(preset))):
        memory, fresh = tmp_path / f"from-{other[:4].strip('/')}", tmp_path / f"fresh-{other[:4].strip('/')}"
        common = ["--camera", "a", "--fps", "10", "--start", "2025-01-01", "--speed", "max"]
        assert main(["replay", str(video), "--memory", str(memory), "--model", name, *common]) == 0
        assert main(["replay", str(video), "--memory", str(fresh), "--model", other, *common]) == 0
        assert (
            main(["ask", "Did you see a red ring?", "--memory", str(memory), "--model", other])
            == SpecMismatch.exit_status
        )
        assert "reembed" in capsys.readouterr().err
        assert main(["reembed", "--memory", str(memory), "--model", other]) == 0
        assert main(["ask", "Did you see a red ring?", "--memory", str(memory), "--model", other]) == 0
        assert main(["fsck", "--memory", str(memory), "--deep"]) == 0
        capsys.readouterr()
        made, expected = (CameraReader(place / "a").snapshot() for place in (memory, fresh))
        assert made.spec == expected.spec
        assert made.frames == expected.frames == 46
        if made.spec.tokens.clip_marks:
            np.testing.assert_array_equal(made.clip_marks(made.ids), expected.clip_marks(expected.ids))
        else:
            assert {frame.clip for frame in made._unsealed} == {None}
        near = np.abs(made.tokens(made.ids).astype(float) - expected.tokens(expected.ids))
        assert np.median(near) < 0.1  # from JPEGs instead of pixels
