"""The date and time that a recorder wrote into the name or the path of a file. Pure: looks at no file.

A name's time is local time of the camera, unless the recorder is known to write UTC or the name states an offset. Names without a time
of day give no date, and nor do numbers that may be counters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_YEAR, _MONTH, _DAY = r"(?P<year>(?:19|20)\d\d)", r"(?P<month>0[1-9]|1[0-2])", r"(?P<day>0[1-9]|[12]\d|3[01])"
_DATE = rf"{_YEAR}(?P<dash>[-_.]?){_MONTH}(?P=dash){_DAY}"
_HOUR, _MINUTE, _SECOND = r"(?P<hour>[01]\d|2[0-3])", r"(?P<minute>[0-5]\d)", r"(?P<second>[0-5]\d)"
_CLOCK = rf"{_HOUR}(?P<colon>[-_.:]){_MINUTE}(?P=colon){_SECOND}"
_ANY_CLOCK = rf"{_HOUR}(?P<colon>[-_.:]?){_MINUTE}(?P=colon){_SECOND}"
_FRACTION = r"(?:[.,]?(?P<fraction>\d{3}|\d{6})(?!\d))?"
_MICROS = r"-(?P<fraction>\d{6})(?!\d)"
_HALVES = rf"(?P<hour>1[0-2]|0?[1-9])(?P<colon>[-_.:]?){_MINUTE}(?P=colon){_SECOND}[ \u202f_-]?(?P<half>[AaPp])[Mm](?![A-Za-z])"
_GMT = r"(?: (?:GMT|UTC)(?P<gmt>[+-](?:0?\d|1[0-4])(?!\d)))?"
_OFFSET = r"(?P<offset>Z(?![A-Za-z])|[+-](?:0\d|1[0-4]):?[0-5]\d(?![\d.:]))?"
_JOINED = r"(?: at |_at_|, | |T|_|-|\.|@|--|__|_-_|)"
_FOLDER_DATE = rf"^(?:.*/)?(?:{_DATE}|{_YEAR}/{_MONTH}/{_DAY}|{_YEAR}-{_MONTH}/{_DAY})/"

_UTC_NAMES = re.compile(r"(?:^|/)PXL_[^/]*$")  # Google's camera application
_EARLIEST = datetime(1990, 1, 1)
_UNIX = re.compile(r"(?<![\d.])(?P<unix>1\d{9})(?P<rest>\d{3}|\.\d{1,6})?(?!\d)")


def _compiled(pattern: str) -> re.Pattern[str]:
    """Groups that stand for the same part several times get numbers."""
    count = iter(range(1000))
    return re.compile(re.sub(r"\(\?P<(year|month|day)>", lambda group: f"(?P<{group[1]}{next(count)}>", pattern))


@dataclass(frozen=True)
class _Form:
    """How one kind of recorder names its files. utc: it writes UTC."""

    pattern: re.Pattern[str]
    utc: bool = False


_FORMS = (
    # Frigate: 2024-05-01/13/front/05.12.mp4, since version 0.12 in UTC; before, 2024-05/01/13/front/05.12.mp4 in local time
    _Form(_compiled(rf"(?:^|/)(?P<year>20\d\d)-{_MONTH}-{_DAY}/{_HOUR}/(?P<camera>[^/]+)/{_MINUTE}\.{_SECOND}$"), utc=True),
    _Form(_compiled(rf"(?:^|/)(?P<year>20\d\d)-{_MONTH}/{_DAY}/{_HOUR}/(?P<camera>[^/]+)/{_MINUTE}\.{_SECOND}$")),
    # twelve hours: Screen Recording 2024-05-01 at 1.05.12 PM; UniFi Protect: Front Door 5-1-2024, 1.05.12 PM GMT+2
    _Form(_compiled(rf"(?<!\d){_DATE}{_JOINED}{_HALVES}[^/]*$")),
    _Form(_compiled(rf"(?<!\d)(?P<month>1[0-2]|0?[1-9])-(?P<day>[12]\d|3[01]|0?[1-9])-{_YEAR},? {_HALVES}{_GMT}[^/]*$")),
    # MediaMTX: 2024-05-01_13-05-12-123456
    _Form(_compiled(rf"(?<!\d){_DATE}{_JOINED}{_CLOCK}{_MICROS}[^/]*$")),
    # date and time in the name: 2024-05-01_13-05-12, front.20240501_130512, 20240501T130512Z, ch1_20240501130512_20240501131512
    _Form(_compiled(rf"(?<!\d){_DATE}{_JOINED}{_ANY_CLOCK}{_FRACTION}{_OFFSET}(?!\d)[^/]*$")),
    _Form(_compiled(rf"(?<!\d){_DATE}{_JOINED}{_HOUR}h{_MINUTE}m{_SECOND}(?!\d)[^/]*$")),
    # Yi and Xiaomi: 2024Y05M01D13H/05M12S
    _Form(_compiled(rf"(?:^|/){_YEAR}Y{_MONTH}M{_DAY}D{_HOUR}H/[^/]*?{_MINUTE}M{_SECOND}S[^/]*$")),
    # a folder of the day, then the time: 2024-05-01/13-05-12, 2024/05/01/dav/13/13.05.12-13.05.42[M][0@0][0], 20240501/130512
    _Form(_compiled(rf"{_FOLDER_DATE}(?:[^/]+/)*(?:[^/]*?[^\d/.:])??{_CLOCK}(?!\d)[^/]*$")),
    _Form(_compiled(rf"{_FOLDER_DATE}(?:[^/]+/)*{_HOUR}(?P<colon>){_MINUTE}{_SECOND}(?:-\d{{6}})?$")),
    # folders of the day and the hour, then minute and second: 2024-05-01/001/jpg/13/05/12[M][0@0][0], 20240501/13/05.12
    _Form(_compiled(rf"{_FOLDER_DATE}(?:[^/]+/)*{_HOUR}/{_MINUTE}[/.\-]{_SECOND}(?!\d)[^/]*$")),
    # Wyze: 20240501/13/05 (a file for each minute)
    _Form(_compiled(rf"{_FOLDER_DATE}(?:[^/]+/)*{_HOUR}/{_MINUTE}$")),
)  # fmt: skip


@dataclass(frozen=True)
class NamedTime:
    """What a name states. wall: as a clock on the wall shows it. zone: None: the camera's. camera: that the path names, else empty."""

    wall: datetime
    zone: tzinfo | None = None
    camera: str = ""

    def unix(self, camera_zone: tzinfo) -> tuple[float, ...]:
        """Unix seconds: one; two, the earlier first, where the zone's clocks show this time twice, or never."""
        if self.zone is not None:
            return (self.wall.replace(tzinfo=self.zone).timestamp(),)
        ways = {self.wall.replace(tzinfo=camera_zone, fold=fold).timestamp() for fold in (0, 1)}
        return tuple(sorted(ways))


