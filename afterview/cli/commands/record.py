"""`afterview watch` and `afterview replay`: one path, two kinds of source."""

import argparse
import asyncio
import json
import logging
import math
import os
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from afterview.cli.arguments import (
    camera_name,
    memory_path,
    positive_duration,
    require_model,
    sampling_rate,
    sync_interval,
    timeout,
)
from afterview.cli.before_recording import require_ack_file, require_same_camera, require_start, zone_of
from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.camera_names import directory_to_record
from afterview.memory.base.durable import removed_if_unused
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.typed_times import find_zone, parse_time, spell_duration
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.upload import UploadProgress
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address import SourceAddress, parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.probe import probe

if TYPE_CHECKING:  # loads torch: not before the arguments are known to make sense
    from afterview.model.checkpoint.models import Encoders

SLOWEST_REPLAY = 0.01  # times the recording's own pace
PROGRESS_EVERY = 5.0  # seconds between two progress lines

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Record until the source ends, the time is up, or Ctrl-C."""
    address = parse_source(arguments.source)
    if address.live != arguments.live:
        other = "watch" if address.live else "replay"
        raise UsageError(f"{address.redacted}: is {'live' if address.live else 'a file'}; use `afterview {other}`")
    memory = memory_path(arguments.memory)
    name = camera_name(arguments.camera, address.suggested_name)
    directory = directory_to_record(memory, name, by_id=arguments.camera is not None)
    config = _config(arguments, address, directory)
    seconds = positive_duration("--for", arguments.seconds) if arguments.live and arguments.seconds else None
    require_ack_file(arguments.ack_file)
    require_model(arguments.model)
    require_same_camera(directory, fps=config.fps, timezone=arguments.timezone, start=config.start)
    stored = _stored_spec(directory)
    if stored and arguments.tokens not in (None, stored.tokens.storage):
        raise UsageError(
            f"camera '{directory.name}' keeps its tokens as {stored.tokens.storage}, not {arguments.tokens}; leave out --tokens, or "
            f"change them first: afterview reembed --model {stored.model} --tokens {arguments.tokens}"
        )
    if not config.keep_trying:
        probe(address, config.source)
    from afterview.model.checkpoint import loading  # loads torch: not before the arguments are known to make sense

    encoders = loading.load_encoders(arguments.model or (stored.model if stored else "tiny"))
    if encoders.notice:
        _LOGGER.info("note: %s", encoders.notice)
    with removed_if_unused(memory), _AckFile(arguments.ack_file) as acks:
        session = Session(
            memory, encoders, timezone=arguments.timezone, token_storage=arguments.tokens, on_durable=acks.write,
            on_state=_log_state,
        )  # fmt: skip
        ingest = run_loop(_record(session, name, config, seconds))
    _report(arguments, ingest, encoders)
    return 0


def _stored_spec(camera: Path) -> FeatureSpec | None:
    """What this camera was recorded with so far."""
    try:
        return CameraReader(camera).spec
    except MemoryNotFound:
        return None


def _config(arguments: argparse.Namespace, address: SourceAddress, camera: Path) -> IngestConfig:
    fps, sync_every_s = sampling_rate(arguments.fps), sync_interval(arguments.sync_every)
    if arguments.timezone is not None:
        find_zone(arguments.timezone)
    if arguments.live:
        if arguments.udp and address.kind != "rtsp":
            raise UsageError(f"--udp: is for rtsp:// only, not for {address.redacted}")
        source = SourceConfig(
            open_timeout_s=timeout("--open-timeout", arguments.open_timeout),
            read_timeout_s=timeout("--read-timeout", arguments.read_timeout),
            rtsp_transport="udp" if arguments.udp else "tcp",
        )
        return IngestConfig(
            address, fps=fps, live=True, keep_trying=arguments.keep_trying, source=source, sync_every_s=sync_every_s
        )
    zone, now, start = zone_of(camera, arguments.timezone), time.time(), None
    if arguments.start:
        start = require_start(arguments.start, parse_time(arguments.start, timezone=zone, now=now), now)
    speed = _speed(arguments.speed)
    return IngestConfig(address, fps=fps, live=False, speed=speed, start=start, sync_every_s=sync_every_s)


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text if text.isascii() else "")
    except ValueError:
        speed = 0.0
    if text != "max" and not SLOWEST_REPLAY <= speed < math.inf:
        raise UsageError(
            f"--speed {text}: write 1 for the recording's own pace, 10 for ten times (at least {SLOWEST_REPLAY:g}), or max"
        )
    return speed


async def _record(session: Session, name: str, config: IngestConfig, seconds: float | None) -> CameraIngest:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, session.stop)
    if seconds is not None:
        loop.call_later(seconds, session.stop)
    async with session:
        ingest = session.add(name, config)
        progress = loop.create_task(_log_progress(ingest))
        try:
            await session.run()
        finally:
            progress.cancel()
    return ingest


async def _log_progress(ingest: CameraIngest) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_EVERY)
        status, info = ingest.status(), ingest.repository.info
        if status.state == "online":
            rate = status.recorded / (time.monotonic() - began)
            at = f", newest {info.show_clock(status.last_time)}" if status.recorded and status.last_time else ""
            dropped = f", {status.dropped} dropped" if status.dropped else ""
            waiting = f"; {text}" if (text := describe_waiting(status.upload, info)) else ""
            _LOGGER.info("%s: %d frames%s%s (%.1f/s)%s", status.camera, status.recorded, at, dropped, rate, waiting)


def describe_waiting(upload: UploadProgress | None, info: CameraInfo) -> str:
    """What is not on the memory's store yet, and why; empty if everything is."""
    if upload is None or not (upload.seals or upload.silent_since):
        return ""
    waiting = f"{upload.seals} seals ({upload.bytes / 1e6:.1f} MB) wait for the store"
    if upload.silent_since is None:
        return waiting
    return f"{waiting}; store unavailable since {info.show_clock(upload.silent_since)} ({upload.why})"


