"""What a soak run of odd cameras must show: what each fault may cause, and the checks of one run's events. Pure."""

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from afterview.memory.base.records import HOLE_STEPS
from tests.soak.events import Event

SLOT_S = 1.0
MOST_AHEAD_S = {"hls": 15.0}  # docs/clocks.md ...
_MOST_AHEAD_S = 3.0  # ... and all others
_BEFORE_S = 3.0  # seconds by which a gap may begin before its fault: the last frame before it
_AT_THE_END_S = 20.0  # seconds before the stop within which the newest frame must lie
_WRONG_SIZE = "160x90"  # of the second track, which nobody wants
SETTLED_S = 1200.0  # until then a process may grow
JUDGED_S = 2700.0  # shorter runs say nothing about growth
# Most growth per hour in the second half of the run, and what it is of.
GROWTH = {
    "rss_mb": (12.0, "MB of resident memory"),
    "fds": (2.0, "open files"),
    "threads": (2.0, "threads"),
    "tasks": (1.0, "tasks"),
}


@dataclass(frozen=True)
class Expected:
    """What a fault may cause. reasons: of gaps. recovery_s: until the first frame after its end. step_s: between its frames.

    words: a pattern that the camera's state must show meanwhile; empty: nothing need be said. outage: the camera sends nothing.
    counter: a key of `watch --json` that names it just as well.
    """

    reasons: frozenset[str] = frozenset()
    recovery_s: float = 15.0
    step_s: float = SLOT_S
    words: str = ""
    outage: bool = False
    counter: str = ""


_LOST = frozenset({"lost"})
_SILENT = frozenset({"lost", "jump"})  # shorter than the read timeout: the connection stays
_STALL_BEFORE_S, _STALL_AFTER_S = (
    3.0,
    5.0,
)  # around a time in which the cameras stood still: until all pictures come evenly again
_LONGEST_CUT_S = 20.0  # a gap because of a fault that is no outage: to notice it, and to connect again
_OUTAGE_S = 60.0  # 30 s between two tries, 10 s to open, 10 s until the old connection counts as lost, a GOP
EXPECTED = {
    "10 times": Expected(words="too fast"),
    "3 times": Expected(words="too fast"),
    "half": Expected(words="too slow"),
    "stuck": Expected(step_s=1.4, words="stands still"),  # 2 s until it is found (docs/clocks.md): two slots and a rest
    "outliers": Expected(),
    "jumps": Expected(),
    "server down": Expected(_LOST, _OUTAGE_S, words="refused|ended|cannot be reached", outage=True),
    "2 % loss": Expected(frozenset({"lost", "jump"}), words="damaged|packets? (was |were )?lost|smeared", counter="pictures_damaged"),
    "dialect": Expected(_LOST, _OUTAGE_S),
    "1 fps": Expected(frozenset({"jump"})),
    "0.5 fps": Expected(frozenset({"jump"}), step_s=2.0),
    "0.2 fps": Expected(frozenset({"jump"}), step_s=5.0),
    "disconnected": Expected(_LOST, 90.0, words="offline", outage=True),  # and 30 s until the next key frame
    "453": Expected(_LOST, _OUTAGE_S, words="453|bandwidth", outage=True),
    "503": Expected(_LOST, _OUTAGE_S, words="503|[Uu]navailable", outage=True),
    "401": Expected(_LOST, _OUTAGE_S, words="password|401", outage=True),
    "port closed": Expected(_LOST, _OUTAGE_S, words="refused|cannot be reached", outage=True),
    "frozen": Expected(_SILENT, _OUTAGE_S, words="no data|no decodable|no answer", outage=True),
    "half-open": Expected(_SILENT, _OUTAGE_S, words="no data|no answer", outage=True),
    "discontinuity": Expected(recovery_s=30.0),
    "packager restart": Expected(frozenset({"lost", "jump"}), _OUTAGE_S, words="404|no such|no data|cannot be reached|ended", outage=True),
    "1 frame in 5 s": Expected(frozenset({"jump"}), step_s=5.0),
    "other size": Expected(),
    "two tracks": Expected(_LOST, _OUTAGE_S),
    "other size and two tracks": Expected(_LOST, _OUTAGE_S),
}  # fmt: skip
_DIRECTORY = re.compile(r"/memory(/[a-z-]+)?$")
_POOL = "asyncio_"  # threads of the event loop of zarr, which stay with the process
_NAMED_AFTER_S = 25.0  # a fault must be named within so many seconds; shorter ones need not be
_CUTS = frozenset({"dialect", "two tracks", "other size and two tracks"})  # at their end, too: the camera is cut off


