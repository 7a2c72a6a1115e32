"""Times and durations as people write them."""

import pytest

from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, parse_time, spell_duration

NOON = 1_763_636_400.0  # 2025-11-20 12:00 in Paris (11:00 UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000.5", 1_700_000_000.5),
        ("now", NOON),
        ("2025-11-20T12:00:00", NOON),
        ("2025-11-20 11:00Z", NOON),
        ("2025-11-20T13:00:00+02:00", NOON),
        ("12:00", NOON),
        ("11:59:30", NOON - 30),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert parse_time(text, timezone="Europe/Paris", now=NOON) == expected


@pytest.mark.parametrize("text", ["yesterday", "25:00", "2025-13-01", ""])
def test_nonsense_times_name_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match="write 2026"):
        parse_time(text, timezone="UTC", now=NOON)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800)]
)
def test_durations(text: str, expected: float) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "2 hours", "h", "-5m"])
def test_nonsense_durations(text: str) -> None:
    with pytest.raises(UsageError, match="write 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.2, "4.2 s"), (42, "42 s"), (570, "9 min 30 s"), (11100, "3 h 05 min"), (187200, "2 d 4 h")]
)
def test_spelling(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text


@pytest.mark.parametrize("text", ["9999-12-31T23:59", "0001-01-01", "99999999999999999"])
def test_times_that_no_calendar_shows(text: str) -> None:
    with pytest.raises(UsageError, match="1000 to 9998"):
        parse_time(text, timezone="Asia/Kathmandu", now=NOON)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../../etc/passwd", "/etc/passwd"])
def test_unknown_zones(zone: str) -> None:
    with pytest.raises(UsageError, match="unknown time zone"):
        parse_time("12:00", timezone=zone, now=NOON)


def test_durations_longer_than_any_recording() -> None:
    assert parse_duration("1000w") == 1000 * 604800
    with pytest.raises(UsageError, match="hundred years"):
        parse_duration("99999999999w")
