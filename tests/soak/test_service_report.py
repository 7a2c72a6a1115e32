"""The checks and the report of the soak test of the service: events made here, with each thing that must not be; and what it compares the
memory with."""

import copy
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from afterview.memory.writing.open import open_camera
from tests.soak.service_checks import EXPECTED, lives, recoveries
from tests.soak.service_lives import KILLED
from tests.soak.service_promises import Promises, Shown
from tests.soak.service_report import report_of
from tests.support.memory_world import START as FIRST
from tests.support.memory_world import make_frame, make_spec
from tests.support.service_schedule import CAMERAS, KINDS, kills, outages

START, RUN_S, CAMERA = 1_700_000_000.0, 3600.0, "cam-1"
KILLS = (600.0, 1500.0)  # seconds from the start; each time it is ready again after 8 s, and records again after 10 s
OUTAGE = (2000.0, 2060.0)
Events = list[dict[str, Any]]


def _life(number: int, start: float, ready: float) -> Events:
    life = {"life": number}
    return [
        {"kind": "life", "t": START + start, **life},
        {"kind": "listening", "t": START + start + 2, **life, "took_s": 2.0, "url": ""},
        {"kind": "ready", "t": START + ready, **life, "took_s": 8.0},
    ]


def _sample(second: float) -> dict[str, Any]:
    life = 1 + sum(second > kill for kill in KILLS)
    return {
        "kind": "sample", "t": START + second, "life": life, "rss_mb": 700.0, "fds": 80, "threads": 60, "tasks": 15, "cpu_s": 1.0,
        "load": 2.0, "waiting": 1, "refused": 0, "answering_s": second * 0.4, "loop_lag_s": 0.01, "lags": {}, "ahead": {CAMERA: -0.2},
        "cameras": {CAMERA: {"dropped": 0, "recorded": 5, "frames": max(0, int(second))}},
        "used": {"service": second / 2, "cameras": second / 50},
    }  # fmt: skip


def clean_run() -> Events:
    """One camera with one wrong password, three lives, one client who asks every ten seconds."""
    away = [(kill, kill + 10) for kill in KILLS] + [(OUTAGE[0], OUTAGE[1] + 5)]
    times = [
        START + second for second in range(int(RUN_S)) if not any(since <= second <= until for since, until in away)
    ]
    gaps = [[START + since - 1, START + until + 1, "crashed"] for since, until in away[:2]]
    gaps += [[START + away[2][0] - 1, START + away[2][1] + 1, "lost"], [times[-1], None, "not recording"]]
    events: Events = [
        {"kind": "begin", "t": START - 12, "cameras": [CAMERA], "commit": "0123456789ab", "seed": 25, "cores": 2, "kills": 2, "clients": 1,
         "queue": 8, "nice": 0,
         "rate": 5, "sizes": [[160, 120]]},
        *_life(1, -10, -2),
        {"kind": "start", "t": START},
    ]  # fmt: skip
    fault = {"kind": "fault", "camera": CAMERA}
    for number, kill in enumerate(KILLS, 1):
        killed = {"kind": "killed", "t": START + kill, "life": number, "state": "ready", "lived_s": 500.0}
        checked = {
            "kind": "promises",
            "t": START + kill,
            "life": number,
            "broken": [],
            "counts": {"frames": 9, "answers": 4},
        }
        events += [
            {**fault, "fault": KILLED, "on": True, "t": START + kill},
            killed,
            {**checked, "when": "after the kill"},
        ]
        events += _life(number + 1, kill + 0.5, kill + 8)
        events += [
            {**fault, "fault": KILLED, "on": False, "t": START + kill + 8},
            {**checked, "when": "after the restart"},
        ]
    said = {"state": "offline", "detail": "the server refused the user name or password", "clock": "", "cause": ""}
    events += [
        {**fault, "fault": "wrong password", "on": True, "t": START + OUTAGE[0]},
        {"kind": "state", "camera": CAMERA, "t": START + OUTAGE[0] + 1, **said},
        {**fault, "fault": "wrong password", "on": False, "t": START + OUTAGE[1]},
    ]
    asked = {"kind": "asked", "client": 0, "what": "streamed", "outcome": "answered", "s": 0.5, "first_s": 0.3}
    for second in range(0, int(RUN_S), 10):
        if not any(kill <= second <= kill + 8 for kill in KILLS):
            events.append({**asked, "began": START + second, "t": START + second + 0.5})
            events.append(_sample(second))
    events.append({**asked, "outcome": "down", "began": START + 601, "t": START + 601, "first_s": None})
    return [
        *events,
        {"kind": "stop", "t": START + RUN_S, "states": {CAMERA: ["online", "h264"]}},
        {"kind": "end", "t": START + RUN_S, "status": 0, "took_s": 1.0},
        {
            "kind": "camera", "t": START + RUN_S, "camera": CAMERA, "acked": 99, "missing": 0, "altered": 0, "damage": [], "ahead_s": 0.4,
            "bases": {"source": len(times)}, "times": times, "sizes": {"160x120": len(times)}, "gaps": gaps,
        },
        {"kind": "log", "t": START + RUN_S, "tracebacks": 0, "passwords": 0, "bytes": 9, "lines": 1},
    ]  # fmt: skip


