"""`afterview watch` and `afterview replay`: one path, two kinds of source. `watch` records any number of sources at once."""

import argparse
import asyncio
import logging
import shlex
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from afterview.cli.archives import ArchivePlan
from afterview.cli.arguments import positive_duration, require_model
from afterview.cli.first_run import tell_what_it_knows
from afterview.cli.logs import show_times
from afterview.cli.models import load_model_encoders, require_weights
from afterview.cli.output.documents import dump
from afterview.cli.output.files import are_unrecorded, describe_archive, outcomes_of, summarize_files
from afterview.cli.output.recording import RecordingView, describe_failure, describe_waiting
from afterview.cli.progress import live_lines
from afterview.cli.sources import PlannedCamera, plan_cameras
from afterview.configs import AfterviewError, ExitStatus, UsageError
from afterview.memory.base.counts import counted
from afterview.memory.base.durable import removed_if_unused
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.base.feature_spec import FeatureSpec, require_same
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import Memory
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.preprocess import DEFAULT_IMAGE_SIZE
from afterview.stream.ingest.reuse import require_reusable
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.redact import redact_values
from afterview.stream.source.probe_aside import probe_aside

if TYPE_CHECKING:  # loads torch: not before the arguments are known to make sense
    from afterview.model.checkpoint.models import Encoders

_LOGGER = logging.getLogger(__name__)


