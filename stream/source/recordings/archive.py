"""Recordings in the order of time: when each began, by which clock, and how long it is. Opens every file once and decodes nothing.

The clocks of a file, best first: the creation time that it states, the time in its name or path
(stream.source.recordings.name_dates), and only on request the time at which the file was last written, which a copy changes.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial
from itertools import pairwise
from typing import Literal

import av

from afterview.configs import UsageError
from afterview.stream.errors import SourceError
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.clocks.fragments import FragmentReader
from afterview.stream.source.clocks.reference_clock import DAY_S, EARLIEST, ReferenceClock
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.failures.unfinished import was_never_finished
from afterview.stream.source.opening.choice import choose_stream
from afterview.stream.source.opening.opening import describe, open_container
from afterview.stream.source.recordings.name_dates import time_in_name
from afterview.stream.source.recordings.stills import DatedPicture

Clock = Literal["stated", "name", "modified", "given", "none"]
"""What dates a file: the creation time that it states, its name, when it was last written, --start, nothing."""
Dating = Literal["auto", "stated", "name", "modified"]

_EXACT = {"mp4", "matroska", "avi"}  # containers that state how long they are; of others FFmpeg estimates it ...
_ESTIMATED_S = 2.0  # ... to so many seconds
_ZONES_S = 900.0  # seconds: offsets of time zones are multiples of this
_CONFLICT_S = 1500.0  # seconds between two clocks of a file that no delay of a recorder explains
_CLOCK_READ_S = 90.0  # seconds that clocks which differ by a time zone may differ otherwise
_WRITING_S = 60.0  # seconds without a write, after which a recorder is taken to have stopped
_WRITTEN_WITHIN_S = 900.0  # seconds after its end, in which a recorder has written a file


@dataclass(frozen=True)
class ArchivedFile:
    """One recording. start: Unix seconds of its beginning; None: unknown.

    length_s: as it states; None: unknown, or not to be trusted. unsure_s: by how much it may be longer.
    conflict_s: seconds by which the file's stated time lies after that of its name, if they contradict each other.
    unsure: the time comes twice in the camera's zone, or never. forced: the recording's own clock (prft) does not count.
    size: bytes, when it was looked at. pictures: the file stands for these still pictures, in order of time.
    """

    address: SourceAddress
    start: float | None
    clock: Clock
    length_s: float | None = None
    conflict_s: float = 0.0
    unsure: bool = False
    unsure_s: float = 0.0
    size: int = 0
    forced: bool = False
    pictures: tuple[DatedPicture, ...] = ()

    @property
    def end(self) -> float | None:
        """Unix seconds; None if unknown."""
        return None if self.start is None or self.length_s is None else self.start + self.length_s

    @property
    def may_be_a_zone(self) -> bool:
        """Whether the conflict looks as if one clock were in another time zone."""
        beyond = abs(self.conflict_s) % _ZONES_S
        return self.conflict_s != 0 and min(beyond, _ZONES_S - beyond) <= _CLOCK_READ_S and abs(self.conflict_s) < DAY_S


@dataclass(frozen=True)
class BrokenFile:
    """One that cannot be opened. start: Unix seconds by its name, if that has a time.

    unfinished: it was written to moments ago, so it may be complete later.
    """

    address: SourceAddress
    reason: str
    unfinished: bool = False
    start: float | None = None


def look_at(
    addresses: Sequence[SourceAddress],
    config: SourceConfig,
    *,
    zone: tzinfo,
    dating: Dating = "auto",
    start: float | None = None,
    now: float,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[ArchivedFile], list[BrokenFile]]:
    """The recordings in order of time, and those that cannot be opened.

    config: how they are read. zone: the camera's. start: Unix seconds at which the first file begins; each other one then follows the
    one before, in the order given.
    report: called with how many were looked at, and of how many. Raises UsageError for files that nothing dates.
    """
    files: list[ArchivedFile] = []
    broken: list[BrokenFile] = []
    for number, address in enumerate(addresses):
        report(number, len(addresses))
        try:
            files.append(_look(address, config, zone, dating, now))
        except (SourceError, OSError) as error:
            broken.append(_broken(address, error, zone, now))
    if start is not None and broken and addresses[-1] != broken[0].address:
        raise UsageError(
            f"{broken[0].address.redacted}: {broken[0].reason}; so --start does not say when the next file begins: record those before it "
            "and those after it with two commands"
        )
    if start is not None:
        return list(_in_a_row(files, start)), broken
    undated = [file for file in files if file.start is None]
    if undated and len(addresses) > 1:
        raise UsageError(no_date(undated, len(files), dating))
    _require_one_camera(files)
    files.sort(key=lambda file: file.start or 0.0)
    return files, broken


def _look(address: SourceAddress, config: SourceConfig, zone: tzinfo, dating: Dating, now: float) -> ArchivedFile:
    state = os.stat(address.url)
    again = partial(open_container, address, config, time.monotonic)
    with again() as container:
        stream, _ = choose_stream(container, address, config.stream, again)
        about = describe(container, stream, now=now)
        # FFmpeg states the length of the first fragments as that of the whole.
        fragmented = "mp4" in container.format.name.split(",") and not stream.frames
        trusted = about.finite and not fragmented
        own_start = _own_start(address, stream, now) if fragmented else None
        length_s = about.duration_s or (container.duration / 1e6 if container.duration else None)
    if not about.rate_assumed and trusted and length_s is not None and length_s > 0:
        known_s: float | None = length_s
    else:
        known_s = None
    unsure_s = 0.0 if _EXACT.intersection(container.format.name.split(",")) else _ESTIMATED_S
    file = ArchivedFile(address, None, "none", known_s, unsure_s=unsure_s, size=state.st_size)
    stated = tuple(time for time in (own_start, about.start_time) if time is not None)[:1]
    return dated(file, stated, zone=zone, dating=dating, written=state.st_mtime, now=now)


def _own_start(address: SourceAddress, stream: av.VideoStream, now: float) -> float | None:
    """Unix seconds of a fragmented MP4's first frame by its own clock (prft), to a fragment's length."""
    with open(address.url, "rb") as file:
        first = ReferenceClock(FragmentReader(file, stream.id), float(stream.time_base or 0.0), now=now).first
    return None if first is None else first.unix_s


def dated(
    file: ArchivedFile, stated_ways: Sequence[float], *, zone: tzinfo, dating: Dating, written: float, now: float
) -> ArchivedFile:
    """The file with its start. stated_ways: Unix seconds that the file states; two where its clock time has two meanings.

    zone: the camera's. written: when the file was written last, Unix seconds.
    """
    named = time_in_name(os.path.abspath(file.address.url))
    ways = tuple(way for way in (named.unix(zone) if named else ()) if EARLIEST < way < now + DAY_S)
    by_name = _likelier(ways, (file.length_s or 0.0), written)
    stated = _likelier(stated_ways, (file.length_s or 0.0), written)
    if dating == "modified":
        return replace(file, start=written - (file.length_s or 0.0), clock="modified", forced=True)
    if stated is not None and dating in ("auto", "stated"):
        conflict_s = stated - by_name if by_name is not None and len(ways) == 1 else 0.0
        if abs(conflict_s) < _CONFLICT_S + (file.length_s or 0.0):  # some write the time of the end
            conflict_s = 0.0
        return replace(file, start=stated, clock="stated", conflict_s=conflict_s, unsure=len(stated_ways) > 1)
    if by_name is not None and dating in ("auto", "name"):
        return replace(file, start=by_name, clock="name", unsure=len(ways) > 1, forced=dating == "name")
    return file


def _likelier(ways: Sequence[float], length_s: float, written: float) -> float | None:
    """Of two times that a name may mean, the one after which the file was written; else the first."""
    for way in ways:
        if -_CLOCK_READ_S <= written - way - length_s <= _WRITTEN_WITHIN_S:
            return way
    return ways[0] if ways else None


def _broken(address: SourceAddress, error: Exception, zone: tzinfo, now: float) -> BrokenFile:
    reason = str(error).removeprefix(f"{address.redacted}: ")
    try:
        unfinished = was_never_finished(address.url) and now - os.stat(address.url).st_mtime < _WRITING_S
    except OSError:
        unfinished = False
    named = time_in_name(os.path.abspath(address.url))
    return BrokenFile(address, reason, unfinished, named.unix(zone)[0] if named else None)


def _in_a_row(files: Sequence[ArchivedFile], start: float) -> Iterator[ArchivedFile]:
    for number, file in enumerate(files):
        yield replace(file, start=start, clock="given", conflict_s=0.0, unsure=False, forced=True)
        if file.length_s is None and number < len(files) - 1:
            raise UsageError(
                f"{file.address.redacted}: states no length, so --start does not say when the next file begins; record it alone"
            )
        start += file.length_s or 0.0


def no_date(undated: Sequence[ArchivedFile], count: int, dating: Dating, *, option: str = "--start TIME") -> str:
    """The error for files that nothing dates. option: which dates files that follow one another."""
    missing = {"stated": "no creation time", "name": "no time in the name"}
    what = missing.get(dating, "neither a creation time nor a time in the name")
    return (
        f"{undated[0].address.redacted}: nothing says when it was recorded ({len(undated)} of {count} files have {what}); give "
        f"{option} for files that follow one another in the order of their names, or --date modified to go by the times at which the "
        "files were last written (a copy may have changed these)"
    )


def _require_one_camera(files: Sequence[ArchivedFile]) -> None:
    """Raise UsageError if the paths name several cameras, as Frigate's do."""
    names: dict[str, ArchivedFile] = {}
    for file in files:
        if file.clock != "given" and (named := time_in_name(os.path.abspath(file.address.url))) and named.camera:
            names.setdefault(named.camera, file)
    if len(names) > 1:
        first = sorted(names)[0]
        raise UsageError(
            f"these are recordings of {len(names)} cameras ({', '.join(sorted(names)[:5])}); record each into a camera of its own, with a "
            f"pattern such as '*/*/{first}/*.mp4' in quotes"
        )


def overlapping(files: Sequence[ArchivedFile]) -> int:
    """How many recordings begin when more than half of the one before is still to come: those of several cameras do."""
    return sum(
        before.end is not None and after.start is not None and before.end - after.start > (before.length_s or 0.0) / 2
        for before, after in pairwise(files)
    )