@dataclass
class Fault:
    """One window of one camera, Unix seconds. recovered_s: from its end to the first frame; None if that was not seen in time. If another
    outage began before the camera was allowed to be back, it counts from the end of that one.

    allowed_s: for that; of the outage from whose end it counts, if that has more: a camera that was tried in vain is tried again later.
    said: the state that named it; None if none did, "" if none was needed.
    """

    camera: str
    name: str
    start: float
    end: float
    expected: Expected
    recovered_s: float | None = None
    judged: bool = True
    said: str | None = ""
    allowed_s: float = 0.0


@dataclass
class Camera:
    """What one camera's memory showed."""

    name: str
    times: list[float]
    gaps: list[tuple[float, float | None, str]]
    event: Event
    faults: list[Fault]
    lags: list[float] = field(default_factory=list)
    short_holes: int = 0  # one frame missing, no gap: less than HOLE_STEPS slots


@dataclass
class Run:
    """All of one run. start, stop: when the plan of faults began, and when the recording was told to stop. unasked: windows in which nobody
    could ask for the states."""

    events: list[Event]
    start: float
    stop: float
    cameras: list[Camera]
    samples: list[Event]
    unasked: Sequence[tuple[float, float]] = ()

    def of(self, kind: str) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event["kind"] == kind]

    def column(self, name: str) -> np.ndarray:
        """One number of each sample."""
        return np.array([sample[name] for sample in self.samples], dtype=float)

    @property
    def seconds(self) -> np.ndarray:
        """Of each sample, from the start."""
        return self.column("t") - self.start


def understand(
    events: list[Event], table: Mapping[str, Expected] = EXPECTED, unasked: Sequence[tuple[float, float]] = ()
) -> Run:
    """A run from its events; of one that was killed, what there is. table: what each fault may cause. unasked: as in Run."""
    times = [event["t"] for event in events]
    start = next((event["t"] for event in events if event["kind"] == "start"), times[0])
    stop = next((event["t"] for event in events if event["kind"] == "stop"), times[-1])
    faults = _faults(events, stop, table)
    samples = [event for event in events if event["kind"] == "sample"]
    examined = {event["camera"]: event for event in events if event["kind"] == "camera"}
    cameras = []
    for name in next((event["cameras"] for event in events if event["kind"] == "begin"), []):
        event = examined.get(name, {})
        gaps = [(start, end, reason) for start, end, reason in event.get("gaps", [])]
        lags = [lag for sample in samples for lag in sample["lags"].get(name, [])]
        own = [fault for fault in faults if fault.camera == name]
        cameras.append(Camera(name, event.get("times", []), gaps, event, own, lags))
    run = Run(events, start, stop, cameras, samples, unasked)
    for camera in cameras:
        _follow(camera, run)
    return run


def _faults(events: Sequence[Event], stop: float, table: Mapping[str, Expected]) -> list[Fault]:
    began: dict[tuple[str, str], float] = {}
    faults = []
    for event in events:
        if event["kind"] == "fault":
            key = event["camera"], event["fault"]
            if event["on"]:
                began[key] = event["t"]
            elif key in began:
                faults.append(Fault(*key, began.pop(key), event["t"], table[key[1]]))
    return faults + [Fault(*key, since, stop, table[key[1]]) for key, since in began.items()]


def _follow(camera: Camera, run: Run) -> None:
    """How each fault of a camera was recovered from, and which state named it."""
    states = [event for event in run.of("state") if event["camera"] == camera.name]
    for fault in camera.faults:
        expected = fault.expected
        since, last = _all_back(fault, camera)
        fault.allowed_s = max(expected.recovery_s, last.expected.recovery_s)
        place = bisect.bisect_left(camera.times, since)
        if place < len(camera.times):
            fault.recovered_s = max(0.0, camera.times[place] - since)
        following = min((other.start for other in camera.faults if other.start > since), default=run.stop)
        if fault.recovered_s is None or fault.recovered_s > fault.allowed_s:
            fault.judged = following >= since + fault.allowed_s
        if expected.words and _to_be_named(fault, run):
            before = [one for one in states if one["t"] < fault.start][-1:]  # which may be offline already
            during = [one for one in states if fault.start <= one["t"] <= fault.end + _BEFORE_S]
            during += [one for one in before if one["state"] == "offline"]
            texts = [
                "; ".join(filter(None, (one["state"], one["detail"], one["clock"], one["cause"]))) for one in during
            ]
            fault.said = next((text for text in texts if re.search(expected.words, text)), None)
            if fault.said is None and expected.counter:
                fault.said = _counted(run, camera.name, expected.counter)


