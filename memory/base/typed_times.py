"""Times and durations as people type and read them, and as programs give them."""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from datetime import time as clock_time
from numbers import Real
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from afterview.configs import UsageError

# Patterns are compiled on first use: `info` reads no times.
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNIT = r"(s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|w|weeks?)"
_PART = rf"(\d+(?:\.\d+)?) ?{_UNIT}(?![a-z])"
_DURATION = rf"{_PART}(?:(?:,? and |, ?| )?{_PART})*"
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY = "|".join(["today", "yesterday", *(f"{day[:3]}(?:{day[3:]})?" for day in _WEEKDAYS)])
_CLOCK = r"(?P<clock>\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(?P<offset>z|[+-]\d\d:\d\d)?"
_DAY_AND_CLOCK = rf"(?P<day>{_DAY})|(?:(?P<day_before>{_DAY}) (?:at )?)?{_CLOCK}"
_NUMBER = r"(@?)(-?\d+)(\.\d+)?"
_EARLIEST, _LATEST = (
    -30_610_224_000.0,
    253_370_764_800.0,
)  # the years 1000 to 9998: a calendar can show all of these times
_BEYOND = "{} lies beyond the years 1000 to 9998; Unix seconds of the present have ten digits"
LONGEST = 100 * 365.25 * 86400.0  # seconds; longer than any recording
_MOST_QUOTED = 60  # characters of a wrong text that its error repeats
TIME_FORMS = (
    '2026-11-20T14:03:00, 2026-11-20, 14:03, "yesterday 14:00", "monday 14:00", "10 minutes ago", now, or Unix seconds'
)
DURATION_FORMS = '90s, 15m, 2h, 1h30m or "10 minutes"'


Time = (
    float | datetime | str
)  # Unix seconds; a datetime (without tzinfo: in the camera's zone); a text for `parse_time`
Duration = float | timedelta | str  # seconds; a timedelta; a text for `parse_duration`


def find_zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises UsageError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"unknown time zone '{name}'; use an IANA name such as Europe/Paris") from None


def parse_time(text: str, *, timezone: str, now: float) -> float:
    """Unix seconds of a time that a person typed. docs/commands.md has the table of the forms. Pure.

    timezone: IANA name of the zone in which a time without an offset is read. now: Unix seconds.
    Nothing is guessed: an hour that the zone's clocks repeat or skip, and a number that may be a year, raise UsageError with what to write.
    """
    zone = find_zone(timezone)
    try:
        return _shown(text, _moment(text, " ".join(text.split()), zone, now))
    except (ValueError, OverflowError):
        raise UsageError(f"{quoted(text)} is not a time; write {TIME_FORMS}") from None


def unix_seconds(value: object, *, timezone: str, now: float) -> float:
    """Unix seconds of a `Time`. timezone, now: as for `parse_time`. Raises UsageError that names the forms, also for other types."""
    if isinstance(value, str):
        return parse_time(value, timezone=timezone, now=now)
    text = str(value)
    if isinstance(value, datetime):
        try:
            aware = value.tzinfo is not None
            return _shown(text, value.timestamp() if aware else _unix(text, value, find_zone(timezone)))
        except (ValueError, OverflowError):
            raise UsageError(_BEYOND.format(quoted(text))) from None
    if not _is_number(value):
        raise UsageError(f"{quoted(repr(value))} is not a time; give Unix seconds, a datetime, or a text: {TIME_FORMS}")
    return float(_shown(text, value))


def seconds_of(value: object) -> float:
    """Seconds of a `Duration`. Raises UsageError that names the forms, also for other types."""
    if isinstance(value, str):
        return parse_duration(value)
    seconds: Any = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_number(seconds) or seconds != seconds:
        raise UsageError(
            f"{quoted(repr(value))} is not a duration; give seconds, a timedelta, or a text: {DURATION_FORMS}"
        )
    if not -LONGEST <= seconds <= LONGEST:
        raise UsageError(f"{quoted(repr(value))} is longer than a hundred years")
    return float(seconds)


def agreed_time(value: object, zones: Iterable[str], *, now: float) -> float:
    """Unix seconds of a `Time` for cameras in several zones. Raises UsageError where they disagree about what it means."""
    moments = {zone: unix_seconds(value, timezone=zone, now=now) for zone in sorted(set(zones))}
    if len(set(moments.values())) > 1:
        raise UsageError(
            f"{quoted(str(value))} means different moments in the cameras' zones ({', '.join(moments)}); add an offset, such as +01:00"
        )
    return next(iter(moments.values()))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(text: str, moment: Any) -> Any:
    """A time that a calendar can show. Raises UsageError for any other, also for nan."""
    if not _EARLIEST <= moment <= _LATEST:
        raise UsageError(_BEYOND.format(quoted(text)))
    return moment