def time_in_name(path: str) -> NamedTime | None:
    """The time at which a recording began, or a picture was taken, by its path; None if there is none. The suffix may be left out."""
    plain = re.sub(r"\.[A-Za-z][A-Za-z0-9]{0,5}$", "", path.replace("\\", "/"))
    for form in _FORMS:
        for match in form.pattern.finditer(plain):
            if (named := _named(match, utc=form.utc or _UTC_NAMES.search(plain) is not None)) is not None:
                return named
    for match in _UNIX.finditer(plain, plain.rfind("/") + 1):
        rest = match["rest"] or ""
        seconds = float(match["unix"]) + float(rest if rest.startswith(".") else f".{rest or 0}")
        return NamedTime(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None), UTC)
    return None


def _named(match: re.Match[str], *, utc: bool) -> NamedTime | None:
    parts = {name.rstrip("0123456789"): text for name, text in match.groupdict().items() if text is not None}
    try:
        year, month, day, hour, minute, second = (
            int(parts.get(name, 0)) for name in ("year", "month", "day", "hour", "minute", "second")
        )
        if "half" in parts:
            hour = hour % 12 + 12 * (parts["half"] in "Pp")
        wall = datetime(year, month, day, hour, minute, second)
    except ValueError:  # the 31st of a short month
        return None
    wall += timedelta(seconds=float(f"0.{parts.get('fraction', 0)}"))
    zone = _zone(parts["offset"]) if "offset" in parts else UTC if utc else None
    if "gmt" in parts:
        zone = timezone(timedelta(hours=int(parts["gmt"])))
    return None if wall < _EARLIEST else NamedTime(wall, zone, parts.get("camera", ""))


def _zone(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts names as people do: `clip 9` before `clip 10`."""
    return tuple(_natural_parts(text))


def _natural_parts(text: str) -> Iterator[tuple[int, int | str]]:
    for part in re.split(r"(\d+)", text, flags=re.ASCII):
        if part:
            yield (0, int(part)) if part.isascii() and part.isdigit() else (1, part.casefold())
