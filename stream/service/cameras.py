"""From a camera's configuration to what ingest is given. Opens nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from afterview.configs import UsageError
from afterview.memory.base.camera_names import directory_to_record
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.service.config import CameraConfig
from afterview.stream.source.address.address import SourceAddress, parse_source
from afterview.stream.source.address.redact import hide_values, redact, redact_address
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.decoding.hardware import require_decoder

_TEST_PICTURE = re.compile(r"lavfi:(testsrc2?|smptebars|smptehdbars|rgbtestsrc|color|mandelbrot)(=[\w=:.]*)?", re.ASCII)


@dataclass(frozen=True)
class PlannedCamera:
    """A camera to record. id: that of its directory. shown: its address without secrets."""

    id: str
    name: str
    shown: str
    zone: str | None
    ingest: IngestConfig


def plan_camera(
    memory: Path, name: str, camera: CameraConfig, zone: str | None, environment: Mapping[str, str]
) -> PlannedCamera:
    """Raises UsageError, BadUrl and others for a source that cannot be recorded, NameTaken, and what reading the camera raises."""
    address = live_address(camera, environment)
    require_decoder(camera.decode)
    directory = directory_to_record(memory, name)
    try:
        reader: CameraReader | None = CameraReader(directory)
    except MemoryNotFound:
        reader = None
    fps = camera.fps or (reader.info.fps if reader else 1.0)
    if reader is not None and reader.info.fps != fps:
        raise UsageError(
            f"camera '{directory.name}' keeps {reader.info.fps:g} frames per second, not {fps:g}; leave out fps"
        )
    if reader is not None and camera.zone not in (None, reader.info.timezone):
        raise UsageError(
            f"camera '{directory.name}' has the time zone {reader.info.timezone}, which cannot change; leave out zone"
        )
    source = SourceConfig(
        rtsp_transport=camera.transport if address.kind == "rtsp" else "tcp", decode=camera.decode, stream=camera.stream
    )
    ingest = IngestConfig(
        address, fps=fps, live=True, keep_trying=True, image_size=camera.image_size, source=source,
        reuse_bound=camera.reuse_features,
    )  # fmt: skip
    return PlannedCamera(directory.name, name, address.redacted, camera.zone or zone, ingest)


def require_literal(camera: CameraConfig) -> None:
    """Raise UsageError for a source with variables that comes by the API: whoever may add a camera must not learn this machine's secrets
    by sending them to a server of theirs. hide_values: a password that comes this way is hidden in the log, too."""
    if "{AFTERVIEW_" in camera.source:
        raise UsageError(
            "source: {AFTERVIEW_...} is filled in the configuration file only; give the address itself (it is stored in a file that only "
            "the service's user can read, and never shown)"
        )
    if camera.source.lower().startswith("lavfi:") and not _TEST_PICTURE.fullmatch(camera.source):
        raise UsageError(
            "source: of lavfi only plain test pictures come by the API, such as lavfi:testsrc2=size=640x360:rate=5; a filter graph could "
            "read files of this machine: write it into the configuration file"
        )
    _, separator, rest = camera.source.partition("://")
    user, at, _ = rest.rpartition("@")
    if separator and at:
        hide_values([user.partition(":")[2], user])


def live_address(camera: CameraConfig, environment: Mapping[str, str]) -> SourceAddress:
    """Where a camera is. Raises BadUrl, SourceNotFound, and UsageError for a file."""
    address = parse_source(camera.source, environment)
    if not address.live:
        raise UsageError(f"{address.redacted}: is a file; the service records live sources, `afterview replay` files")
    return address


def shown_source(camera: CameraConfig) -> str:
    """The address for people and programs, without secrets."""
    return redact(redact_address(camera.source))
