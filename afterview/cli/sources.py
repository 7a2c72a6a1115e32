"""What `watch` and `replay` are asked to record: every source with its camera, checked before a model is loaded or a source is opened."""

import argparse
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from afterview.cli.archives import Archive, ArchivePlan, find_archive, plan_archive
from afterview.cli.arguments import camera_name, memory_path, newest_frame, sampling_rate, sync_interval, timeout
from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo, local_timezone
from afterview.memory.base.camera_names import directory_to_record
from afterview.memory.base.errors import MemoryNotFound, RepositoryError
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.lock import require_no_recorder
from afterview.memory.base.settings import read_settings
from afterview.memory.base.typed_times import find_zone, parse_time
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ingest.ack_file import AckFile
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.preprocess import DEFAULT_IMAGE_SIZE
from afterview.stream.ingest.reuse import LARGEST_BOUND
from afterview.stream.source.address.address import SourceAddress, parse_source
from afterview.stream.source.address.redact import shows_password
from afterview.stream.source.address.variables import without_variables
from afterview.stream.source.config import SourceConfig, Transport
from afterview.stream.source.decoding.hardware import require_decoder

DAY_S = 86_400.0  # seconds; that clocks and time zones may be wrong by
SLOWEST_REPLAY = 0.01  # times the recording's own pace
LARGEST_IMAGE = 4320  # pixels, short side: 8K

_Value = TypeVar("_Value")

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedCamera:
    """A source and the camera that it is recorded into. stored: what that camera was recorded with so far; None: it is new."""

    name: str
    directory: Path
    config: IngestConfig
    stored: FeatureSpec | None
    acks: AckFile | None
    archive: ArchivePlan | None = None  # of `replay`

    @property
    def id(self) -> str:
        """The camera's id."""
        return self.directory.name


def plan_cameras(arguments: argparse.Namespace) -> list[PlannedCamera]:
    """One camera per source. Raises UsageError, among others for two sources or two cameras that are the same."""
    archive = None if arguments.live else find_archive(arguments.sources)
    addresses = [parse_source(text) for text in arguments.sources] if archive is None else [archive.address]
    for address in addresses:
        if address.live != arguments.live:
            other = "watch" if address.live else "replay"
            raise UsageError(f"{address.redacted}: is {'live' if address.live else 'a file'}; use `afterview {other}`")
    _require_different(addresses)
    _warn_of_passwords(arguments.sources)
    memory = memory_path(arguments.memory)
    names, acks = _per_source("--camera", arguments.camera, addresses), _acks(arguments.ack_file, addresses)
    streams = _streams(arguments.stream, addresses)
    cameras = [
        _plan_camera(arguments, memory, address, name, ack, stream, archive, alone=len(addresses) == 1)
        for address, name, ack, stream in zip(addresses, names, acks, streams, strict=True)
    ]
    _require_one_source_each(cameras, given=bool(arguments.camera))
    return cameras


def _per_source(option: str, given: Sequence[_Value], addresses: Sequence[SourceAddress]) -> Sequence[_Value | None]:
    """The values of an option that is given once for every source, or not at all."""
    if given and len(given) != len(addresses):
        raise UsageError(
            f"{option}: given {len(given)} times for {len(addresses)} {'source' if len(addresses) == 1 else 'sources'}; give it once "
            "for each source, in their order, or not at all"
        )
    return given or [None] * len(addresses)


def _acks(paths: Sequence[str], addresses: Sequence[SourceAddress]) -> list[AckFile | None]:
    files = [None if path is None else AckFile(Path(path)) for path in _per_source("--ack-file", paths, addresses)]
    places = [os.path.realpath(path) for path in paths]
    if len(set(places)) < len(places):
        raise UsageError("--ack-file: two cameras cannot share an ack file, because its lines do not name the camera")
    return files


def _streams(given: Sequence[int], addresses: Sequence[SourceAddress]) -> Sequence[int | None]:
    """The video stream of each source, by its number."""
    if any(number < 0 for number in given):
        raise UsageError(f"--stream {min(given)}: must be 0 or more; the first video stream of a source is 0")
    return [given[0]] * len(addresses) if len(given) == 1 else _per_source("--stream", given, addresses)


