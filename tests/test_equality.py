"""Live = replay = offline: the same frames in three ways give the same memory, the same plan and the same answer.

- live: H.264 over RTSP from a real server, in real time
- replay: the same file at full speed, under another camera name
- offline: frames decoded, sampled and encoded here in one batch, without session, queues or memory
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.memory.directory import Memory
from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.recall import plan_recall
from afterview.memory.plans.visibility import plan_repetition, plan_visible
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.model.vision.preprocess import to_square
from afterview.stream.ask.answerer import Answerer, Context
from afterview.stream.ask.question import Question
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.support.clips import make_clip, picture
from tests.support.presets import write_preset
from tests.support.servers import RtspServer, need_rtsp

FPS = 10.0  # sampled per second: many frames of memory in few seconds of live stream
CLIP_FRAMES, CLIP_RATE = 100, 20
QUESTION = "Where was the yellow square before it left?"
# How far features of one frame may differ between encoder batches of different sizes: float32 sums in another order, stored as float16.
BATCH_TOLERANCE = 2e-3


PUBLISHED = {  # the published geometry, except width and depth: 27x27 patches pooled to 8x8, the paper's forgetting, grouped heads
    "vision": {"width": 32, "layers": 1, "heads": 2, "mlp_width": 64, "image_size": 384, "patch_size": 14},
    "language": {"width": 64, "layers": 2, "heads": 8, "key_value_heads": 1, "mlp_width": 96},
}


@pytest.fixture(scope="module", params=["all", "bounded", "published"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    """Small geometries with random forgetting, so that random choices must agree too; recalling all frames or a part."""
    directory = tmp_path_factory.mktemp("preset")
    recall = {"budget": 24 if request.param == "bounded" else 96, "window": 4, "nearest": 4, "neighbours": 1}
    if request.param == "published":
        # Otherwise the paper's: 32..512 frames, one in four, 16 of 64 cells.
        forgetting: dict[str, Any] = {"spatial": "random"}
        return load_pretrained(write_preset(directory, geometry=PUBLISHED, forgetting=forgetting, recall=recall))
    forgetting = {"spatial": "random", "temporal": "random", "max_frames": 16, "min_frames": 8}
    return load_pretrained(write_preset(directory, forgetting=forgetting, recall=recall))


@dataclass
class Seen:
    """The input of the model, and its results."""

    features: NDArray[np.floating]
    recalled: NDArray[np.int64]
    visible: NDArray[np.int64]
    layout: VideoLayout
    inputs_embeds: NDArray[np.float32]
    logits: NDArray[np.float32]


def ingest(model: AfterviewModel, memory: Path, name: str, source: str, *, live: bool) -> None:
    async def main() -> None:
        async with Session(memory, model.encoders) as session:
            camera = session.add(name, IngestConfig(parse_source(source), fps=FPS, live=live))
            if live:
                import asyncio

                task = asyncio.create_task(session.run())
                while camera.stats.recorded < CLIP_FRAMES * FPS / CLIP_RATE and not task.done():
                    await asyncio.sleep(0.05)
                session.stop()
                await task
            else:
                await session.run()

    run_loop(main())


def see(model: AfterviewModel, context: Context) -> Seen:
    inputs = model.video_language.inputs_embeds(context.features, context.layout, context.prompt)
    return Seen(
        np.asarray(context.features),
        context.recall.frames,
        context.visible_frames,
        context.layout,
        inputs.inputs_embeds.float().numpy(),
        model.video_language.first_token_logits(inputs).float().numpy(),
    )


def plan(model: AfterviewModel, memory: Path, name: str) -> Seen:
    return see(model, Answerer(Memory(memory), model).plan(name, Question(QUESTION), now=0.0))


def decoded(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            yield float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")


def offline(model: AfterviewModel, path: Path, *, alter: int | None = None) -> Seen:
    """The plain computation: one list, one batch, pure plans. alter: a frame whose picture is turned upside down."""
    chosen: list[NDArray[np.uint8]] = []
    for pts, rgb in decoded(path):
        if pts >= len(chosen) / FPS - 1e-6:
            chosen.append(rgb[::-1] if alter == len(chosen) else rgb)
    spec = model.encoders.feature_spec
    tokens = model.encoders.vision.encode(np.stack([to_square(rgb, spec.tokens.resolution) for rgb in chosen]))
    embeddings = model.encoders.index.encode_images(np.stack([to_square(rgb, spec.index.resolution) for rgb in chosen]))
    count, preset = len(chosen), model.preset
    visible = plan_visible(count, preset.forgetting)
    visible_frames = plan_repetition(count, shortest=preset.forgetting.shortest)[visible]
    query = model.encoders.index.encode_texts([QUESTION])[0]
    nearest = np.argsort(-(embeddings @ query), kind="stable")
    recall = plan_recall(count, visible_frames, nearest, preset.recall)
    layout = plan_layout(count, recall.frames, visible, config=preset.forgetting, policy=preset.positions)
    prompt = model.prompt(QUESTION, frames=count, seconds=round(count / FPS, 3))
    inputs = model.video_language.inputs_embeds(tokens[recall.frames], layout, prompt)
    return Seen(
        tokens[recall.frames],
        recall.frames,
        visible_frames,
        layout,
        inputs.inputs_embeds.float().numpy(),
        model.video_language.first_token_logits(inputs).float().numpy(),
    )


def assert_same(one: Seen, other: Seen) -> None:
    np.testing.assert_array_equal(one.recalled, other.recalled)
    np.testing.assert_array_equal(one.visible, other.visible)
    for name in ("key_rows", "key_numbers", "visible", "cells"):
        np.testing.assert_array_equal(getattr(one.layout, name), getattr(other.layout, name))
    np.testing.assert_array_equal(one.layout.query_position_ids(), other.layout.query_position_ids())
    if np.array_equal(one.features, other.features):  # equal encoder batches: equal to the last bit
        np.testing.assert_array_equal(one.inputs_embeds, other.inputs_embeds)
        np.testing.assert_array_equal(one.logits, other.logits)
    else:
        np.testing.assert_allclose(one.features, other.features, atol=BATCH_TOLERANCE, rtol=BATCH_TOLERANCE)
        np.testing.assert_allclose(one.inputs_embeds, other.inputs_embeds, atol=0.02)
        np.testing.assert_allclose(one.logits, other.logits, atol=0.02)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=CLIP_FRAMES, rate=CLIP_RATE)


def test_replay_equals_offline_whatever_the_camera_is_called(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    for name in ("front door", "another camera"):
        ingest(model, tmp_path, name, str(clip), live=False)
    first, second = plan(model, tmp_path, "front door"), plan(model, tmp_path, "another camera")
    np.testing.assert_array_equal(first.inputs_embeds, second.inputs_embeds)
    np.testing.assert_array_equal(first.logits, second.logits)
    assert_same(first, offline(model, clip))


@pytest.mark.parametrize("model", ["published"], indirect=True)
def test_the_published_geometry_is_what_it_says(model: AfterviewModel, clip: Path) -> None:
    """Fifty frames are fewer than 128: they are repeated to 128 keys, 32 of them visible with 16 random cells each."""
    seen = offline(model, clip)
    patches = model.vision.patches(np.zeros((1, 384, 384, 3), dtype=np.uint8))
    assert patches.shape[1] == 27 * 27
    assert seen.features.shape[:2] == (50, 64)
    assert seen.layout.key_rows.shape == (128,)
    assert seen.layout.cells.shape == (32, 16)
    assert len(np.unique(seen.layout.cells, axis=0)) > 25


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_is_a_video_of_one_frame(model: AfterviewModel, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"still{suffix}"
    Image.fromarray(picture(3)).save(path)
    for name in ("still", "again"):
        ingest(model, tmp_path / "memory", name, str(path), live=False)
    first, second = plan(model, tmp_path / "memory", "still"), plan(model, tmp_path / "memory", "again")
    np.testing.assert_array_equal(first.logits, second.logits)
    assert len(first.features) == 1
    assert len(first.layout.key_rows) == model.preset.forgetting.shortest
    assert_same(first, offline(model, path))


@pytest.mark.integration
def test_live_equals_replay_equals_offline(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    need_rtsp()
    with RtspServer(clip) as server:
        ingest(model, tmp_path, "live one", server.url, live=True)
    ingest(model, tmp_path, "replayed", str(clip), live=False)
    live, replayed = plan(model, tmp_path, "live one"), plan(model, tmp_path, "replayed")
    assert_same(live, replayed)
    assert_same(live, offline(model, clip))


def test_one_altered_frame_changes_the_answer(model: AfterviewModel, clip: Path) -> None:
    plain = offline(model, clip)
    invisible = int(np.setdiff1d(plain.recalled, plain.visible)[3])  # visible to MemAug only, through recall
    altered = offline(model, clip, alter=invisible)
    np.testing.assert_array_equal(plain.visible, altered.visible)
    assert not np.array_equal(plain.logits, altered.logits)
    assert np.abs(plain.inputs_embeds - altered.inputs_embeds).max() > 0


def test_rolling_forgetting_is_offline_forgetting_at_every_moment(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    ingest(model, tmp_path, "a", str(clip), live=False)
    snapshot = Memory(tmp_path).camera("a").snapshot()
    answerer = Answerer(Memory(tmp_path), model)
    for seconds in (0.0, 0.65, 2.55, 4.55):
        at = float(snapshot.times[0]) + seconds
        context = answerer.plan("a", Question(QUESTION, at=at), now=at)
        count = math.floor(seconds * FPS) + 1
        assert context.span_frames == count
        visible = plan_visible(count, model.preset.forgetting)
        np.testing.assert_array_equal(
            context.visible_frames, plan_repetition(count, shortest=model.preset.forgetting.shortest)[visible]
        )
        assert context.recall.frames.max() < count


@pytest.mark.integration
def test_live_equals_replay_where_clips_of_four_frames_are_merged(clip: Path, tmp_path: Path) -> None:
    """Clips start with the first frame in each way, so complete clips hold the same frames and the same tokens.

    Live clips are encoded as they come, replayed ones several at a time, so features differ by rounding, as those of
    single frames do. Which tokens merge depends on similarity. If two similarities are equal up to the last bits of a
    float32, rounding decides, and that clip's tokens differ. None of these frames has such a tie.
    """
    need_rtsp()
    model = load_pretrained(write_preset(tmp_path, token_merging={"frames_per_clip": 4}))
    with RtspServer(clip) as server:
        ingest(model, tmp_path / "memory", "live", server.url, live=True)
    ingest(model, tmp_path / "memory", "replayed", str(clip), live=False)
    memory = Memory(tmp_path / "memory")
    live, replayed = (memory.camera(name).snapshot() for name in ("live", "replayed"))
    assert replayed.frames == CLIP_FRAMES * FPS / CLIP_RATE == 50
    whole = replayed.ids[:48]  # the last clip of the recording is short; the live stream continues
    np.testing.assert_array_equal(live.ids[:48], whole)
    np.testing.assert_allclose(np.diff(live.times[:48]), np.diff(replayed.times[:48]), atol=0.02)
    tokens = replayed.tokens(whole)
    assert tokens.shape == (48, 16, 48)
    np.testing.assert_allclose(live.tokens(whole), tokens, atol=BATCH_TOLERANCE, rtol=BATCH_TOLERANCE)
    np.testing.assert_allclose(live.embeddings(whole), replayed.embeddings(whole), atol=BATCH_TOLERANCE)
    # offline, each clip separately
    spec = model.encoders.feature_spec.tokens
    pictures = [rgb for number, (_, rgb) in enumerate(decoded(clip)) if number % (CLIP_RATE / FPS) == 0][:48]
    squares = np.stack([to_square(rgb, spec.resolution) for rgb in pictures])
    alone = np.concatenate([model.encoders.vision.encode(squares[first : first + 4]) for first in range(0, 48, 4)])
    np.testing.assert_allclose(tokens, alone, atol=BATCH_TOLERANCE, rtol=BATCH_TOLERANCE)
    shifted = np.concatenate([model.encoders.vision.encode(squares[first : first + 4]) for first in range(2, 46, 4)])
    assert np.abs(alone[2:46].astype(np.float32) - shifted).max() > 0.1  # clips that start elsewhere give other tokens
