"""Switches a camera that is being recorded to another model: the last step of `reembed`, while frames come in.

Threads: the command's own thread loads the model and embeds the frames in memory, while recording continues under the old model. Then
the write thread switches (memory.writing.reembed), with only the frames of a moment left to embed; if that fails, the old model stays in
use. Frames that were on their way at the switch were encoded by the old model, and are embedded again from their images when they
arrive (stream.ingest.write).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import RequestRefused
from afterview.memory.base.feature_spec import FeatureSpec, require_same
from afterview.memory.base.records import FrameRecord
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.generation_build import frames_built, is_building
from afterview.memory.plans.clip_marks import marks_of
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.commands import Command
from afterview.memory.writing.reembed import Encode, build_sealed
from afterview.memory.writing.repository import Repository
from afterview.model.vision.preprocess import to_square
from afterview.stream.media import decode_jpeg

if TYPE_CHECKING:  # a model is loaded only on request
    from afterview.model.checkpoint.models import Encoders

BATCH = 16  # frames embedded at once
_ROUNDS = 5  # of embedding what came in during the previous round


class Upgrade:
    """One camera's switch to another model's features."""

    def __init__(self, generation: int, spec: FeatureSpec, encoders: "Encoders", *, keep_old: bool) -> None:
        """generation: the one that is being built, of this spec."""
        self.spec, self.encoders = spec, encoders
        self._generation, self._keep_old = generation, keep_old
        self._encode = _EmbeddingCache(image_encoder(encoders), clips=spec.tokens.frames_per_record > 1)

    @classmethod
    def prepare(cls, camera: Path, command: Command) -> "Upgrade":
        """Load the model and embed all frames in memory. Raises RequestRefused, SpecMismatch, or what loading raises."""
        # late: they load torch, which a recording process has loaded already
        from afterview.model.catalogue.quicken import quicken
        from afterview.model.checkpoint.loading import load_encoders

        try:
            generation, model = int(command["generation"]), str(command["model"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise RequestRefused(
                "command 'switch': needs a generation and a model; `afterview reembed` names both"
            ) from None
        if not is_building(camera, generation):
            raise RequestRefused(f"generation {generation} is not being built; run `afterview reembed` again")
        spec = read_spec(camera, generation)
        encoders = load_encoders(model, recorded_index=spec.index.encoder)
        require_same(spec, encoders.feature_spec, where=f"generation {generation} of camera '{camera.name}'")
        quicken(encoders)
        upgrade = cls(generation, spec, encoders, keep_old=bool(command.get("keep_old")))
        upgrade._embed_all(camera)
        return upgrade

    def _embed_all(self, camera: Path) -> None:
        reader = CameraReader(camera)
        for _ in range(_ROUNDS):
            build_sealed(camera, self._generation, self.spec, self._encode.encode)
            snapshot = reader.snapshot()
            late = snapshot.ids[snapshot.ids >= frames_built(camera, self._generation)]
            if not self._encode.learn(list(snapshot.images(late))):
                return

    def execute(self, repository: Repository) -> dict[str, Any]:
        """Switch. Called by the thread that writes; the repository goes on in the new generation."""
        done = repository.switch(self._generation, self.spec, self._encode, keep_old=self._keep_old)
        return {"generation": done.generation, "frames": done.frames, "lost": done.lost}

    def embed(self, frame: FrameRecord) -> FrameRecord:
        """The frame with this model's features, from its image; where frames are merged in clips, a clip of its own."""
        tokens, embeddings = self._encode.encode([frame.image])
        clip = int(marks_of(1, 1)[0]) if self.spec.tokens.clip_marks else None
        return replace(frame, tokens=tokens[0], embedding=embeddings[0], clip=clip)


class _EmbeddingCache:
    """Embeds images, and keeps the features of those that were embedded ahead of time."""

    def __init__(self, encode: Encode, *, clips: bool) -> None:
        """clips: frames are compressed together, so that a single frame has no features to keep."""
        self.encode, self._clips = encode, clips
        self._known: dict[bytes, tuple[NDArray[Any], NDArray[np.float32]]] = {}

    def learn(self, images: Sequence[bytes]) -> int:
        """Embed those that are not known yet; returns how many."""
        fresh = [image for image in dict.fromkeys(images) if image and image not in self._known]
        if self._clips or not fresh:
            return 0
        self._known |= dict(zip(fresh, zip(*self.encode(fresh), strict=True), strict=True))
        return len(fresh)

    def __call__(self, images: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        if self._clips:
            return self.encode(images)
        self.learn(images)
        tokens, embeddings = zip(*(self._known[image] for image in images), strict=True)
        return np.stack(tokens), np.stack(embeddings)


def image_encoder(encoders: "Encoders") -> Encode:
    """A function that embeds stored images with these encoders."""

    def encode(images: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        spec = encoders.feature_spec
        tokens, embeddings = [], []
        for start in range(0, len(images), BATCH):
            pictures = [decode_jpeg(image) for image in images[start : start + BATCH]]
            tokens.append(
                encoders.vision.encode(np.stack([to_square(rgb, spec.tokens.resolution) for rgb in pictures]))
            )
            embeddings.append(
                encoders.index.encode_images(np.stack([to_square(rgb, spec.index.resolution) for rgb in pictures]))
            )
        return np.concatenate(tokens), np.concatenate(embeddings)

    return encode
