"""Cost and savings of int8 and downsampled tokens: bytes per hour, error, and the tiny model's answers over the same frames.

AFTERVIEW_SIZE_WORLDS=DIR keeps the rendered worlds between runs.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.feature_spec import Storage
from afterview.memory.base.int8_tokens import LARGEST_CODE, dequantise, quantise
from afterview.memory.base.records import FrameRecord
from afterview.memory.directory import Memory
from afterview.memory.plans.downsampling import token_bytes
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.training.evaluation.judge import NEEDLES
from afterview.training.evaluation.plan import WorldTest, questions_for
from afterview.training.evaluation.tables import Outcome, share
from afterview.training.evaluation.worlds import START, ask_all, ingest_worlds
from tests.bench.memory import published_spec, tiny_spec, writing
from tests.bench.table import Table

TEST = WorldTest(seeds=(11, 12, 13, 14, 15, 16), frames=600, questions=48)
STORAGES: tuple[Storage, ...] = ("float16", "int8")
KEPT: dict[str, Storage] = {"float16": "float16", "int8": "int8", "float16, coarse": "float16"}
EVERY = 8  # of the questions, whose MemAug rows and logits are compared
WIDE, GAIN = 10, 30.0  # channels made so much wider than the others, as vision towers of large models have them

Tokens = NDArray[np.float32]


def run() -> list[Table]:
    """Takes a quarter of an hour on two cores, mostly for questions."""
    kept = os.environ.get("AFTERVIEW_SIZE_WORLDS")
    with tempfile.TemporaryDirectory() as directory:
        worlds = Path(kept or directory)
        model = load_pretrained("tiny")
        _make_memories(worlds, model)
        snapshot = Memory(worlds / "float16" / "memory").camera(_camera(TEST.seeds[0])).snapshot()
        return [_space(), _schemes(snapshot), _conversion(), *_answers(worlds, model)]


def copy_camera(snapshot: MemorySnapshot, memory: Path, storage: Storage, *, coarse: bool) -> None:
    """The same frames in another memory with another storage. coarse: downsample all sealed frames except the newest seal."""
    with open_camera(memory, snapshot.info.name, snapshot.spec.stored_as(storage), timezone="UTC") as repository:
        tokens, embeddings = snapshot.tokens(snapshot.ids), snapshot.embeddings(snapshot.ids)
        for row, frame in enumerate(snapshot.ids.tolist()):
            when = float(snapshot.times[row])
            repository.append(FrameRecord(when, when, snapshot.image(frame), tokens[row], embeddings[row]))
        repository.sync()
        while coarse and repository.downsample(1.0, ()):
            pass


def _make_memories(worlds: Path, model: AfterviewModel) -> None:
    """The worlds, rendered, encoded and stored as float16, and copies with other storage."""
    encoders = _storing(model, "float16")
    ingest_worlds(TEST, encoders, worlds / "float16")
    plain = Memory(worlds / "float16" / "memory")
    for seed in TEST.seeds:
        camera = _camera(seed)
        snapshot = plain.camera(camera).snapshot()
        for name, storage in KEPT.items():
            memory = worlds / name / "memory"
            if not (memory / camera / "camera.json").exists():
                copy_camera(snapshot, memory, storage, coarse="coarse" in name)


def _storing(model: AfterviewModel, storage: Storage) -> Any:
    encoders = model.encoders
    preset = encoders.preset.model_copy(update={"token_storage": storage})
    return type(encoders)(encoders.vision, encoders.index, preset)


def _camera(seed: int) -> str:
    (camera,) = TEST.footage(seed).scripts
    return camera


def _space() -> Table:
    table = Table(
        "Space of one camera at 1 FPS, and what writing it costs",
        ["spec", "kept as", "token bytes a frame", "coarse", "GB per hour on disk", "of float16", "written / payload", "ms a frame"],
        "11 kB of image a frame; frames synced one by one. Payload: image, tokens as they are kept, embedding, times. Target: at most 2.2. "
        "Downsampled: bytes of the same frame once it is old (`retain --coarse-days`).",
    )  # fmt: skip
    for name, spec in (("tiny 64x128", tiny_spec()), ("Hour-LLaVA 64x1152", published_spec())):
        plain = 0.0
        for storage in STORAGES:
            kept = spec.stored_as(storage)
            sizes = [f"{token_bytes(kept.tokens, downsampled=coarse):,}" for coarse in (False, True)]
            seconds, _, amplification, gigabytes = writing(kept)
            plain = plain or gigabytes
            table.add(name, storage, *sizes, gigabytes, gigabytes / plain, amplification, seconds)
    return table


# --- which scales ---


def _stepped(tokens: Tokens, axes: tuple[int, ...]) -> Tokens:
    """Rounded to int8 with one float16 scale over these axes."""
    scale = (np.abs(tokens).max(axis=axes, keepdims=True) / LARGEST_CODE).astype(np.float16).astype(np.float32)
    scale = np.where(scale == 0, 1, scale)
    rounded: Tokens = np.clip(np.rint(tokens / scale), -LARGEST_CODE, LARGEST_CODE) * scale
    return rounded


def _in_chunks(tokens: Tokens) -> Tokens:
    chunks = tokens[: len(tokens) // 16 * 16].reshape(-1, 16, *tokens.shape[1:])
    return np.concatenate([_stepped(chunks, (1, 2)).reshape(-1, *tokens.shape[1:]), tokens[len(tokens) // 16 * 16 :]])


def _after_spread(tokens: Tokens) -> Tokens:
    spread = np.sqrt((tokens**2).mean(axis=(0, 1), keepdims=True))
    rounded: Tokens = _stepped(tokens / spread, (2,)) * spread
    return rounded


SCHEMES: dict[str, Callable[[Tokens], Tokens]] = {
    "per frame": lambda tokens: _stepped(tokens, (1, 2)),
    "per token": lambda tokens: _stepped(tokens, (2,)),
    "per token, after dividing channels by their spread over the recording": _after_spread,
    "per channel, in a chunk of 16 frames": _in_chunks,
    "per channel, in each frame (used)": lambda tokens: dequantise(quantise(tokens)).astype(np.float32),
}


def _schemes(snapshot: MemorySnapshot) -> Table:
    table = Table(
        "Where the int8 scales are taken: relative error of the tokens",
        ["scale", "tiny tower", "worst token", f"the same with {WIDE} channels {GAIN:g} times as wide"],
        f"{snapshot.frames} frames of a rendered world. The last column weighs all channels alike (the widening is undone before "
        "comparing): a scale that spans channels loses the narrow ones. Scales per chunk or recording are not known while journalling.",
    )  # fmt: skip
    tokens: Tokens = snapshot.tokens(snapshot.ids).astype(np.float32)
    gains = np.ones(tokens.shape[2], dtype=np.float32)
    gains[np.random.default_rng(0).choice(len(gains), WIDE, replace=False)] = GAIN
    widened = (tokens * gains).astype(np.float16).astype(np.float32)
    for name, scheme in SCHEMES.items():
        off = scheme(tokens) - tokens
        worst = float((np.linalg.norm(off, axis=2) / np.linalg.norm(tokens, axis=2)).max())
        wide = _relative((scheme(widened) - widened) / gains, widened / gains)
        table.add(name, _percent(_relative(off, tokens)), _percent(worst), _percent(wide))
    return table


def _relative(off: NDArray[Any], whole: NDArray[Any]) -> float:
    return float(np.sqrt((off.astype(np.float64) ** 2).sum() / (whole.astype(np.float64) ** 2).sum()))


def _percent(share_of_one: float) -> str:
    return f"{100 * share_of_one:.2f} %"


# --- what it costs ---


def _conversion() -> Table:
    table = Table(
        "Converting, one thread", ["tokens", "to int8, ms a frame", "back, ms a frame", "back for 3,600 frames, s"],
        "Best of 7 over 64 frames.",
    )  # fmt: skip
    random = np.random.default_rng(0)
    for width in (128, 1152):
        tokens = random.standard_normal((64, 64, width)).astype(np.float16)
        stored = quantise(tokens)
        there, back = _best(lambda t=tokens: quantise(t)), _best(lambda s=stored: dequantise(s))  # type: ignore[misc]
        table.add(f"64x{width}", there / 64 * 1e3, back / 64 * 1e3, back / 64 * 3600)
    return table


def _best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


# --- what it changes ---


def _answers(worlds: Path, model: AfterviewModel) -> Iterator[Table]:
    errors = Table(
        "What int8 tokens change on the way to an answer, tiny model: relative error", ["of what", "mean", "worst"],
        f"Every {EVERY}th question of the table below; the same frames as float16 and as int8. MemAug's rows: the decayed tokens as the "
        "decoder takes them.",
    )  # fmt: skip
    for name, values in _errors(worlds, model).items():
        errors.add(name, _percent(float(np.mean(values))), _percent(float(np.max(values))))
    yield errors
    table = Table(
        "Answers of the tiny model over the same frames, kept in three ways",
        ["tokens kept as", "questions", "answers that changed", "right", "needles right", "first evidence moved"],
        f"{len(TEST.seeds)} worlds of {TEST.frames} frames, seeds {TEST.seeds[0]} to {TEST.seeds[-1]}, bounded recall. Coarse: "
        "512 of each 600 frames keep 16 of 64 tokens (`retain --coarse-days`).",
    )  # fmt: skip
    plain: list[Outcome] = []
    for name in KEPT:
        outcomes = list(ask_all(TEST, model, worlds / name))
        plain = plain or outcomes
        table.add(name, *compare(plain, outcomes))
    yield table


def compare(plain: list[Outcome], outcomes: list[Outcome]) -> tuple[int, int, str, str, int]:
    """(asked, answers that differ, share right, share of needles right, times that the first evidence differs)."""
    pairs = list(zip(plain, outcomes, strict=True))
    right, needles = share(outcomes), share([outcome for outcome in outcomes if outcome.question.kind in NEEDLES])
    return (
        len(outcomes),
        sum(one.answer != other.answer for one, other in pairs),
        f"{right.value:.3f}",
        f"{needles.value:.3f} of {needles.asked}",
        sum(one.evidence_time != other.evidence_time for one, other in pairs),
    )


def _errors(worlds: Path, model: AfterviewModel) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"tokens": [], "MemAug's rows": [], "first-token logits": []}
    answerers = [Answerer(Memory(worlds / storage / "memory"), model) for storage in STORAGES]
    network = model.video_language
    for seed in TEST.seeds:
        for asked in questions_for(TEST.footage(seed), TEST)[::EVERY]:
            question = Question(asked.text, (_camera(seed),), at=START + asked.at_s)
            contexts = [answerer.plan(_camera(seed), question, now=0.0) for answerer in answerers]
            inputs = [network.inputs_embeds(context.features, context.layout, context.prompt) for context in contexts]
            ((first, count),) = inputs[0].visual
            rows = [one.inputs_embeds[first : first + count].float().numpy() for one in inputs]
            logits = [network.first_token_logits(one).float().numpy() for one in inputs]
            plain, other = (np.asarray(context.features, dtype=np.float32) for context in contexts)
            for name, (one, two) in zip(found, ((plain, other), rows, logits), strict=True):
                found[name].append(_relative(two - one, one))
    return found