def _moment(text: str, plain: str, zone: tzinfo, now: float) -> float:
    """Raises ValueError for a text of no known form."""
    words = plain.lower()
    if words == "now":
        return now
    if number := re.fullmatch(_NUMBER, words, re.ASCII):
        return _unix_seconds(text, *number.groups())
    if ago := re.fullmatch(r"(.+) ago", words):
        return now - _seconds(re.sub(r"^an? ", "1 ", ago[1]))
    if named := re.fullmatch(_DAY_AND_CLOCK, words, re.ASCII):
        if named["offset"]:
            zone = datetime.fromisoformat(f"2000-01-01T00:00{named['offset'].upper()}").tzinfo or zone
        clock = _clock(named["clock"]) if named["clock"] else None
        day = _day(named["day"] or named["day_before"] or "today", clock, datetime.fromtimestamp(now, zone))
        return _start_of(text, day, zone) if clock is None else _unix(text, datetime.combine(day, clock), zone)
    try:
        return _start_of(text, date.fromisoformat(plain), zone)
    except ValueError:
        moment = datetime.fromisoformat(plain)
        return moment.timestamp() if moment.tzinfo else _unix(text, moment, zone)


def _unix_seconds(text: str, sign: str, whole: str, fraction: str | None) -> float:
    if sign or re.fullmatch(r"\d{9,10}", whole):  # the years 1973 to 2286 need no @
        return float(whole + (fraction or ""))
    if len(whole) > 10:
        raise UsageError(
            f"{quoted(text)} is too large for Unix seconds; leave out the digits of milliseconds, or write 2026-11-20T14:03:00"
        )
    raise UsageError(
        f"{quoted(text)} is not clear: a year, a date, or Unix seconds? write 2026-11-20 or 2026-11-20T14:03:00, "
        f"or @{whole}{fraction or ''} for Unix seconds"
    )


def _clock(text: str) -> clock_time:
    hour, rest = text.split(":", 1)
    return clock_time.fromisoformat(f"{hour:0>2}:{rest}")


def _day(name: str, clock: clock_time | None, now: datetime) -> date:
    """The day of that name; a weekday is the last one on which the clock time is not in the future."""
    if name in ("today", "yesterday"):
        return now.date() - timedelta(days=name == "yesterday")
    weekday = next(number for number, full in enumerate(_WEEKDAYS) if full.startswith(name))
    back = (now.weekday() - weekday) % 7
    if back == 0 and clock is not None and clock > now.time():
        back = 7
    return now.date() - timedelta(days=back)


def _start_of(text: str, day: date, zone: tzinfo) -> float:
    """The first moment of a day: where the clocks skip midnight, the day begins later."""
    moment = datetime.combine(day, clock_time(), zone).timestamp()
    if datetime.fromtimestamp(moment, zone).date() != day:
        raise UsageError(f"{quoted(text)}: {day} does not exist in {zone}, whose calendar left it out")
    return moment


def _unix(text: str, wall: datetime, zone: tzinfo) -> float:
    """Unix seconds of a time that a clock on the wall shows. Raises UsageError where the zone's clocks show it twice, or never."""
    early, late = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    change = (late.utcoffset() or timedelta()) - (early.utcoffset() or timedelta())
    if not change:
        return early.timestamp()
    if change < timedelta():
        why, ways = f"comes twice in {zone}, because the clocks were put back", [early, late]
    else:
        why = f"does not exist in {zone}, because the clocks were put forward"
        ways = [datetime.fromtimestamp(moment.timestamp(), zone) for moment in (late, early)]
    raise UsageError(f"{quoted(text)} {why}; write {ways[0].isoformat()} or {ways[1].isoformat()}")


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `2h`, `1h30m`, `3d`, `10 minutes`, `1 hour 30 min`. Raises UsageError."""
    plain = " ".join(text.lower().split())
    try:
        seconds = float(plain) if re.fullmatch(r"\d+(\.\d+)?", plain, re.ASCII) else _seconds(plain)
    except ValueError:
        raise UsageError(f"{quoted(text)} is not a duration; write {DURATION_FORMS}") from None
    if seconds > LONGEST:
        raise UsageError(f"{quoted(text)} is longer than a hundred years")
    return seconds


def _seconds(plain: str) -> float:
    """Raises ValueError for a text that is not numbers with units."""
    if not re.fullmatch(_DURATION, plain, re.ASCII):
        raise ValueError
    return sum(float(number) * _UNITS[unit[0]] for number, unit in re.findall(_PART, plain, re.ASCII))


def quoted(text: str) -> str:
    """A wrong text for its error: shortened, in quotes, and without control characters."""
    short = text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."
    return f"'{short}'" if short.isprintable() else repr(short)


def spell_duration(seconds: float) -> str:
    """`42 s`, `9 min 30 s`, `3 h 05 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
