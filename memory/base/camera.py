"""The description of one camera: `camera.json`, its id, its directory."""

import logging
import math
import os
import re
import time
import unicodedata
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from afterview.configs import UsageError
from afterview.memory.base.documents import FORMAT_VERSION, read_json, require_format, write_json
from afterview.memory.base.errors import DamagedMemory, RepositoryError

# Unix seconds: years 1 to 9999 without the first and the last days, which some zones do not have.
_FIRST_DAY, _LAST_DAY = -62_135_510_400.0, 253_402_214_399.0
LONGEST_ID = 120  # bytes; a file name has at most 255
_LOCALTIME, _TIMEZONE = Path("/etc/localtime"), Path("/etc/timezone")
SETTINGS = "settings.json"  # a camera's, and a memory's: memory.base.settings
ANSWERS = "answers"  # a memory's directory for evidence frames; no camera may have this id

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraInfo:
    """Fixed when the camera is created. `fps` is frames kept per second; `random_constant` seeds every random choice."""

    id: str
    name: str
    fps: float = 1.0
    timezone: str = "UTC"
    random_constant: int = 0  # the same for every camera by default, so that a replay chooses as live recording did
    created: float = 0.0

    def local(self, seconds: float) -> datetime:
        """A Unix time in this camera's zone. Times outside the calendar, from damaged sources, become its first or last day."""
        return datetime.fromtimestamp(min(max(seconds, _FIRST_DAY), _LAST_DAY), _zone(self.timezone))

    def show(self, seconds: float) -> str:
        """A Unix time for people, with this camera's zone, which distinguishes the hour that is repeated in autumn."""
        return f"{self.local(seconds):%Y-%m-%d %H:%M:%S %Z}"

    def iso(self, seconds: float) -> str:
        """The same for programs: ISO 8601 with the offset from UTC, in whole milliseconds. `--at` with it finds the frame of that time."""
        return self._up_to_ms(seconds).isoformat(timespec="milliseconds")

    def show_exact(self, seconds: float) -> str:
        """`show` to the millisecond where it is not a whole second: `show --at` finds the frame by it."""
        local = self._up_to_ms(seconds)
        part = f".{local.microsecond // 1000:03d}" if local.microsecond else ""
        return f"{local:%Y-%m-%d %H:%M:%S}{part} {local:%Z}"

    def _up_to_ms(self, seconds: float) -> datetime:
        """The first whole millisecond that is not before a time: what is cut off would name a moment before the frame."""
        return self.local(math.ceil(round(seconds * 1000, 3)) / 1000 if math.isfinite(seconds) else seconds)

    def show_clock(self, seconds: float) -> str:
        """The same without the date, for live messages."""
        return f"{self.local(seconds):%H:%M:%S %Z}"


def camera_id(name: str) -> str:
    """The directory name for a camera's display name: 'Front door' -> 'front-door', 'Übergang 2' -> 'übergang-2'.

    Letters and digits of any script stay, so that names without ASCII letters get different ids. Several names can lead to one id:
    memory.base.camera_names decides whose it is. Raises UsageError when no letter or digit is left, or when the id is `answers`, where a
    memory keeps the evidence of its answers.
    """
    slug = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFKC", name).casefold()).strip("-")
    slug = slug.encode()[:LONGEST_ID].decode(errors="ignore").strip("-")
    if not slug:
        raise UsageError(f"camera name {name!r}: use letters or digits")
    if slug == ANSWERS:
        raise UsageError(
            f"camera name {name!r}: a memory keeps the evidence of its answers under that name; use another name"
        )
    return slug


def local_timezone() -> str:
    """The IANA name of this machine's zone: of the variable TZ if it is set, else of /etc/localtime, else UTC.

    Raises UsageError for a TZ that is no IANA name (such as CET-1CEST or UTC+3), because a camera keeps the name of its zone.
    """
    variable = os.environ.get("TZ")
    if variable is not None:
        return _zone_of_variable(variable)
    try:
        target = str(_LOCALTIME.resolve(strict=True))
    except OSError:
        return "UTC"  # as the C library does
    name = target.split("zoneinfo/", 1)[-1]
    if name == target:  # a copy, whose name is lost
        try:
            name = _TIMEZONE.read_text().strip()
        except OSError:
            name = ""
    if _is_zone(name):
        return name
    _LOGGER.warning(
        "note: the time zone of this machine has no name; UTC is used. TZ=Europe/Paris or --timezone names it"
    )
    return "UTC"


def _zone_of_variable(variable: str) -> str:
    name = variable.removeprefix(":").split("zoneinfo/", 1)[-1]
    if not name or re.fullmatch(r"(UTC|GMT)[+-]?0+", name):
        return "UTC"
    if not _is_zone(name):
        raise UsageError(
            f"TZ={variable!r} is no IANA time zone; set TZ to a name such as Europe/Paris, or give the camera's zone with --timezone"
        )
    return name


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return False
    return True


def new_camera(name: str, *, fps: float, timezone: str | None = None, random_constant: int = 0) -> CameraInfo:
    """Describe a camera that does not exist yet."""
    zone = timezone or local_timezone()
    _zone(zone)
    return CameraInfo(camera_id(name), name, fps, zone, random_constant, creation_time())


def creation_time() -> float:
    """The present Unix time, rounded to microseconds.

    A double does not hold finer digits for certain, so a digit that was flipped on disk could otherwise read as the same time.
    """
    return round(time.time(), 6)


def read_camera(directory: Path) -> CameraInfo:
    """Read `camera.json`. Raises FormatMismatch, MemoryNotFound, DamagedMemory or Unreadable.

    The id is the name of the directory, so a directory that was copied or renamed is a camera of its own.
    """
    path = directory / "camera.json"
    values = read_json(path, missing=f"{directory}: not a camera of a memory")
    try:
        require_format(values.pop("format"), where=path)
        info = CameraInfo(**values)
        if not all(isinstance(text, str) for text in (info.id, info.name, info.timezone)):
            raise TypeError("no text")
        if not (info.fps > 0 and math.isfinite(info.fps + info.created + info.random_constant)):
            raise TypeError("no number")
    except (KeyError, TypeError, OverflowError):
        raise DamagedMemory(f"{path}: does not describe a camera; `afterview fsck --repair` rebuilds it") from None
    try:
        _zone(info.timezone)
    except UsageError:
        raise RepositoryError(
            f"{path}: names the time zone '{info.timezone}', which this machine does not know; update its time zones (tzdata)"
        ) from None
    return replace(info, id=directory.name or info.id)


def write_camera(directory: Path, info: CameraInfo) -> None:
    """Write `camera.json`, durably."""
    write_json(directory / "camera.json", {"format": FORMAT_VERSION, **asdict(info)})


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(f"unknown time zone '{name}'; use an IANA name such as Europe/Paris") from None