def found(events: Events, directory: Path) -> list[str]:
    path = directory / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + '{"kind": "sam')  # as a kill leaves it
    return report_of(path).found


def the(kind: str, events: Events, place: int = 0) -> dict[str, Any]:
    return [event for event in events if event["kind"] == kind][place]


def test_a_clean_run(tmp_path: Path) -> None:
    assert found(clean_run(), tmp_path) == []
    report = report_of(tmp_path / "events.jsonl")
    text = report.text()
    assert "commit 0123456789ab" in text
    assert "| cam-1 | 3512 | 2 crashed (24 s); 1 lost (67 s) | 100.0 | 0 | 1 |" in text
    assert "| wrong password | 1 | 60 | 6.0 / 6.0 / 6.0 | 60 | lost | 1 of 1 |" in text
    assert f"| {KILLED} | 2 | 16 | 3.0 / 3.0 / 3.0 | 20 | crashed, lost | need not be |" in text
    assert "| 2 | 15.0 | killed while ready | 2.0 | 8.0 | 700 | 9, 4 | 0 |" in text
    assert "service 0.50, cameras 0.02" in text
    assert "answered 40 % of the time; up to 1 questions" in text
    report.plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def rise(events: Events, name: str, per_hour: float, life: int | None = None) -> None:
    for event in events:
        if event["kind"] == "sample" and life in (None, event["life"]):
            event[name] += per_hour * (event["t"] - START) / 3600


def leave_out(events: Events, second: float, seconds: float) -> None:
    camera = the("camera", events)
    camera["times"] = [time for time in camera["times"] if not START + second < time < START + second + seconds]


def asked(events: Events, outcome: str, second: float, **more: Any) -> None:
    """One more request, which ended so."""
    moment = START + second
    request = {"client": 0, "what": "streamed", "began": moment, "s": 0.2, "first_s": None}
    events.append({"kind": "asked", "t": moment + 0.2, "outcome": outcome, **request, **more})


def no_answers_after(events: Events, second: float) -> None:
    events[:] = [event for event in events if not (event["kind"] == "asked" and event["began"] > START + second)]


def longer_outage(events: Events) -> None:
    """The camera is away for ninety seconds after the password is right again."""
    leave_out(events, OUTAGE[1], 90)
    the("camera", events)["gaps"][2][1] = START + OUTAGE[1] + 90


