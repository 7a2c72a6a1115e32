"""The encode thread: pixels become features, in batches of whatever frames wait, of all cameras together.

Threads: `run` is the encode thread, which owns the encoders. `add` and `close` may be called from any.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING

import numpy as np

from afterview.memory.base.records import FrameRecord
from afterview.memory.plans.clip_marks import marks_of
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.clips import ClipGatherer, Group
from afterview.stream.ingest.decode import Item
from afterview.stream.ingest.items import Marker
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.reuse import FeatureReuse, merged

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

ENCODER_BATCH = 16  # frames, of all cameras together

_LOGGER = logging.getLogger(__name__)

Encoded = tuple[CameraIngest, FrameRecord | Marker, "Encoders | None"]


class EncodeStage:
    """Takes from the inboxes of its cameras and submits to their writers. work: the condition that all inboxes share."""

    def __init__(self) -> None:
        self.work = threading.Condition()
        self._cameras: list[CameraIngest] = []
        self._failed: set[CameraIngest] = set()  # whose frames could not be encoded; encode thread only
        self._closed = False
        self._clips = ClipGatherer()
        self._reuse = FeatureReuse()

    def add(self, camera: CameraIngest) -> None:
        """Serve this camera until its inbox has ended. Its inbox must share `work`."""
        with self.work:
            self._cameras.append(camera)
            self.work.notify_all()

    def close(self) -> None:
        """Let `run` return once all inboxes have ended."""
        with self.work:
            self._closed = True
            self.work.notify_all()

    def run(self) -> None:
        """The encode thread. An error in encoding fails the cameras whose frames were being encoded, and no other."""
        while (batch := self._collect()) is not None:
            self._encode(self._clips.gather([item for item in batch if item[0] not in self._failed]))
            self._release_ended()

    def _collect(self) -> list[tuple[CameraIngest, Item]] | None:
        """Wait for items, and take them from the cameras in turn. Empty when a camera has ended, None when there is nothing more to do."""
        with self.work:
            while True:
                ready = [camera for camera in self._cameras if camera.ready(ENCODER_BATCH)]
                share = max(1, ENCODER_BATCH // max(1, len(ready)))
                batch = [(camera, item) for camera in ready for item in camera.inbox.take_now(share)]
                if batch or any(camera.inbox.ended for camera in self._cameras):
                    return batch
                if self._closed and not self._cameras:
                    return None
                self.work.wait()

    def _release_ended(self) -> None:
        with self.work:
            ended = [camera for camera in self._cameras if camera.inbox.ended]
            self._cameras = [camera for camera in self._cameras if camera not in ended]
        for camera in ended:
            rest = self._clips.rest(camera)
            self._encode([] if camera in self._failed else rest)
            self._failed.discard(camera)
            self._reuse.forget(camera)
            camera.outbox.close()

    def _encode(self, groups: Sequence[Group]) -> None:
        if all(camera.config.reuse_bound is None for camera, _ in groups):
            encoded: Iterable[Encoded] = self._encode_all(groups)
        else:
            decisions = self._reuse.decide(groups)
            fresh = self._encode_all([(one.camera, one.group) for one in decisions if one.reuses is None])
            encoded = merged(decisions, fresh, self._failed)
        for camera, item, encoders in encoded:
            camera.submit(item, encoders)

    def _encode_all(self, groups: Sequence[Group]) -> list[Encoded]:
        try:
            return encode_groups(groups)
        except Exception:
            encoded = []
            for camera in dict.fromkeys(camera for camera, _ in groups):
                encoded += self._encode_alone(camera, [group for group in groups if group[0] is camera])
            return encoded

    def _encode_alone(self, camera: CameraIngest, groups: Sequence[Group]) -> list[Encoded]:
        try:
            return encode_groups(groups)
        except Exception as error:
            _LOGGER.debug("%s: frames cannot be encoded", camera.id, exc_info=True)
            self._failed.add(camera)
            camera.fail(error)
            return []


def encode_groups(groups: Sequence[Group]) -> list[Encoded]:
    """Clips and notices to what the writers get, in the same order. What the same model encodes is one batch."""
    encoded: list[Encoded] = []
    for _, alike in groupby(groups, key=lambda pair: None if isinstance(pair[1], Marker) else id(_encoders(pair[1]))):
        encoded += _encode_alike(list(alike))
    return encoded


def _encode_alike(groups: Sequence[Group]) -> Iterator[Encoded]:
    """Complete clips (single frames, where frames are not merged) in one batch, short ones each alone."""
    clips = [_frames(group) for _, group in groups if not isinstance(group, Marker)]
    encoders = clips[0][0].encoders if clips else None
    size = encoders.feature_spec.tokens.frames_per_record if encoders else 1
    complete = [frame for clip in clips if len(clip) == size for frame in clip]
    records = iter(encode_frames(encoders, complete) if encoders else [])
    for camera, group in groups:
        if isinstance(group, Marker):
            yield camera, group, None
        elif encoders is not None:
            frames = _frames(group)
            own = iter(list(islice(records, size)) if len(frames) == size else encode_frames(encoders, frames))
            for item in group:
                yield (camera, next(own), encoders) if isinstance(item, Sampled) else (camera, item, None)


def _frames(clip: Sequence[Sampled | Marker]) -> list[Sampled]:
    return [item for item in clip if isinstance(item, Sampled)]


def _encoders(clip: Sequence[Sampled | Marker]) -> "Encoders":
    return _frames(clip)[0].encoders


def encode_frames(encoders: "Encoders", frames: Sequence[Sampled]) -> list[FrameRecord]:
    """Sampled frames to memory records: the one place where pixels become features, for live, replay and training alike.

    Of each frame: token_pixels uint8 [S, S, 3] and index_pixels uint8 [I, I, 3], at the encoders' sizes, become tokens [P, Dv] in the
    spec's dtype and an embedding float32 [De] of unit norm.
    Where an encoder compresses clips, the frames are consecutive ones, clip by clip, and only the last clip may be short.
    """
    if not frames:
        return []
    tokens = encoders.vision.encode(np.stack([frame.token_pixels for frame in frames]))
    embeddings = encoders.index.encode_images(np.stack([frame.index_pixels for frame in frames]))
    spec = encoders.feature_spec.tokens
    marks = marks_of(len(frames), spec.frames_per_record).tolist() if spec.clip_marks else [None] * len(frames)
    return [
        FrameRecord(
            time=frame.time,
            arrival_time=frame.arrival_time,
            source_time=frame.source_time,
            time_basis=frame.time_basis,
            image=frame.image,
            tokens=tokens[row],
            embedding=embeddings[row],
            picture_damaged=frame.picture_damaged,
            clip=marks[row],
        )
        for row, frame in enumerate(frames)
    ]