def _all_back(fault: Fault, camera: Camera) -> tuple[float, Fault]:
    """When a fault and all outages of the camera were over that began during it, or before its first frame after it; the last of them."""
    since, last = fault.end, fault
    for other in sorted(camera.faults, key=lambda other: other.start):
        began_late = other.start > since + fault.expected.recovery_s
        if other is fault or not other.expected.outage or other.end <= since or began_late:
            continue
        place = bisect.bisect_left(camera.times, since)
        if other.start <= since or place == len(camera.times) or camera.times[place] > other.start:
            since, last = other.end, other
    return since, last


def _to_be_named(fault: Fault, run: Run) -> bool:
    """Whether a fault lasted long enough, and somebody could ask for the state meanwhile."""
    if any(start < fault.end and end > fault.start for start, end in run.unasked):
        return False
    return fault.end - fault.start >= _NAMED_AFTER_S or fault.name == "disconnected"


def _counted(run: Run, camera: str, counter: str) -> str | None:
    """What the last document of the watch counted; None if nothing."""
    for event in run.of("end"):
        for described in (event["document"] or {}).get("cameras", []):
            if described.get("camera") == camera and described.get(counter):
                return f"{counter}: {described[counter]} in the JSON of the watch"
    return None


def violations(run: Run) -> list[str]:
    """Everything that must not be, one line each."""
    found = [f"harness: {event['what']}" for event in run.of("harness")]
    found += _of_process(run)
    for camera in run.cameras:
        if camera.event:
            found += [f"{camera.name}: {what}" for what in (*of_camera(camera, run), *_dropped(camera, run))]
        else:
            found.append(f"{camera.name}: its memory was not examined")
    return found


def _of_process(run: Run) -> Iterator[str]:
    end = next(iter(run.of("end")), None)
    if end is None:
        yield "the run did not end by itself"
    elif end["status"] != 0:
        yield f"watch ended with status {end['status']}"
    if any(event.get("early") for event in run.of("stop")):
        yield "watch ended before it was told to"
    levels = {event["when"]: event for event in run.of("level")}
    if "after" in levels:
        yield from _left_over(levels["before"], levels["after"])
    if run.stop - run.start < JUDGED_S:
        return
    for name, (most, what) in GROWTH.items():
        if (grown := growth_per_hour(run, name)) > most:
            yield f"{grown:.1f} {what} more per hour in the second half of the run; {most:g} at most"


def growth_per_hour(run: Run, column: str) -> float:
    """The slope in the second half, but not before everything has settled."""
    seconds, values = run.seconds, run.column(column)
    late = seconds >= max(SETTLED_S if seconds[-1] > 2 * SETTLED_S else 0.0, seconds[-1] / 2)
    return float(np.polyfit(seconds[late] / 3600, values[late], 1)[0]) if late.sum() > 2 else 0.0


def _left_over(before: Event, after: Event) -> Iterator[str]:
    threads = [name for name in after["names"] if name not in before["names"] and not name.startswith(_POOL)]
    if threads:
        yield f"threads left over at the end: {', '.join(threads)}"
    if after["tasks"]:
        yield f"{after['tasks']} asyncio tasks left over at the end"
    files = list(after["files"])
    for name in before["files"]:
        if name in files:
            files.remove(name)
    # The directories of the cameras stay open until the process ends: its event loop's handlers of signals refer to the session.
    held = [name for name in files if "/" not in name or ("/soak-cameras-" in name and not _DIRECTORY.search(name))]
    if held:
        yield f"open files left over at the end: {', '.join(sorted(set(held)))} ({len(held)})"


def of_camera(camera: Camera, run: Run) -> Iterator[str]:
    """What must not be in a camera's memory, nor in the time until its faults were over."""
    event = camera.event
    for count, what in ((event["missing"], "missing"), (event["altered"], "altered")):
        if count:
            yield f"{count} acknowledged frames are {what}"
    yield from (f"fsck: {damage}" for damage in event["damage"])
    yield from _ahead(camera, run)
    yield from _holes(camera, run)
    yield from (f"false gap: {text}" for text in false_gaps(camera, run))
    yield from _of_faults(camera)
    if count := event.get("sizes", {}).get(_WRONG_SIZE):
        yield f"{count} frames are of the track of low resolution"


def _dropped(camera: Camera, run: Run) -> Iterator[str]:
    dropped = [sample["cameras"].get(camera.name, {}).get("dropped", 0) for sample in run.samples]
    if dropped and dropped[-1]:
        yield f"{dropped[-1]} frames dropped (load average {max(run.column('load')):.1f} at most)"


def _ahead(camera: Camera, run: Run) -> Iterator[str]:
    most = MOST_AHEAD_S.get(camera.name, _MOST_AHEAD_S)
    stored = camera.event["ahead_s"]
    if stored is not None and stored > most:
        yield f"a frame lies {stored:.1f} s ahead of its arrival; {most:g} s at most"
    seen = max((sample["ahead"].get(camera.name, -1e9) for sample in run.samples), default=-1e9)
    if seen > most:
        yield f"its newest frame lay {seen:.1f} s ahead of now; {most:g} s at most"


