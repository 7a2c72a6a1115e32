"""Small made-up frames for tests of the memory."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.feature_spec import FeatureSpec, IndexSpec, Storage, TokenSpec
from afterview.memory.base.int8_tokens import dequantise, quantise
from afterview.memory.base.records import FrameRecord
from afterview.memory.plans.downsampling import downsample, spread
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository

START = 1_700_000_000.0
_CACHED = 2048  # frames


def make_spec(
    *, width: int = 6, cells: int = 4, weights: str = "sha256:aa", storage: Storage = "float16"
) -> FeatureSpec:
    spec = FeatureSpec(
        model="made-up",
        tokens=TokenSpec(encoder="tower", weights=weights, resolution=8, tokens_per_frame=cells, width=width),
        index=IndexSpec(encoder="pair", weights="sha256:bb", resolution=8, width=5),
    )
    return spec.stored_as(storage)


ANOTHER = make_spec(width=8, weights="sha256:new")  # another model's features of the same frames: encode_images


@lru_cache(maxsize=_CACHED)
def make_frame(number: int, spec: FeatureSpec, *, time: float | None = None) -> FrameRecord:
    """Frame `number` of a made-up video: the same content whenever it is made. Not to be changed: callers share it."""
    random = np.random.default_rng(number)
    embedding = random.standard_normal(spec.index.width).astype(np.float32)
    when = START + number if time is None else time
    return FrameRecord(
        time=when,
        arrival_time=when + 0.25,
        source_time=when - 0.5 if number % 3 else float("nan"),
        image=random.bytes(20 + number % 7),
        tokens=random.standard_normal((spec.tokens.tokens_per_frame, spec.tokens.width)).astype(spec.tokens.dtype),
        embedding=embedding / np.linalg.norm(embedding),
    )


@lru_cache(maxsize=_CACHED)
def kept_frame(number: int, spec: FeatureSpec, *, time: float | None = None) -> FrameRecord:
    """The same frame as a memory of this spec gives it back."""
    return make_frame(number, spec, time=time).stored_as(spec.tokens.storage)


@lru_cache(maxsize=_CACHED)
def downsampled_tokens(number: int, spec: FeatureSpec) -> NDArray[np.generic]:
    """Its tokens as the memory gives them back once the frame is coarse, [P, Dv]."""
    rows = downsample(kept_frame(number, spec).tokens[None])
    return spread(dequantise(quantise(rows)) if spec.tokens.storage == "int8" else rows)[0]


def record_frames(memory: Path, count: int, spec: FeatureSpec) -> Path:
    """Take so many further frames into camera `a`; returns its directory."""
    with open_camera(memory, "a", spec) as repository:
        for number in range(repository.frames, repository.frames + count):
            repository.append(make_frame(number, spec))
    return memory / "a"


def assert_holds(snapshot: MemorySnapshot, numbers: Iterable[int]) -> None:
    """Exactly these frames are there, with the tokens that they came with."""
    expected = list(numbers)
    assert snapshot.ids.tolist() == expected
    tokens = np.stack([kept_frame(number, snapshot.spec).tokens for number in expected])
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), tokens)


def kill_writer(repository: Repository) -> None:
    """Leave a repository as a process that was killed leaves it: the kernel gives its lock free, and nothing else happens."""
    repository._lock.close()


def die_holding(camera: Path) -> None:
    """Leave the camera's lock as a process that was killed leaves it: open to the next, and saying who has it."""
    (camera / "lock").write_text('{"pid": 4194305}')


def encode_images(images: Sequence[bytes]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Features under ANOTHER that say which image they were made from: tokens [T, P, Dv], embeddings [T, De]."""
    random = [np.random.default_rng(list(image)) for image in images]
    embeddings = np.stack([r.standard_normal(5) for r in random]).astype(np.float32)
    tokens = np.stack([r.standard_normal((4, 8)) for r in random]).astype(np.float16)
    return tokens, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def assert_encoded_anew(camera: Path, numbers: Sequence[int]) -> None:
    """The camera holds exactly these frames, with the features that encode_images gives their images."""
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.spec == ANOTHER
    assert snapshot.ids.tolist() == list(numbers)
    tokens, embeddings = encode_images([make_frame(number, ANOTHER).image for number in numbers])
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), tokens)
    np.testing.assert_array_equal(snapshot.embeddings(snapshot.ids), embeddings)
    np.testing.assert_array_equal(snapshot.times, [START + number for number in numbers])
