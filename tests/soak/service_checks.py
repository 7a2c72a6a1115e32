"""What a soak run of the service must show, beside what holds for each camera (tests.soak.cameras_checks). Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tests.soak.cameras_checks import Camera, Expected, Fault, Run, of_camera, understand
from tests.soak.events import Event
from tests.soak.service_lives import KILLED

_LOST = frozenset({"lost"})
_BACK_S = 60.0  # 30 s between two tries, 10 s to open, 10 s until the old connection counts as lost, a GOP
EXPECTED = {
    "killed": Expected(_LOST, _BACK_S, words="refused|ended|cannot be reached", outage=True),
    "frozen": Expected(frozenset({"lost", "jump"}), _BACK_S, words="no data|no decodable|no answer", outage=True),
    "other size": Expected(_LOST, _BACK_S, outage=True),  # a restart
    "wrong password": Expected(_LOST, _BACK_S, words="password|401", outage=True),
    KILLED: Expected(frozenset({"crashed", "lost"}), 20.0, outage=True),
}

# A life is warm so long after it was ready, and when each camera has as many frames as a question recalls, and has been asked since: docs/
# service.md, "How time and memory grow".
WARM_S, RECALLED, ASKED_S = 120.0, 128, 60.0
LEVEL_S = 60.0  # after that, whose levels are compared between lives
JUDGED_S = 120.0  # a part that is shorter says nothing
SETTLED_S, LONG_S = 600.0, 600.0  # a life has a slope from so long after it was ready, if that lasts so long
READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Bound:
    """Most growth of one number. part: between the first and the last third of a life after it is warm. per_hour: the slope of a long life,
    and over the levels of all lives. idle: each request holds some, so the level of a life is what it held at its idlest moment."""

    what: str
    part: float
    per_hour: float
    idle: bool = False


BOUNDS = {
    "rss_mb": Bound("MB of resident memory", 20.0, 60.0),
    "fds": Bound("open files", 8.0, 8.0),
    "threads": Bound("threads", 4.0, 6.0),
    "tasks": Bound("asyncio tasks", 8.0, 8.0, idle=True),
}
IDLE_S = 60.0  # a life that was warm for less may have had no idle moment

GOOD = frozenset({"answered", "declined", "found", "shown", "not modified", "left"})
_WAIT = frozenset({"too_many_questions"})  # 429, obeyed
_EMPTY = frozenset({"nothing_recorded"})  # asked about a span in which the camera was away
_LOADING = frozenset({"model_not_ready"})  # 503
_CUT = frozenset({"down", "cut"})
_SLACK_S = 2.0


@dataclass(frozen=True)
class Life:
    """One life of the service, Unix seconds. ready: None if it was killed before. end: its kill, or the stop."""

    number: int
    start: float
    ready: float | None
    end: float
    ended: str  # how: "killed", "died", "stopped"
    listening_s: float | None
    ready_s: float | None
    state: str  # in which it was killed

    def warm(self, samples: Sequence[Event]) -> list[Event]:
        """Its samples after it was warm."""
        if self.ready is None:
            return []
        own = [one for one in samples if self.ready + WARM_S <= one["t"] <= self.end]
        full = next(
            (one["t"] for one in own if min(camera["frames"] for camera in one["cameras"].values()) >= RECALLED), None
        )
        if full is None:
            return []
        began_full = full == own[0]["t"]
        return [one for one in own if one["t"] >= full + (0.0 if began_full else ASKED_S)]


def understood(events: list[Event]) -> Run:
    """A run from its events."""
    return understand(events, EXPECTED, _windows(events, events[-1]["t"]))


def _windows(events: Sequence[Event], stop: float) -> list[tuple[float, float]]:
    """In which the service was not ready: from a kill until the model is there."""
    windows, since = [], None
    for event in events:
        if event["kind"] in ("killed", "died", "life"):
            since = event["t"] if since is None else since
        elif event["kind"] == "ready" and since is not None:
            windows.append((since, event["t"]))
            since = None
    return windows if since is None else [*windows, (since, stop)]


def lives(run: Run) -> list[Life]:
    """All of them, in order."""
    found = []
    for event in run.of("life"):
        own = [one for one in run.events if one.get("life") == event["life"]]
        listening, ready, end = (
            next((one for one in own if one["kind"] in kinds), None)
            for kinds in (("listening",), ("ready",), ("killed", "died"))
        )
        found.append(
            Life(
                event["life"], event["t"], ready and ready["t"], end["t"] if end else run.stop,
                end["kind"] if end else "stopped", listening and listening["took_s"], ready and ready["took_s"],
                end.get("state", "") if end else "",
            )
        )  # fmt: skip
    return found


def violations(run: Run) -> list[str]:
    """Everything that must not be, one line each."""
    found = [f"harness: {event['what']}" for event in run.of("harness")]
    found += [*_of_end(run), *_of_lives(run), *_of_promises(run), *_of_requests(run), *_growth(run)]
    for camera in run.cameras:
        if camera.event:
            own = (*of_camera(camera, run), *_overlaps(camera), *_dropped(camera, run))
            found += [f"{camera.name}: {what}" for what in own]
        else:
            found.append(f"{camera.name}: its memory was not examined")
    return found


def _of_end(run: Run) -> Iterator[str]:
    end, stop = (next(iter(run.of(kind)), None) for kind in ("end", "stop"))
    if end is None or stop is None:
        yield "the run did not end by itself"
        return
    if end["status"] != 0:
        yield f"the service ended with status {end['status']} when it was told to stop"
    for camera, (state, detail) in stop["states"].items():
        if state != "online":
            yield f"{camera}: {state} at the end: {detail}"
    for log in run.of("log"):
        for key in ("tracebacks", "passwords"):
            if log[key]:
                yield f"{log[key]} {key} in the service's log"


def _of_lives(run: Run) -> Iterator[str]:
    for life in lives(run):
        if life.ended == "died":
            yield f"life {life.number} of the service ended by itself"
        if life.ready_s is not None and life.ready_s > READY_WITHIN_S:
            yield f"life {life.number} was ready after {life.ready_s:.0f} s; {READY_WITHIN_S:g} s at most"
    planned = next((event["kills"] for event in run.of("begin")), 0)
    if run.of("end") and len(run.of("killed")) != planned:
        yield f"the service was killed {len(run.of('killed'))} times, not {planned}"


def _of_promises(run: Run) -> Iterator[str]:
    for event in run.of("promises"):
        yield from (f"{event['when']} of life {event['life']}: {what}" for what in event["broken"])


def _of_requests(run: Run) -> Iterator[str]:
    asked = run.of("asked")
    away = _windows(run.events, run.stop)
    wrong: Counter[str] = Counter()
    for event in asked:
        if (why := _why_wrong(event, away)) is not None:
            wrong[why] += 1
    yield from (f"{count} requests: {what}" for what, count in wrong.most_common(12))
    if not run.of("end"):
        return
    last = max((end for _, end in away), default=run.start)
    served = {
        event["client"] for event in asked if event["outcome"] in ("answered", "declined") and event["began"] > last
    }
    expected = next((event["clients"] for event in run.of("begin")), 0)
    if len(served) < expected and run.stop - last > 300:
        yield f"only {len(served)} of {expected} clients were answered after the last kill"


def _why_wrong(event: Event, away: Sequence[tuple[float, float]]) -> str | None:
    """Why a request must not end so; None if it may."""
    outcome, status = event["outcome"], event.get("status")
    if outcome in GOOD or outcome in _EMPTY or (outcome in _WAIT and status == 429):
        return None
    end = event["began"] + event["s"]
    in_away = any(event["began"] <= until + _SLACK_S and end >= since - _SLACK_S for since, until in away)
    if in_away and (outcome in _CUT or (outcome in _LOADING and status == 503)):
        return None
    when = "" if in_away else " while the service was up"
    return f"{event['what']}: {outcome}{when}: {event.get('said', '')}"


def _overlaps(camera: Camera) -> Iterator[str]:
    """Gaps that overlap, and frames inside a gap."""
    gaps = sorted((start, end, reason) for start, end, reason in camera.gaps if end is not None)
    for one, other in pairwise(gaps):
        if other[0] < one[1] - 0.02:
            yield f"its gaps overlap: {one[2]} until {one[1]:.2f}, {other[2]} from {other[0]:.2f}"
    times = np.array(camera.times)
    for start, end, reason in gaps:
        inside = int(np.searchsorted(times, end - 0.02) - np.searchsorted(times, start + 0.02, side="right"))
        if inside > 0:
            yield f"{inside} frames inside its gap '{reason}' from {start:.2f} to {end:.2f}"


def dropped(camera: Camera, run: Run) -> int:
    """Frames that all lives together said they dropped."""
    most: dict[int, int] = {}
    for sample in run.samples:
        count = sample["cameras"].get(camera.name, {}).get("dropped", 0)
        most[sample["life"]] = max(count, most.get(sample["life"], 0))
    return sum(most.values())


def _dropped(camera: Camera, run: Run) -> Iterator[str]:
    count = dropped(camera, run)
    if count and not any(reason == "dropped" for _, _, reason in camera.gaps):
        yield f"{count} frames dropped, and no gap says so"


# --- growth ---


@dataclass(frozen=True)
class Grown:
    """One number in one life.

    level: its low level in the first LEVEL_S, warm, or its lowest value if its bound is idle; None for a life that ended before.
    part: its growth from the first third to the last. slope: of the low levels of its minutes, per hour, once it has settled.
    """

    life: Life
    name: str
    level: float | None
    part: float | None
    slope: float | None


def grown(run: Run, name: str) -> list[Grown]:
    """Of each life that was warm."""
    found = []
    for life in lives(run):
        samples = life.warm(run.samples)
        if not samples:
            continue
        times = np.array([one["t"] for one in samples])
        values = np.array([one[name] for one in samples], dtype=float)
        long_s = times[-1] - times[0]
        if BOUNDS[name].idle:
            level = float(values.min()) if long_s >= IDLE_S else None
        else:
            level = _low(values[times <= times[0] + LEVEL_S]) if long_s >= LEVEL_S else None
        part = slope = None
        if long_s >= JUDGED_S:
            part = _low(values[times >= times[-1] - long_s / 3]) - _low(values[times <= times[0] + long_s / 3])
        settled = times >= (life.ready or 0.0) + SETTLED_S
        if settled.any() and times[-1] - times[settled][0] >= LONG_S:
            minutes = times[settled] // 60
            low = [_low(values[settled][minutes == minute]) for minute in np.unique(minutes)]
            slope = float(np.polyfit(np.unique(minutes) / 60 - minutes[0] / 60, low, 1)[0])
        found.append(Grown(life, name, level, part, slope))
    return found


def _low(values: NDArray[np.float64]) -> float:
    """The level below which a tenth lies: what requests hold while they are answered comes on top of it, a leak lifts it."""
    return float(np.percentile(values, 10))


def over_lives(found: Sequence[Grown]) -> float | None:
    """Growth of the levels of the lives per hour; None for fewer than four of them."""
    known = [(one.life.start / 3600, one.level) for one in found if one.level is not None]
    if len(known) < 4:
        return None
    hours, levels = np.array(known).T
    return float(np.polyfit(hours - hours[0], levels, 1)[0])


def _growth(run: Run) -> Iterator[str]:
    for name, bound in BOUNDS.items():
        found = grown(run, name)
        for one in found:
            if one.part is not None and one.slope is None and one.part > bound.part:
                yield f"life {one.life.number}: {one.part:.1f} {bound.what} more at its end; {bound.part:g} at most"
            if one.slope is not None and one.slope > bound.per_hour:
                yield f"life {one.life.number}: {one.slope:.1f} {bound.what} more per hour; {bound.per_hour:g} at most"
        if (slope := over_lives(found)) is not None and slope > bound.per_hour:
            yield f"from life to life {slope:.1f} {bound.what} more per hour; {bound.per_hour:g} at most"


# --- for the report ---


def recoveries(run: Run) -> dict[str, list[float]]:
    """Seconds from the end of each fault until the first frame after it, by fault."""
    found: dict[str, list[float]] = {name: [] for name in EXPECTED}
    for fault in _all_faults(run):
        if fault.recovered_s is not None:
            found[fault.name].append(fault.recovered_s)
    return found


def _all_faults(run: Run) -> Iterator[Fault]:
    for camera in run.cameras:
        yield from camera.faults