def _holes(camera: Camera, run: Run) -> Iterator[str]:
    """Frames and gaps must fill the span: steps longer than HOLE_STEPS of the usual one are gaps."""
    # "not recording" lasts since the last frame, whatever the source did before the stop.
    known = [gap for gap in camera.gaps if gap[1] is not None or gap[2] != "not recording"]
    gaps = [(start, run.stop if end is None else end) for start, end, _ in known]
    for before, after in pairwise(camera.times):
        if after - before <= 1.5 * SLOT_S or any(start <= before + 0.1 and end >= after - 0.1 for start, end in gaps):
            continue
        near = [fault for fault in camera.faults if fault.start - 2 <= after and fault.end + 10 >= before]
        step_s = max([SLOT_S, *(fault.expected.step_s for fault in near)])
        if after - before > HOLE_STEPS * step_s + 0.1:
            yield f"hole: {after - before:.1f} s without a frame or a gap at {_at(before, run)}{_near(near)}"
        elif step_s == SLOT_S:
            camera.short_holes += 1
    newest = max([*camera.times, *(end for _, end in gaps)], default=run.start)
    if newest < run.stop - _AT_THE_END_S:
        yield f"nothing after {_at(newest, run)}, neither frame nor gap"
    if camera.times and camera.times[0] > run.start + SLOT_S:
        yield f"its first frame came {camera.times[0] - run.start:.0f} s after the start"


def false_gaps(camera: Camera, run: Run) -> Iterator[str]:
    """Gaps that no fault of the camera explains, or not their length; while the machine let the cameras stand still, gaps are true."""
    for start, end, reason in camera.gaps:
        if end is None or reason == "dropped" or end < run.start:  # drops are counted as such
            continue
        if any(_of_stall(stall, start, end) for stall in run.of("stall")):
            continue
        near = [fault for fault in camera.faults if _explains_time(fault, start, end)]
        if not any(reason in fault.expected.reasons for fault in near):
            yield f"{end - start:.1f} s '{reason}' at {_at(start, run)}{_near(near)}"
        elif end - start > _LONGEST_CUT_S and not any(fault.expected.outage for fault in near):
            yield f"{end - start:.1f} s '{reason}' at {_at(start, run)}, while pictures came{_near(near)}"


def _of_stall(stall: Event, start: float, end: float) -> bool:
    """Whether a gap is no longer than a time in which the machine stood still, and lies there."""
    first, seconds = stall["start"], stall["seconds"]
    inside = start >= first - _STALL_BEFORE_S and end <= first + seconds + _STALL_AFTER_S
    return inside and end - start <= seconds + _STALL_BEFORE_S


def _explains_time(fault: Fault, start: float, end: float) -> bool:
    late = fault.expected.recovery_s if fault.name in _CUTS else _BEFORE_S
    late = max(late, fault.expected.step_s * HOLE_STEPS)
    return start <= fault.end + late and end >= fault.start - _BEFORE_S


def _of_faults(camera: Camera) -> Iterator[str]:
    names = list(dict.fromkeys(fault.name for fault in camera.faults))
    for name in names:
        faults = [fault for fault in camera.faults if fault.name == name]
        expected = faults[0].expected
        slow = [fault for fault in faults if fault.judged and not _recovered(fault)]
        if slow:
            worst = max((fault.recovered_s or np.inf for fault in slow), default=np.inf)
            often = f"{len(slow)} of {len(faults)} times more than {min(fault.allowed_s for fault in slow):g} s"
            yield f"'{name}': {worst:.0f} s until the first frame after it ({often})"
        unnamed = sum(fault.said is None for fault in faults)
        if unnamed:
            yield f"'{name}': no state named it in {unnamed} of {len(faults)} windows (expected: {expected.words})"


def _recovered(fault: Fault) -> bool:
    return fault.recovered_s is not None and fault.recovered_s <= fault.allowed_s


def _at(time: float, run: Run) -> str:
    seconds = time - run.start
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{seconds % 60:04.1f}"


def _near(faults: Sequence[Fault]) -> str:
    names = dict.fromkeys(fault.name for fault in faults)
    return f" (fault: {', '.join(names)})" if names else " (no fault then)"


def gap_counts(camera: Camera) -> dict[str, tuple[int, float]]:
    """How many gaps of each reason, and their seconds."""
    counts: dict[str, Any] = {}
    for start, end, reason in camera.gaps:
        if end is not None:
            number, seconds = counts.get(reason, (0, 0.0))
            counts[reason] = number + 1, seconds + end - start
    return counts
