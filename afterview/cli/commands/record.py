"""`afterview watch` and `afterview replay`: one path, two kinds of source."""

import argparse
import asyncio
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

from afterview.cli.arguments import camera_name, memory_path, sampling_rate, sync_interval, timeout
from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo, local_timezone
from afterview.memory.base.camera_names import directory_to_record
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.typed_times import find_zone, parse_duration, parse_time, spell_duration
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.upload import UploadProgress
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address import SourceAddress, parse_source
from afterview.stream.source.config import SourceConfig

if TYPE_CHECKING:  # loads torch: not before the arguments are known to make sense
    from afterview.model.checkpoint.models import Encoders

PROGRESS_EVERY = 5.0  # seconds between two progress lines
_ACK_HEAD = 64  # bytes of an ack file that are checked: at least one line of id, time and CRC
_ACK_BYTES = frozenset(b"0123456789abcdef.+- \n\0")  # a power cut can leave zeros

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Record until the source ends, the time is up, or Ctrl-C."""
    address = parse_source(arguments.source)
    if address.live != arguments.live:
        other = "watch" if address.live else "replay"
        raise UsageError(f"{address.redacted}: is {'live' if address.live else 'a file'}; use `afterview {other}`")
    memory = memory_path(arguments.memory)
    name = camera_name(arguments.camera, address.suggested_name)
    config = _config(arguments, address)
    seconds = parse_duration(arguments.seconds) if arguments.live and arguments.seconds else None
    directory = directory_to_record(memory, name, by_id=arguments.camera is not None)
    stored = _stored_spec(directory)
    if stored and arguments.tokens not in (None, stored.tokens.storage):
        raise UsageError(
            f"camera '{directory.name}' keeps its tokens as {stored.tokens.storage}, not {arguments.tokens}; leave out --tokens, or "
            f"change them first: afterview reembed --model {stored.model} --tokens {arguments.tokens}"
        )
    from afterview.model.checkpoint.loading import (
        load_encoders,  # loads torch: not before the arguments are known to make sense
    )

    encoders = load_encoders(arguments.model or (stored.model if stored else "tiny"))
    if encoders.notice:
        _LOGGER.info("note: %s", encoders.notice)
    with _AckFile(arguments.ack_file) as acks:
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


def _config(arguments: argparse.Namespace, address: SourceAddress) -> IngestConfig:
    fps, sync_every_s = sampling_rate(arguments.fps), sync_interval(arguments.sync_every)
    if arguments.timezone is not None:
        find_zone(arguments.timezone)
    if arguments.live:
        source = SourceConfig(
            open_timeout_s=timeout("--open-timeout", arguments.open_timeout),
            read_timeout_s=timeout("--read-timeout", arguments.read_timeout),
            rtsp_transport="udp" if arguments.udp else "tcp",
        )
        return IngestConfig(
            address, fps=fps, live=True, keep_trying=arguments.keep_trying, source=source, sync_every_s=sync_every_s
        )
    zone = arguments.timezone or local_timezone()
    start = parse_time(arguments.start, timezone=zone, now=time.time()) if arguments.start else None
    speed = _speed(arguments.speed)
    return IngestConfig(address, fps=fps, live=False, speed=speed, start=start, sync_every_s=sync_every_s)


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise UsageError(f"--speed {text}: write 1 for the recording's own pace, 10 for ten times, or max")
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
        dump({**shown, "notice": encoders.notice}, arguments.memory, [info])
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

    def __enter__(self) -> "_AckFile":
        if self.path:
            try:
                self._require_own(Path(self.path))
                self._file = open(self.path, "a", encoding="ascii")
            except OSError as error:
                raise UsageError(f"--ack-file {self.path}: {error.strerror}") from None
        return self

    @staticmethod
    def _require_own(path: Path) -> None:
        """Raise UsageError for a file of other content. Lines that a crash cut off are accepted: the next watch must start."""
        if path.is_file():
            with path.open("rb") as file:
                if set(file.read(_ACK_HEAD)) - _ACK_BYTES:
                    raise UsageError(f"--ack-file {path}: is not an ack file; give another name")

    def write(self, ingest: CameraIngest, acknowledgements: Sequence[Acknowledgement]) -> None:
        """Called in the camera's write thread."""
        if self._file and acknowledgements:
            self._file.writelines(f"{ack.frame} {ack.time!r} {ack.crc:08x}\n" for ack in acknowledgements)
            self._file.flush()
            os.fsync(self._file.fileno())

    def __exit__(self, *unused: Any) -> None:
        if self._file:
            self._file.close()
