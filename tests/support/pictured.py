"""A camera whose stored pictures show what they are: the gray of frame N is N. With encoders that are made up, so no model is loaded."""

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.preset import ModelPreset
from tests.support.memory_world import START, make_frame, make_spec

SIZE = (160, 120)


@lru_cache(maxsize=256)
def gray_jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", SIZE, (number % 256,) * 3).save(file, "JPEG", quality=95)
    return file.getvalue()


def record_pictured(
    memory: Path, name: str, frames: int, spec: FeatureSpec | None = None, *, start: float = START, zone: str = "UTC"
) -> None:
    """One frame a second from `start`."""
    spec = spec or make_spec()
    with open_camera(memory, name, spec, timezone=zone) as repository:
        for number in range(frames):
            frame = make_frame(number, spec, time=start + number)
            repository.append(replace(frame, image=gray_jpeg(number)))
        repository.sync()


_PRESET = ModelPreset(name="made-up", checkpoint="nowhere", index_queries="questions")


@dataclass
class MadeEncoders:
    """Find the frames whose embeddings resemble that of frame `looks_like`."""

    looks_like: int = 0
    name: str = "made-up"
    preset: ModelPreset = _PRESET

    @property
    def feature_spec(self) -> FeatureSpec:
        return make_spec()

    @property
    def index(self) -> Any:
        def encode(texts: list[str]) -> NDArray[np.float32]:
            return np.stack([make_frame(self.looks_like, make_spec()).embedding for _ in texts])

        return SimpleNamespace(encode_texts=encode)
