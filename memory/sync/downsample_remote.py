"""Downsampling seals whose full tokens are remote only: the uploader's part of `memory.writing.downsample`.

The writer waits for no network. For remote-only chunks the uploader downloads and downsamples, the oldest seals first, and writes the
downsampled chunks here. The writer finds and commits them. The uploader stays a few seals ahead of the writer, and no more.
"""

import time
from pathlib import Path

from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.failpoints import reach
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.settings import read_settings
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.layout import generation_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.upload_state import UploadState
from afterview.memory.plans.downsampling import can_downsample, is_downsampled
from afterview.memory.plans.removal import present
from afterview.memory.reading.rules import camera_limits
from afterview.memory.writing.downsample import AT_ONCE, due, write_from_store, written

LOOK_EVERY_S = 30.0  # between two plans: planning reads the times of all frames
_PLANNED = 256  # seals; more than can be downsampled until the next plan


class RemoteDownsampling:
    """The downsampling of one camera. Call it with `uploaded.lock` held."""

    def __init__(self, camera: Path) -> None:
        self._camera = camera
        self._due: list[int] = []  # first frames of seals
        self._looked_at = -LOOK_EVERY_S  # monotonic
        self._unreadable: set[int] = set()

    def step(self, state: UploadState, manifest: Manifest) -> bool:
        """Write the downsampled chunks of one seal; False if there is nothing to do. Raises StoreError, OSError."""
        tree = state.trees.get(generation_name(manifest.generation))
        if tree is None or not tree.released:
            return False
        spec = read_spec(self._camera, manifest.generation)
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self._due = [first for first in self._plan(manifest, spec) if first < tree.released * SEAL_FRAMES][
                :_PLANNED
            ]
        there = written(self._camera, manifest.generation, spec)
        wanted = [first for first in self._due if not is_downsampled(manifest.downsampled, first)]
        missing = [first for first in wanted if first // SEAL_FRAMES not in there]
        if len(wanted) - len(missing) >= AT_ONCE:
            return False  # the writer commits these first
        for first in missing:
            held = present(first + SEAL_FRAMES, manifest.removed)
            if first in self._unreadable or not (held >= first).any():
                continue
            if write_from_store(self._camera, manifest, spec, first):
                reach("upload.after-coarse")
                return True
            self._unreadable.add(first)
        return False

    def _plan(self, manifest: Manifest, spec: FeatureSpec) -> list[int]:
        try:
            settings = read_settings(self._camera)
        except RepositoryError:
            return []  # damaged, so kept spans are unknown; `fsck` reports it
        seconds = camera_limits(self._camera, settings).downsample_seconds
        if seconds is None or not can_downsample(spec.tokens):
            return []
        times = SealedFrames(self._camera, manifest.generation).scalars("times", 0, manifest.frames)
        return due(manifest, times, seconds, settings.keep)
