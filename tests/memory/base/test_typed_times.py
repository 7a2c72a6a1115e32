"""Times and durations as people write them."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, parse_time, spell_duration

NOON = 1_763_636_400.0  # Thursday 2025-11-20 12:00 in Paris (11:00 UTC)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Cairo",
    "America/Havana",
]
CLOCKS = [1_700_000_000, 2_100_000_000]  # Unix seconds between which the properties are tried


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000.5", 1_700_000_000.5),
        ("@3000", 3000.0),
        ("now", NOON),
        (" NOW ", NOON),
        ("2025-11-20T12:00:00", NOON),
        ("2025-11-20 11:00Z", NOON),
        ("2025-11-20T13:00:00+02:00", NOON),
        ("2025-11-20", NOON - 12 * HOUR),
        ("12:00", NOON),
        ("11:59:30", NOON - 30),
        ("8:15", NOON - 3.75 * HOUR),
        ("12:00Z", NOON + HOUR),
        ("11:00-01:00", NOON + HOUR),
        ("today", NOON - 12 * HOUR),
        ("today 8:15", NOON - 3.75 * HOUR),
        ("yesterday", NOON - 36 * HOUR),
        ("yesterday 14:00", NOON - 22 * HOUR),
        ("Yesterday at 14:00", NOON - 22 * HOUR),
        ("yesterday 14:00+02:00", NOON - 23 * HOUR),
        ("monday 14:00", NOON - 3 * DAY + 2 * HOUR),
        ("Mon 14:00", NOON - 3 * DAY + 2 * HOUR),
        ("thursday 12:00", NOON),
        ("thursday 12:01", NOON - 7 * DAY + MINUTE),
        ("friday", NOON - 6 * DAY - 12 * HOUR),
        ("10 minutes ago", NOON - 10 * MINUTE),
        ("2 h ago", NOON - 2 * HOUR),
        ("2h ago", NOON - 2 * HOUR),
        ("an hour ago", NOON - HOUR),
        ("a day ago", NOON - DAY),
        ("1 hour and 30 min ago", NOON - 1.5 * HOUR),
        ("1h30m ago", NOON - 1.5 * HOUR),
        ("1.5 hours ago", NOON - 1.5 * HOUR),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert parse_time(text, timezone="Europe/Paris", now=NOON) == expected


NONSENSE = [
    "25:00", "2025-13-01", "2025-02-30", "", "  ", "soon", "tomorrow", "10 ago", "ago", "1 month ago", "a ago", "yesterday 25:00",
    "today at", "14:03 yesterday ago", "12:00+99:00", "nan", "inf", "1e9", "٣٠٠٠", "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_times_name_what_to_write(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time; write 2026") as raised:
        parse_time(text, timezone="UTC", now=NOON)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["2099", "3000", "20251120", "0", "-5", "12.5", "99999999"])
def test_a_number_that_may_be_a_year_or_a_date_is_not_taken_for_seconds(text: str) -> None:
    with pytest.raises(UsageError, match=f"or @{re.escape(text)} for Unix seconds"):
        parse_time(text, timezone="UTC", now=NOON)
    assert parse_time(f"@{text}", timezone="UTC", now=NOON) == float(text)


def test_milliseconds_are_named() -> None:
    with pytest.raises(UsageError, match="milliseconds"):
        parse_time("1763636400123", timezone="UTC", now=NOON)


def test_an_error_does_not_repeat_a_long_text() -> None:
    with pytest.raises(UsageError) as raised:
        parse_time("x" * 20_000, timezone="UTC", now=NOON)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("text", ["2025-10-26 02:30", "2025-10-26T02:30:15"])
def test_an_hour_that_comes_twice_is_refused_with_both_ways_to_write_it(text: str) -> None:
    with pytest.raises(UsageError, match="comes twice in Europe/Paris") as raised:
        parse_time(text, timezone="Europe/Paris", now=NOON)
    early, late = remedies(raised.value)
    assert (
        parse_time(late, timezone="Europe/Paris", now=NOON) - parse_time(early, timezone="Europe/Paris", now=NOON)
        == HOUR
    )


@pytest.mark.parametrize("text", ["02:30", "today 2:30", "sunday 02:30", "2025-03-30 02:30"])
def test_an_hour_that_does_not_exist_is_refused_with_the_times_beside_it(text: str) -> None:
    sunday = datetime(2025, 3, 30, 12, tzinfo=ZoneInfo("Europe/Paris")).timestamp()
    with pytest.raises(UsageError, match="does not exist in Europe/Paris") as raised:
        parse_time(text, timezone="Europe/Paris", now=sunday)
    assert remedies(raised.value) == ["2025-03-30T01:30:00+01:00", "2025-03-30T03:30:00+02:00"]


def test_a_day_without_midnight_begins_later_and_a_day_left_out_is_refused() -> None:
    april = parse_time("2024-04-26", timezone="Africa/Cairo", now=NOON)
    assert april == parse_time("2024-04-26T01:00:00+03:00", timezone="UTC", now=NOON)
    with pytest.raises(UsageError, match="2011-12-30 does not exist in Pacific/Apia"):
        parse_time("2011-12-30", timezone="Pacific/Apia", now=NOON)


def test_a_day_of_23_hours() -> None:
    sunday = datetime(2025, 3, 30, 12, tzinfo=ZoneInfo("Europe/Paris")).timestamp()
    assert parse_time("yesterday 12:00", timezone="Europe/Paris", now=sunday) == sunday - 23 * HOUR
    assert parse_time("1 day ago", timezone="Europe/Paris", now=sunday) == sunday - 24 * HOUR


def remedies(error: UsageError) -> list[str]:
    """The times with an offset that an error suggests."""
    return re.findall(r"[\d-]+T[\d:.]+[+-]\d\d:\d\d", str(error))


@given(moment=st.integers(*CLOCKS), zone=st.sampled_from(ZONES))
def test_every_moment_can_be_written_and_a_time_without_offset_is_never_guessed(moment: int, zone: str) -> None:
    local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    assert parse_time(local.isoformat(), timezone="UTC", now=NOON) == moment
    try:
        assert parse_time(f"{local:%Y-%m-%d %H:%M:%S}", timezone=zone, now=NOON) == moment
    except UsageError as error:
        ways = [parse_time(way, timezone=zone, now=NOON) for way in remedies(error)]
        assert moment in ways
        assert len(set(ways)) == 2


@given(
    now=st.integers(*CLOCKS),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(["monday", "tue", "wednesday", "thu", "friday", "sat", "sunday"]),
    minute=st.integers(0, 1439),
)
def test_a_weekday_is_the_last_one_that_is_not_in_the_future(now: int, zone: str, day: str, minute: int) -> None:
    clock = f"{minute // 60:02d}:{minute % 60:02d}"
    try:
        moments = [parse_time(f"{day} {clock}", timezone=zone, now=now)]
    except UsageError as error:  # refused with two ways to write it
        moments = [parse_time(way, timezone=zone, now=now) for way in remedies(error)]
    assert moments
    if len(moments) == 1:
        local, then = (datetime.fromtimestamp(moment, ZoneInfo(zone)) for moment in (moments[0], now))
        assert f"{local:%A}".lower().startswith(day)
        assert f"{local:%H:%M}" == clock
        assert now - 7 * DAY - HOUR <= moments[0] <= now + HOUR * (local.utcoffset() != then.utcoffset())


UNITS = {
    "s": 1,
    "second": 1,
    "seconds": 1,
    "min": 60,
    "minutes": 60,
    "h": 3600,
    "hours": 3600,
    "d": 86400,
    "days": 86400,
    "weeks": 604800,
}


@given(number=st.integers(0, 500), unit=st.sampled_from(sorted(UNITS)), space=st.sampled_from(["", " "]))
def test_ago_counts_back_from_now_by_the_duration(number: int, unit: str, space: str) -> None:
    seconds = number * UNITS[unit]
    assert parse_duration(f"{number}{space}{unit}") == seconds
    assert parse_time(f"{number}{space}{unit} ago", timezone="Europe/Paris", now=NOON) == NOON - seconds


WORDS = st.sampled_from(
    [
        "today",
        "yesterday",
        "monday",
        "at",
        "ago",
        "14:00",
        "10",
        "a",
        "minutes",
        "h",
        "2025-11-20",
        "T",
        "+01:00",
        "Z",
        "@",
        ".",
        "-",
        " ",
    ]
)


@given(
    st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=6).map(" ".join), st.lists(WORDS, max_size=6).map("".join))
)
def test_any_text_is_a_time_or_an_error_of_one_line(text: str) -> None:
    for parse in (lambda: parse_time(text, timezone="Europe/Paris", now=NOON), lambda: parse_duration(text)):
        try:
            said = str(parse())
        except UsageError as error:
            said = str(error)
        assert said.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800), ("2 hours", 7200), ("10 minutes", 600),
        ("1 hour 30 min", 5400), ("2 days, 3 hours", 183_600), ("1W", 604_800),
    ],
)  # fmt: skip
def test_durations(text: str, expected: float) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "h", "-5m", "1 month", "1hm", "5 5", "1m 3", "two hours", "nan", "1e3"])
def test_nonsense_durations(text: str) -> None:
    with pytest.raises(UsageError, match="write 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.2, "4.2 s"), (42, "42 s"), (570, "9 min 30 s"), (11100, "3 h 05 min"), (187200, "2 d 4 h")]
)
def test_spelling(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text


@pytest.mark.parametrize("text", ["9999-12-31T23:59", "0001-01-01", "@99999999999999999", "@-99999999999999999"])
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