def _plan_camera(
    arguments: argparse.Namespace, memory: Path, address: SourceAddress, given: str | None, acks: AckFile | None, stream: int | None,
    archive: Archive | None, *, alone: bool,
) -> PlannedCamera:  # fmt: skip
    name = camera_name(given, address.suggested_name)
    directory = directory_to_record(memory, name, by_id=given is not None)
    reader = _reader(directory, alone=alone)
    if alone:  # several sources: this one fails later, and the others are recorded
        require_no_recorder(directory)
    stored = reader.spec if reader else None
    if stored and arguments.tokens not in (None, stored.tokens.storage):
        raise UsageError(
            f"camera '{directory.name}' keeps its tokens as {stored.tokens.storage}, not {arguments.tokens}; leave out --tokens, or "
            f"change them first: afterview reembed --model {stored.model} --tokens {arguments.tokens}"
        )
    fps = 1.0 if arguments.fps is None else sampling_rate(arguments.fps)
    if reader is not None and reader.info.fps != fps:
        if arguments.fps is not None:
            raise UsageError(
                f"camera '{directory.name}' keeps {reader.info.fps:g} frames per second, not {fps:g}; leave out --fps, or use "
                f"--fps {reader.info.fps:g}"
            )
        fps = reader.info.fps
    if reader is not None and arguments.image_size is not None:
        _note_other_size(directory, arguments.image_size)
    zone = _timezone(arguments.timezone, reader)
    config = _config(arguments, address, fps, zone, stream)
    if archive is None:
        return PlannedCamera(name, directory, config, stored, acks)
    if reader is not None and config.start is not None and archive.found is None:
        _require_later(config.start, reader)
    info = reader.info if reader else CameraInfo(directory.name, name, fps, zone)
    plan = plan_archive(archive, arguments, reader, info, config.start, config.source)
    return PlannedCamera(name, directory, replace(config, files=plan.files), stored, acks, plan)


def _timezone(given: str | None, reader: CameraReader | None) -> str:
    """The zone of the camera to record into: its own, or that of a new camera. Raises UsageError."""
    if given is not None:
        find_zone(given)
    if reader is None:
        return local_timezone() if given is None else given
    if given not in (None, reader.info.timezone):
        raise UsageError(
            f"camera '{reader.info.id}' has the time zone {reader.info.timezone}, which cannot change; leave out --timezone"
        )
    return reader.info.timezone


def _note_other_size(directory: Path, image_size: int) -> None:
    kept = read_settings(directory).image_size or DEFAULT_IMAGE_SIZE
    if kept != image_size:
        _LOGGER.info(
            "note: from now on images of camera '%s' have %d lines at most, not %d", directory.name, image_size, kept
        )


def _reader(directory: Path, *, alone: bool) -> CameraReader | None:
    """Of a camera that exists. One of several that cannot be read fails when it is opened, and does not keep the others from recording."""
    try:
        return CameraReader(directory)
    except MemoryNotFound:
        return None
    except RepositoryError:
        if alone:
            raise
        return None


def _require_different(addresses: Sequence[SourceAddress]) -> None:
    known = set()
    for address in addresses:
        if (place := _place(address)) in known:
            raise UsageError(f"{address.redacted}: is given twice; record each source once")
        known.add(place)


def _place(address: SourceAddress) -> str:
    """Equal for two spellings of one source."""
    if address.kind == "device":
        return os.path.realpath(address.url)
    if address.kind in ("file", "pattern"):
        return address.url
    parts = urlsplit(address.url)
    return parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()


def _require_one_source_each(cameras: Sequence[PlannedCamera], *, given: bool) -> None:
    known: dict[Path, PlannedCamera] = {}
    for camera in cameras:
        other = known.setdefault(camera.directory, camera)
        if other is not camera:
            remedy = (
                "give each source a camera of its own"
                if given
                else "give every source a name: --camera NAME, in their order"
            )
            names = f"'{other.name}'" if other.name == camera.name else f"'{other.name}' and '{camera.name}'"
            raise UsageError(
                f"{other.config.address} and {camera.config.address} would both record into camera '{camera.id}' (from the "
                f"{'name' if other.name == camera.name else 'names'} {names}); {remedy}"
            )