DAMAGE: dict[str, Callable[[Events], Any]] = {
    "cam-1: 2 acknowledged frames are missing": lambda events: the("camera", events).update(missing=2),
    "cam-1: 1 acknowledged frames are altered": lambda events: the("camera", events).update(altered=1),
    "cam-1: fsck: chunk 3": lambda events: the("camera", events).update(damage=["chunk 3"]),
    "9.0 s ahead of now": lambda events: the("sample", events, 7)["ahead"].update({CAMERA: 9.0}),
    "hole: 5.0 s without a frame or a gap at 0:20:00": lambda events: leave_out(events, 1200, 5),
    "false gap: 5.0 s 'lost' at 0:30:00.0 (no fault then)": lambda events: (
        leave_out(events, 1800, 5),
        the("camera", events)["gaps"].append([START + 1800, START + 1805, "lost"]),
    ),
    "'jump' at 0:33:30.0 (fault: wrong password)": lambda events: the("camera", events)["gaps"].append(
        [START + 2010, START + 2015, "jump"]
    ),
    "its gaps overlap: lost until 1700002066.00, lost from 1700002050.00": lambda events: the("camera", events)["gaps"].append(
        [START + 2050, START + 2066, "lost"]
    ),
    "frames inside its gap 'lost'": lambda events: the("camera", events)["gaps"][2].__setitem__(1, START + 2070),
    "'wrong password': 90 s until the first frame after it": longer_outage,
    "no state named it in 1 of 1 windows": lambda events: the("state", events).update(detail="I/O error"),
    "4 frames dropped, and no gap says so": lambda events: the("sample", events, -1)["cameras"][CAMERA].update(dropped=4),
    "cam-1: offline at the end: no data": lambda events: the("stop", events).update(states={CAMERA: ["offline", "no data"]}),
    "after the restart of life 1: 3 answers are gone": lambda events: the("promises", events, 1).update(
        broken=["3 answers are gone: a, b, c"]
    ),
    "life 2 of the service ended by itself": lambda events: the("killed", events, 1).update(kind="died", status=-11),
    "life 2 was ready after 99 s": lambda events: the("ready", events, 1).update(took_s=99.0),
    "killed 2 times, not 10": lambda events: the("begin", events).update(kills=10),
    "ended with status None": lambda events: the("end", events).update(status=None),
    "1 tracebacks in the service's log": lambda events: the("log", events).update(tracebacks=1),
    "2 passwords in the service's log": lambda events: the("log", events).update(passwords=2),
    "1 requests: streamed: internal_error while the service was up": lambda events: asked(
        events, "internal_error", 900, status=500, said="500"
    ),
    "1 requests: streamed: internal_error: 500": lambda events: asked(events, "internal_error", 605, status=500, said="500"),
    "1 requests: streamed: model_not_ready while": lambda events: asked(events, "model_not_ready", 900, status=503),
    "1 requests: streamed: down while the service was up": lambda events: asked(events, "down", 900),
    "1 requests: streamed: cut while the service was up": lambda events: asked(events, "cut", 620),
    "1 requests: streamed: timeout": lambda events: asked(events, "timeout", 603),
    "1 requests: streamed: wrong": lambda events: asked(events, "wrong", 900, said="ValueError"),
    "1 requests: streamed: too_many_questions": lambda events: asked(events, "too_many_questions", 900, status=400),
    "only 0 of 1 clients were answered after the last kill": lambda events: no_answers_after(events, 1500),
    "MB of resident memory more per hour; 60 at most": lambda events: rise(events, "rss_mb", 90, life=3),
    "life 1: 30.0 asyncio tasks more at its end": lambda events: [
        event.update(tasks=45) for event in events if event["kind"] == "sample" and 400 < event["t"] - START < 600
    ],
    "open files more per hour; 8 at most": lambda events: rise(events, "fds", 30, life=3),
    "harness: KeyError": lambda events: events.append({"kind": "harness", "t": START, "what": "KeyError"}),
    "its memory was not examined": lambda events: events.remove(the("camera", events)),
    "the run did not end by itself": lambda events: events.remove(the("end", events)),
}  # fmt: skip


@pytest.mark.parametrize("expected", DAMAGE)
def test_each_violation_is_found(expected: str, tmp_path: Path) -> None:
    events = copy.deepcopy(clean_run())
    DAMAGE[expected](events)
    assert any(expected in what for what in found(events, tmp_path)), found(events, tmp_path)


