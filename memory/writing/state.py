"""The state of one camera that is open for writing: what the writer owns, and what the steps that change the past take.

Appending and sealing (memory.writing.repository), removing, downsampling and re-embedding are functions of this value. None of them needs
to know the writer, so none of them imports it. Threads: one at a time (the writer's).
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.format.generation import GenerationFiles
from afterview.memory.format.in_place import finish_overwriting
from afterview.memory.format.journal import Journal
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.format.unsealed import Unsealed
from afterview.memory.format.usage import Usage


@dataclass
class CameraState:
    """One camera. manifest: the one in force; only `put_manifest` and `switch` replace it. last_time: of the newest frame, Unix seconds."""

    directory: Path
    info: CameraInfo
    manifest: Manifest
    files: GenerationFiles
    usage: Usage
    last_time: float | None = None
    _sealed_times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @classmethod
    def open(cls, directory: Path, info: CameraInfo, spec: FeatureSpec) -> "CameraState":
        """Read the state of the camera at `directory`. Cuts off an unfinished record of the journal. Raises DamagedMemory."""
        finish_overwriting(directory)
        Manifest.settle(directory)
        manifest = Manifest.read(directory)
        state = cls(directory, info, manifest, GenerationFiles.open(directory, manifest, spec), Usage(directory))
        state.last_time = state.newest_time()
        return state

    def newest_time(self) -> float | None:
        """Canonical time of the newest frame, Unix seconds; None before the first."""
        if self.unsealed.frames:
            return self.unsealed.frames[-1].time
        if not self.manifest.frames:
            return None
        newest = float(self.sealed.scalars("times", self.manifest.frames - 1, self.manifest.frames)[0])
        if math.isnan(newest) and self.manifest.removed:
            return self.manifest.removed[-1].stop
        return newest

    @property
    def spec(self) -> FeatureSpec:
        """The spec of the generation in use."""
        return self.files.spec

    @property
    def sealed(self) -> SealedWriter:
        """The sealed frames of the generation in use."""
        return self.files.sealed

    @property
    def journal(self) -> Journal:
        """The journal of the generation in use."""
        return self.files.journal

    @property
    def unsealed(self) -> Unsealed:
        """Frames and gaps that the journal holds beyond the sealed ones."""
        return self.files.unsealed

    def put_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest, durably."""
        manifest.write(self.directory)
        self.manifest = manifest  # only now: a failed write has changed nothing

    def switch(self, files: GenerationFiles, manifest: Manifest) -> None:
        """Write another generation from here on. `manifest` names it and is already in force."""
        self.journal.close()
        self.files, self.manifest = files, manifest

    def times(self) -> NDArray[np.float64]:
        """Times of all frames by id, float64 [frames]; NaN where they are evicted or damaged."""
        known = len(self._sealed_times)
        if known < self.manifest.frames:
            new = self.sealed.scalars("times", known, self.manifest.frames)
            self._sealed_times = np.concatenate([self._sealed_times, new])
        return np.concatenate([self._sealed_times, [frame.time for frame in self.unsealed.frames]])

    def set_sealed_times(self, first: int, times: NDArray[np.float64]) -> None:
        """Replace the known times of sealed frames from `first` on."""
        self._sealed_times[first : first + len(times)] = times[: max(0, len(self._sealed_times) - first)]