def _warn_of_passwords(sources: Sequence[str]) -> None:
    if any(shows_password(without_variables(source)) for source in sources):
        _LOGGER.warning(
            "note: `ps` shows a password in an address to every user of this machine; put it into a variable: "
            "export AFTERVIEW_PASSWORD=..., and write rtsp://user:{AFTERVIEW_PASSWORD}@host/path"
        )


def _config(
    arguments: argparse.Namespace, address: SourceAddress, fps: float, zone: str, stream: int | None
) -> IngestConfig:
    sync_every_s, image_size = sync_interval(arguments.sync_every), _image_size(arguments.image_size)
    reuse_bound = _reuse_bound(arguments.reuse_features)
    require_decoder(arguments.decode)
    if arguments.live:
        source = SourceConfig(
            open_timeout_s=timeout("--open-timeout", arguments.open_timeout),
            read_timeout_s=timeout("--read-timeout", arguments.read_timeout),
            first_picture_timeout_s=timeout("--first-picture-timeout", arguments.first_picture_timeout),
            rtsp_transport=_transport(arguments, address),
            decode=arguments.decode,
            stream=stream,
        )
        return IngestConfig(
            address, fps=fps, live=True, keep_trying=arguments.keep_trying, source=source, sync_every_s=sync_every_s,
            image_size=image_size, reuse_bound=reuse_bound,
        )  # fmt: skip
    now, start = time.time(), None
    if arguments.start:
        start = _require_start(arguments.start, parse_time(arguments.start, timezone=zone, now=now), now)
    speed = _speed(arguments.speed)
    return IngestConfig(
        address, fps=fps, live=False, speed=speed, start=start, sync_every_s=sync_every_s, image_size=image_size,
        reuse_bound=reuse_bound, source=SourceConfig(stream=stream, decode=arguments.decode),
    )  # fmt: skip


def _reuse_bound(bound: float | None) -> float | None:
    """Check --reuse-features, grey levels."""
    if bound is not None and not 0 <= bound <= LARGEST_BOUND:
        raise UsageError(
            f"--reuse-features {bound:g}: give how far pictures may differ, 0 to {LARGEST_BOUND:g} grey levels of 255"
        )
    return bound


def _transport(arguments: argparse.Namespace, address: SourceAddress) -> Transport:
    """Of RTSP. Raises UsageError for --transport or --udp with another kind of address."""
    given: Transport | None = arguments.transport
    option = "--udp" if given is None and arguments.udp else "--transport"
    if arguments.udp and given not in (None, "udp"):
        raise UsageError(f"--udp and --transport {given} contradict each other; give one of them")
    given = "udp" if arguments.udp else given
    if given is not None and address.kind != "rtsp":
        raise UsageError(f"{option}: is for rtsp:// only, not for {address.redacted}")
    return given or "tcp"


def _image_size(pixels: int | None) -> int | None:
    if pixels is not None and not 1 <= pixels <= LARGEST_IMAGE:
        raise UsageError(f"--image-size {pixels}: must be between 1 and {LARGEST_IMAGE} pixels")
    return pixels


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


def _require_start(text: str, moment: float, now: float) -> float:
    """Check --start. Raises UsageError for a time in the future: the camera could record nothing until then."""
    if moment > now + DAY_S:
        raise UsageError(f"--start {text}: lies in the future; give the time at which the recording began")
    return moment


def _require_later(start: float, reader: CameraReader) -> None:
    """Raise UsageError for a recording that starts before the camera's newest frame."""
    newest, info = newest_frame([reader]), reader.info
    if start < newest:
        raise UsageError(
            f"--start lies at {info.show(start)}, before the newest frame of camera '{info.id}' ({info.show(newest)}); give a later "
            "--start or another --camera"
        )