def test_growth_from_life_to_life_is_found(tmp_path: Path) -> None:
    events = clean_run()
    events = [event for event in events if event["kind"] not in ("life", "listening", "ready", "killed")]
    place = events.index(the("start", events))
    more = [event for number in range(6) for event in _life(number + 1, 600 * number - 10, 600 * number - 2)]
    events[place + 1 : place + 1] = more
    for event in events:
        if event["kind"] == "sample":
            event["rss_mb"] += 12 * ((event["t"] - START) // 600)
    assert any("from life to life 72.0 MB" in what for what in found(events, tmp_path))


def test_tasks_that_stay_from_life_to_life_are_found_and_those_of_requests_are_none(tmp_path: Path) -> None:
    events = clean_run()
    events = [event for event in events if event["kind"] not in ("life", "listening", "ready", "killed")]
    place = events.index(the("start", events))
    more = [event for number in range(6) for event in _life(number + 1, 600 * number - 10, 600 * number - 2)]
    events[place + 1 : place + 1] = more
    samples = [event for event in events if event["kind"] == "sample"]
    for number, event in enumerate(samples):  # later lives answer more at once, and now and then nothing
        event["tasks"] = 15 + (0 if number % 10 == 0 else 5 * int((event["t"] - START) // 600))
    assert not any("tasks" in what and "from life to life" in what for what in found(events, tmp_path))
    for event in samples:
        event["tasks"] += 2 * int((event["t"] - START) // 600)
    assert any("from life to life 12.0 asyncio tasks" in what for what in found(events, tmp_path))


def test_requests_may_fail_while_the_service_is_away(tmp_path: Path) -> None:
    events = clean_run()
    for outcome, more in (("down", {}), ("cut", {}), ("model_not_ready", {"status": 503})):
        asked(events, outcome, 604, **more)
    asked(events, "too_many_questions", 900, status=429)
    asked(events, "nothing_recorded", 2050, status=404)
    assert found(events, tmp_path) == []


def test_an_outage_that_ends_while_the_service_is_away_counts_from_when_both_are_back(tmp_path: Path) -> None:
    events = clean_run()
    fault = {"kind": "fault", "camera": CAMERA, "fault": "killed"}
    place = events.index(the("killed", events))
    events[place:place] = [
        {**fault, "on": True, "t": START + 580},
        {**fault, "on": False, "t": START + 601},
    ]
    leave_out(events, 579, 40)
    the("camera", events)["gaps"][0][:2] = [START + 579, START + 619]
    assert found(events, tmp_path) == []
    assert recoveries(report_of(tmp_path / "events.jsonl").run)["killed"] == [pytest.approx(11)]  # from 608 to 619


def test_a_run_that_was_cut_off_still_has_a_report(tmp_path: Path) -> None:
    events = clean_run()
    assert found(events[: events.index(the("stop", events))], tmp_path) == [
        "the run did not end by itself",
        "cam-1: its memory was not examined",
    ]
    report = report_of(tmp_path / "events.jsonl")
    assert [life.ended for life in lives(report.run)] == ["killed", "killed", "stopped"]
    report.text()


# --- what was shown ---


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """Camera `hall` with 20 frames, of which 5 to 7 are in a gap, and answer `a1`."""
    spec = make_spec()
    with open_camera(tmp_path / "memory", "hall", spec) as repository:
        for number in range(20):
            if number not in range(5, 8):
                repository.append(make_frame(number, spec))
    answer = tmp_path / "memory" / "answers" / "a1"
    answer.mkdir(parents=True)
    (answer / "answer.json").write_text("{}")
    return tmp_path / "memory"


def shown(path: Path) -> Shown:
    noted = Shown(path / "shown.jsonl")
    assert noted.frames([("hall", 4, FIRST + 4), ("hall", 5, FIRST + 8)]) == []
    noted.note("times", times={"hall": [FIRST, FIRST + 19]})
    noted.note("gaps", gaps={"hall": [[FIRST + 4, FIRST + 8, "jump"]]})
    noted.note("answer", id="a1", content=["What?", "A ring.", []])
    noted.note("recorded", life=1, recorded={"hall": 17})
    return noted


def broken(memory: Path, *, before: int = 0, life: int = 1) -> list[str]:
    return Promises(memory.parent / "shown.jsonl").broken(memory, {"hall": before}, life)


def test_a_memory_that_has_all_that_was_shown(memory: Path) -> None:
    shown(memory.parent)
    assert broken(memory) == []
    assert Promises(memory.parent / "shown.jsonl").counts() == {
        "frames": 2,
        "answers": 1,
        "pictures": 0,
        "gaps": 1,
        "times": 2,
    }


def test_each_thing_that_is_missing_is_found(memory: Path) -> None:
    noted = shown(memory.parent)
    noted.frames([("hall", 30, FIRST + 30)])
    noted.frames([("hall", 6, FIRST + 9.5)])
    noted.note("times", times={"hall": [FIRST + 6]})
    noted.note("gaps", gaps={"hall": [[FIRST + 4, FIRST + 8, "lost"]]})
    noted.note("answer", id="a2", content=[])
    noted.note("recorded", life=1, recorded={"hall": 18})
    noted.frames([("yard", 0, FIRST)])
    text = "\n".join(broken(memory))
    assert "hall: 1 frames that were shown are missing, such as 30" in text
    assert "hall: 1 frames have another time than was shown, such as 6" in text
    assert f"hall: 1 times of frames that were shown are missing, such as {FIRST + 6}" in text
    assert "hall: 1 gaps that were shown are missing" in text
    assert "hall: 17 frames, but 18 were counted as recorded" in text
    assert "yard: cannot be read" in text
    assert "1 answers are gone: a2" in text
    assert len(broken(memory, before=3, life=2)) == len(broken(memory)) - 1  # nothing was counted in that life


def test_a_frame_that_is_shown_with_two_times_is_found(tmp_path: Path) -> None:
    noted = shown(tmp_path)
    assert noted.frames([("hall", 4, FIRST + 4.000001)]) == []  # JSON's microseconds
    assert noted.frames([("hall", 4, FIRST + 4.1)]) == [f"hall: frame 4 has time {FIRST + 4.1}, and had {FIRST + 4}"]


# --- the plan ---


@pytest.mark.parametrize("run_s", [180.0, 3600.0])
def test_the_plan_has_each_outage_and_lets_each_camera_come_back(run_s: float) -> None:
    windows = outages(run_s, 25)
    assert {window.fault for window in windows} == set(KINDS) == set(EXPECTED) - {KILLED}
    assert {window.camera for window in windows} == set(CAMERAS)
    for camera in CAMERAS:
        own = [window for window in windows if window.camera == camera]
        assert all(before.end + EXPECTED[before.fault].recovery_s < after.start for before, after in pairwise(own))
        assert own[-1].end + EXPECTED[own[-1].fault].recovery_s < run_s
    assert outages(run_s, 25) == windows
    moments = kills(run_s, 25)
    assert len(moments) == (10 if run_s == 3600 else 1)
    assert moments[0] > 10
    assert moments[-1] < 0.55 * run_s
    assert run_s == 180 or any(after - before < 25 for before, after in pairwise(moments))  # while it starts
