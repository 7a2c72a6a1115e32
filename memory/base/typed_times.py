"""Times and durations as people type and read them."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from afterview.configs import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_EARLIEST, _LATEST = (
    -30_610_224_000.0,
    253_370_764_800.0,
)  # the years 1000 to 9998: a calendar can show all of these times
LONGEST = 100 * 365.25 * 86400.0  # seconds; longer than any recording


def find_zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises UsageError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"unknown time zone '{name}'; use an IANA name such as Europe/Paris") from None


def parse_time(text: str, *, timezone: str, now: float) -> float:
    """Unix seconds of `1700000000.5`, `2026-11-20T14:03:00+01:00`, `2026-11-20 14:03` (in `timezone`), `14:03` (today) or `now`."""
    moment = _moment(text, text.strip(), find_zone(timezone), now)
    if not _EARLIEST <= moment <= _LATEST:
        raise UsageError(f"'{text}' lies beyond the years 1000 to 9998")
    return moment


def _moment(text: str, plain: str, zone: ZoneInfo, now: float) -> float:
    if plain == "now":
        return now
    if re.fullmatch(r"\d{6,}(\.\d+)?", plain):
        return float(plain)
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", plain)
    try:
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            return (
                datetime.fromtimestamp(now, zone)
                .replace(hour=hour, minute=minute, second=second, microsecond=0)
                .timestamp()
            )
        moment = datetime.fromisoformat(plain)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"'{text}' is not a time; write 2026-11-20T14:03:00, 14:03, now, or Unix seconds") from None


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `15m`, `2h`, `1h30m`, `3d`. Raises UsageError."""
    seconds = _seconds(text, text.strip().lower())
    if seconds > LONGEST:
        raise UsageError(f"'{text}' is longer than a hundred years")
    return seconds


def _seconds(text: str, plain: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", plain):
        return float(plain)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhdw])+", plain):
        raise UsageError(f"'{text}' is not a duration; write 90s, 15m, 2h or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)([smhdw])", plain))


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