@dataclass
class _Recording:
    """One camera of this run. ingest: None if it could not be opened. failure: why it ended before its source did."""

    camera: PlannedCamera
    ingest: CameraIngest | None = None
    failure: BaseException | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it recorded nothing, although nobody has paused it."""
        return self.ingest is not None and not self.ingest.stats.recorded and self.ingest.stats.source_state != "paused"

    @property
    def why_idle(self) -> str:
        """For people."""
        if self.ingest is not None and self.ingest.stats.disk_full:
            return "the disk is full"
        known = self.ingest.never_began if self.ingest is not None else ""
        return known or "no frame was ready when the time was up; a slow camera or a busy machine needs a longer --for"


def run(arguments: argparse.Namespace) -> int:
    """Record until the sources end, the time is up, or Ctrl-C. With several cameras, one that fails does not end the others."""
    show_times(redact_values)
    seconds = positive_duration("--for", arguments.seconds) if arguments.live and arguments.seconds else None
    require_model(arguments.model)
    cameras = plan_cameras(arguments)
    model = _choose_model(arguments.model, cameras)
    if cameras[0].archive is not None and not cameras[0].archive.files:
        return _report_nothing_new(arguments, cameras[0], cameras[0].archive)
    require_weights(model, arguments.index_encoder, _recorded(cameras))
    _require_source(cameras)
    encoders = _load(model, arguments.index_encoder, cameras, arguments.tokens)
    with removed_if_unused(cameras[0].directory.parent), ExitStack() as files:
        acks = {camera.id: files.enter_context(camera.acks) for camera in cameras if camera.acks}

        def on_durable(ingest: CameraIngest, acknowledgements: Sequence[Acknowledgement]) -> None:
            if ingest.id in acks:
                acks[ingest.id].write(acknowledgements)

        with live_lines() as live:
            view = RecordingView(live, several=len(cameras) > 1)
            session = Session(
                cameras[0].directory.parent, encoders, timezone=arguments.timezone, token_storage=arguments.tokens,
                on_durable=on_durable, on_state=view.changed,
            )  # fmt: skip
            recordings = run_loop(_record(session, cameras, view, seconds))
    if len(recordings) == 1 and recordings[0].failure is not None:
        raise recordings[0].failure
    _report(arguments, recordings, encoders)
    return _status(recordings, seconds)


def _choose_model(given: str | None, cameras: Sequence[PlannedCamera]) -> str:
    """The given model, else the one that the cameras were recorded with, else the built-in one. Raises UsageError for several."""
    stored = [(camera, camera.stored) for camera in cameras if camera.stored is not None]
    if given is not None or not stored:
        return given or "tiny"
    first, spec = stored[0]
    for camera, other in stored[1:]:
        if other.differences(spec):
            raise UsageError(
                f"cameras '{first.id}' and '{camera.id}' were recorded with different models ({spec.model} and {other.model}); "
                "record each with a command of its own, or change one with `afterview reembed`"
            )
    for camera in cameras:
        if camera.stored is None:
            _LOGGER.info("note: new camera '%s' gets the model of camera '%s': %s", camera.id, first.id, spec.model)
    return spec.model


def _require_source(cameras: Sequence[PlannedCamera]) -> None:
    """Loading a model takes up to minutes: find out before that the only source cannot be recorded. Raises SourceError."""
    config = cameras[0].config
    if len(cameras) > 1 or config.keep_trying or len(config.files) > 1 or any(file.pictures for file in config.files):
        return
    address = config.files[0].address if config.files else config.address
    probe_aside(address, config.source, lambda notice: _LOGGER.info("note: %s", notice))


def _recorded(cameras: Sequence[PlannedCamera]) -> "FeatureSpec | None":
    return next((camera.stored for camera in cameras if camera.stored is not None), None)


def _load(model: str, index: str | None, cameras: Sequence[PlannedCamera], tokens: str | None) -> "Encoders":
    encoders = load_model_encoders(model, index, recorded=_recorded(cameras))
    tell_what_it_knows(cameras[0].directory.parent, encoders.preset)
    from afterview.model.catalogue.quicken import quicken  # late: it loads torch

    quicken(encoders)
    spec = encoders.feature_spec
    require_reusable(encoders, cameras[0].config.reuse_bound)
    if tokens is not None and encoders.preset.finds_only:
        raise UsageError(f"--tokens {tokens}: model '{model}' only finds frames, and stores no tokens; leave it out")
    needed = max(spec.tokens.resolution, spec.index.resolution)
    for camera in cameras:
        if camera.stored is not None:
            require_same(camera.stored, spec, where=f"camera '{camera.id}'")
        if camera.config.image_size is not None and camera.config.image_size < needed:
            raise UsageError(
                f"--image-size {camera.config.image_size}: model '{model}' looks at {needed} pixels, and `reembed` needs as many; "
                f"give at least {needed}"
            )
    return encoders


async def _record(
    session: Session, cameras: Sequence[PlannedCamera], view: RecordingView, seconds: float | None
) -> list[_Recording]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, session.stop)
    loop.add_signal_handler(signal.SIGCONT, view.resumed)
    if seconds is not None:
        loop.call_later(seconds, session.stop)
    recordings = [_Recording(camera) for camera in cameras]
    async with session:
        for recording in recordings:
            _open(session, recording, view, alone=len(cameras) == 1)
        showing = loop.create_task(view.keep_showing())
        try:
            await session.wait()
        finally:
            showing.cancel()
    for recording in recordings:
        if recording.ingest is not None:
            recording.failure = recording.ingest.failure
    return recordings


def _open(session: Session, recording: _Recording, view: RecordingView, *, alone: bool) -> None:
    camera = recording.camera
    _LOGGER.info("%s: %s %s", camera.id, "connecting to" if camera.config.live else "reading", camera.config.address)
    try:
        recording.ingest = session.add(camera.name, camera.config)
    except AfterviewError as error:
        if alone:
            raise
        recording.failure = error
        _LOGGER.error("%s: failed: %s", camera.id, error)
    else:
        view.add(recording.ingest)


def _status(recordings: Sequence[_Recording], seconds: float | None) -> int:
    """The exit status: 0 if no camera failed, 130 if a file was not read to its end; 2 if each that failed has a wrong address or the like;
    otherwise 1, also if no camera recorded anything for as long as it was asked to. seconds: of --for."""
    first = recordings[0]
    if len(recordings) == 1 and are_unrecorded(outcomes_of(first.camera.archive, first.ingest)):
        return ExitStatus.INTERRUPTED if first.ingest and first.ingest.cut_short else ExitStatus.FAILURE
    failures = {recording.camera.id: recording.failure for recording in recordings if recording.failure is not None}
    if not failures:
        short = [one for one in recordings if not one.camera.config.live and one.ingest and one.ingest.cut_short]
        for recording in short:
            rest = "the rest of the file is not recorded"
            if recording.camera.archive is not None and recording.camera.archive.resumable:
                rest = "run the same command again to record the rest"
            _LOGGER.warning("%s: interrupted; %s", recording.camera.id, rest)
        if seconds is not None and (idle := [one for one in recordings if one.is_idle]):
            said = "; ".join(f"{one.camera.id} ({one.why_idle})" for one in idle)
            _LOGGER.warning("%d of %d cameras recorded nothing: %s", len(idle), len(recordings), said)
            if len(idle) == len(recordings):
                return ExitStatus.FAILURE
        return ExitStatus.INTERRUPTED if short else ExitStatus.OK
    _LOGGER.error("%d of %d cameras failed: %s", len(failures), len(recordings), ", ".join(failures))
    return min(
        error.exit_status if isinstance(error, AfterviewError) else ExitStatus.FAILURE for error in failures.values()
    )


def _report(arguments: argparse.Namespace, recordings: Sequence[_Recording], encoders: "Encoders") -> None:
    if arguments.json:
        documents = [_document(recording) for recording in recordings]
        alone = documents[0] if len(documents) == 1 else {}
        infos = [recording.ingest.repository.info for recording in recordings if recording.ingest is not None]
        dump({**alone, "cameras": documents, "notice": encoders.notice}, arguments.memory, infos)
        return
    memory = shlex.quote(str(recordings[0].camera.directory.parent))
    for recording in recordings:
        for line in _summary(recording, memory):
            print(line)
    if any(recording.ingest is not None and recording.ingest.stats.recorded for recording in recordings):
        preset = encoders.preset
        todo = (
            'search it: afterview search "a person"'
            if preset.finds_only
            else f'ask about it: afterview ask "{preset.suggestion}"'
        )
        print(f"{todo} --memory {memory}")


def _report_nothing_new(arguments: argparse.Namespace, camera: PlannedCamera, archive: ArchivePlan) -> int:
    """No file has anything new: no model is loaded, and nothing is written."""
    if arguments.json:
        known = {
            "camera": camera.id,
            "state": "ended",
            "cause": None,
            "recorded": 0,
            **describe_archive(archive, None, archive.info),
        }
        dump({**known, "cameras": [known], "notice": None}, arguments.memory, [archive.info])
    else:
        for line in (f"{camera.id}: nothing new", *(f"  {line}" for line in summarize_files(archive, None))):
            print(line)
    return ExitStatus.FAILURE if are_unrecorded(outcomes_of(archive, None)) else ExitStatus.OK


def _document(recording: _Recording) -> dict[str, Any]:
    if recording.ingest is not None:
        document, info = recording.ingest.status().to_dict(), recording.ingest.repository.info
        if recording.camera.archive is not None:
            document |= describe_archive(recording.camera.archive, recording.ingest, info)
        for times, key in ((document, "last_time"), (document["store"] or {}, "unreachable_since")):
            if key in times:
                times[f"{key}_iso"] = None if times[key] is None else info.iso(times[key])
        return document
    cause = describe_failure(recording.failure) if recording.failure is not None else None
    return {"camera": recording.camera.id, "state": "failed", "cause": cause, "recorded": 0}


def _summary(recording: _Recording, memory: str) -> list[str]:
    """What became of one camera, for people."""
    failed = f"failed: {describe_failure(recording.failure)}; " if recording.failure is not None else ""
    if recording.ingest is not None and recording.ingest.never_began:
        failed = failed or f"{recording.ingest.never_began}; "
    if recording.ingest is None:
        return [f"{recording.camera.id}: {failed}nothing recorded"]
    status, info = recording.ingest.status(), recording.ingest.repository.info
    held, images = _held(recording), status.images
    lines = [f"{status.camera}: {failed}{counted(status.recorded, 'frame')} recorded, {held} at {memory}"]
    if status.dropped:
        lines.append(f"  {counted(status.dropped, 'frame')} dropped; `afterview info` lists the gaps")
    if status.pictures_damaged:
        lines.append(f"  {counted(status.pictures_damaged, 'frame')} with a damaged picture; answers say so")
    if status.pictures_replaced:
        lines.append(
            f"  {counted(status.pictures_replaced, 'damaged picture')} replaced by a whole one of the same slot"
        )
    if status.features_reused:
        lines.append(
            f"  {counted(status.features_reused, 'frame')} took the features of a frame before, from which they hardly differ"
        )
    if status.short_clips:
        lines.append(
            f"  {counted(status.short_clips, 'clip')} closed early, at the end or before a gap, with fewer frames than the model merges"
        )
    if images.size != DEFAULT_IMAGE_SIZE and status.recorded:
        lines.append(
            f"  images of {images.size} lines at most: {images.gigabytes_per_day:.2f} GB a day; of {DEFAULT_IMAGE_SIZE}, the default: "
            f"{images.default_gigabytes_per_day:.2f} GB a day"
        )
    lines += [f"  {line}" for line in summarize_files(recording.camera.archive, recording.ingest)]
    if waiting := describe_waiting(status.upload, info):
        lines.append(f"  {waiting}; the next watch sends them, or: afterview store flush --memory {memory}")
    return lines


def _held(recording: _Recording) -> str:
    """The frames that the camera's memory holds now, and how long they last."""
    directory = recording.camera.directory
    try:
        snapshot = Memory(directory.parent).camera(recording.camera.id).snapshot()
    except MemoryNotFound:  # nothing was ever recorded
        return "none in memory"
    except (AfterviewError, OSError) as error:
        return f"the memory cannot be read ({error})"
    frames = snapshot.frames
    if not frames:
        return "none in memory"
    length = frames / snapshot.info.fps
    if frames > 1:
        steps = float(snapshot.times[-1] - snapshot.times[0]) / (frames - 1)
        if steps < 0.9 / snapshot.info.fps:  # a short recording, which is sampled more densely
            length = frames * steps
    return f"{frames} in memory ({spell_duration(length)})"
