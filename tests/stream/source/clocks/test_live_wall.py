"""When the program date of HLS is read, and when it is void."""

from fractions import Fraction

import pytest

from afterview.stream.source.clocks import live_wall
from afterview.stream.source.clocks.clock import SourceClock
from afterview.stream.source.clocks.live_wall import LiveWall
from afterview.stream.source.clocks.program_date import ProgramDate

UNIT = Fraction(1, 1000)


class Broadcast:
    """A playlist whose newest segment is dated, or not yet. reads: when it was asked for its date."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, playlist: str | None = "http://127.0.0.1/live.m3u8") -> None:
        self.now, self.date, self.reads = 0.0, None, list[float]()
        self.wall = LiveWall(SourceClock(UNIT), playlist, float(UNIT), lambda: self.now)
        monkeypatch.setattr(live_wall, "read_program_date", self._read)

    date: ProgramDate | None

    def _read(self, url: str) -> ProgramDate | None:
        self.reads.append(self.now)
        return self.date

    def at(self, pts_s: float, now: float) -> float | None:
        self.now = now
        return self.wall.at(round(pts_s * 1000))


def test_a_date_that_comes_later_is_found_with_ever_longer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = Broadcast(monkeypatch)
    assert [broadcast.at(float(second), float(second)) for second in range(100)] == [None] * 100
    assert broadcast.reads == [0, 10, 30, 70]
    broadcast.date = ProgramDate(150.0, 5150.0)
    assert broadcast.at(150.0, 150.0) == 5150.0
    for second in range(151, 151 + 3600):
        broadcast.date = ProgramDate(float(second), 5000.0 + second)
        broadcast.at(float(second), float(second))
    assert broadcast.reads == [0, 10, 30, 70, 150, 150 + 3600]


def test_a_date_of_the_clock_before_is_read_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = Broadcast(monkeypatch)
    broadcast.date = ProgramDate(10.0, 5010.0)
    assert broadcast.at(8.0, 8.0) == 5008.0
    broadcast.date = ProgramDate(2.0, 5011.0)
    assert broadcast.at(1.0, 9.0) == 5010.0
    assert broadcast.reads == [8.0, 9.0]


def test_a_date_is_found_though_ffmpeg_counts_the_rounds_of_mpeg_ts(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes a clock that goes back by more than a minute for one that began its next round; the segment itself has no rounds."""
    broadcast, turn = Broadcast(monkeypatch), 2**33 / 90_000
    broadcast.date = ProgramDate(202.0, 5202.0)
    assert broadcast.at(200.0, 0.0) == 5200.0
    broadcast.date = ProgramDate(4.0, 5206.0)
    assert broadcast.at(turn + 2.0, 4.0) == pytest.approx(5204.0, abs=0.002)
    broadcast.date = ProgramDate(7.0, 5209.0)
    assert broadcast.at(2 * turn + 5.0, 7.0) == pytest.approx(5207.0, abs=0.002)
    broadcast.date = ProgramDate(turn - 1.0, 9000.0)  # the newest segment is of the round before
    assert broadcast.at(turn + 2.0, 5000.0) == pytest.approx(9003.0, abs=0.002)


def test_other_sources_are_asked_for_no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = Broadcast(monkeypatch, None)
    assert [broadcast.at(float(second), float(second)) for second in range(50)] == [None] * 50
    assert broadcast.reads == []