def _log_state(ingest: CameraIngest) -> None:
    status = ingest.status()
    waiting = f"; {text}" if (text := describe_waiting(status.upload, ingest.repository.info)) else ""
    detail = f" ({status.detail})" if status.detail else ""
    _LOGGER.info("%s: %s%s%s", status.camera, status.state, detail, waiting)


def _report(arguments: argparse.Namespace, ingest: CameraIngest, encoders: "Encoders") -> None:
    status, info = ingest.status(), ingest.repository.info
    if arguments.json:
        shown = {key: value for key, value in status.to_dict().items() if key not in ("state", "cause")}
        print(json.dumps({**shown, "notice": encoders.notice}))
        return
    span = spell_duration(status.frames / info.fps)
    print(
        f"{status.camera}: {status.recorded} frames recorded, {status.frames} in memory ({span}) at {arguments.memory}"
    )
    if waiting := describe_waiting(status.upload, info):
        print(
            f"  {waiting}; the next watch sends them, or: afterview store flush --memory {shlex.quote(arguments.memory)}"
        )
    if status.recorded:
        question = encoders.preset.suggestion
        print(f'ask about it: afterview ask "{question}" --memory {shlex.quote(arguments.memory)}')


@dataclass
class _AckFile:
    """Appends a line per durable frame. A line is written only after the frame itself was fsync'd."""

    path: str | None
    _file: IO[str] | None = None
    _created: bool = False

    def __enter__(self) -> "_AckFile":
        if self.path:
            try:
                self._created = not os.path.lexists(self.path)
                self._file = open(self.path, "a", encoding="ascii")
            except OSError as error:
                raise UsageError(f"--ack-file {self.path}: {error.strerror}") from None
        return self

    def write(self, ingest: CameraIngest, acknowledgements: Sequence[Acknowledgement]) -> None:
        """Called in the camera's write thread."""
        if self._file and acknowledgements:
            self._file.writelines(f"{ack.frame} {ack.time!r} {ack.crc:08x}\n" for ack in acknowledgements)
            self._file.flush()
            os.fsync(self._file.fileno())

    def __exit__(self, *unused: Any) -> None:
        if self._file and self.path:
            self._file.close()
            if self._created and not os.path.getsize(self.path):
                os.unlink(self.path)  # nothing was recorded
