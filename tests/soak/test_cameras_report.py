"""The report of the soak test of odd cameras, on files of events made here: a clean run, and each thing that must not be."""

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.soak.cameras_checks import EXPECTED
from tests.soak.cameras_report import report_of
from tests.support.soak_schedule import PLANS, schedule

START, RUN_S = 1_700_000_000.0, 3600.0
FAULT = (600.0, 700.0)  # of camera "refusals", seconds from the start
Events = list[dict[str, Any]]


def level(when: str, **values: Any) -> dict[str, Any]:
    held = {"rss_mb": 500.0, "fds": 4, "threads": 1, "names": [], "tasks": 0, "files": ["pipe:[N]"]}
    return {"kind": "level", "when": when, "t": START, **held, **values}


def clean_run() -> Events:
    """One camera, refused for 100 s: one gap, one state that says so."""
    begin, end = (START + second for second in FAULT)
    times = [START + second for second in range(int(RUN_S)) if not FAULT[0] <= second <= FAULT[1] + 10]
    camera = {
        "kind": "camera", "t": START + RUN_S, "camera": "refusals", "acked": len(times), "missing": 0, "altered": 0, "damage": [],
        "ahead_s": 0.4, "bases": {"arrival": len(times)}, "times": times, "sizes": {"320x180": len(times)},
        "gaps": [[begin - 1, end + 11, "lost"], [times[-1], None, "not recording"]],
    }  # fmt: skip
    samples = [
        {
            "kind": "sample", "t": START + second, "rss_mb": 600.0, "fds": 80, "threads": 70, "tasks": 13, "cpu_s": second / 9,
            "load": 1.5, "cameras": {"refusals": {"dropped": 0}}, "lags": {"refusals": [0.1, 0.2]}, "ahead": {"refusals": -0.2},
        }
        for second in range(0, int(RUN_S), 60)
    ]  # fmt: skip
    fault = {"kind": "fault", "camera": "refusals", "fault": "453"}
    said = {"camera": "refusals", "state": "offline", "detail": "the camera answers 453", "clock": "", "cause": ""}
    return [
        {"kind": "begin", "t": START - 9, "cameras": ["refusals"], "commit": "0123456789ab", "seed": 22, "cores": 2},
        level("before"),
        {"kind": "start", "t": START},
        *samples,
        {**fault, "on": True, "t": begin},
        {"kind": "state", "t": begin + 1, **said},
        {**fault, "on": False, "t": end},
        {"kind": "stop", "t": START + RUN_S, "early": False},
        level("after"),
        {"kind": "end", "t": START + RUN_S, "status": 0},
        camera,
    ]


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
    assert "| refusals | 3489 | 1 lost (112 s)" in text
    assert "| 453 | 1 | 100 | 11.0 | 60 | lost | 1 of 1 | offline; the camera answers 453 |" in text
    report.plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def rise(events: Events, name: str, per_hour: float) -> None:
    for event in events:
        if event["kind"] == "sample":
            event[name] += per_hour * (event["t"] - START) / 3600


def add_gap(events: Events, second: float, reason: str) -> None:
    camera = the("camera", events)
    camera["times"] = [time for time in camera["times"] if not START + second < time < START + second + 5]
    camera["gaps"].append([START + second, START + second + 5, reason])


def leave_out(events: Events, second: float, seconds: float) -> None:
    camera = the("camera", events)
    camera["times"] = [time for time in camera["times"] if not START + second < time < START + second + seconds]


DAMAGE = {
    "2 acknowledged frames are missing": lambda events: the("camera", events).update(missing=2),
    "1 acknowledged frames are altered": lambda events: the("camera", events).update(altered=1),
    "fsck: chunk 3": lambda events: the("camera", events).update(damage=["chunk 3"]),
    "3.5 s ahead of its arrival": lambda events: the("camera", events).update(ahead_s=3.5),
    "9.0 s ahead of now": lambda events: the("sample", events, 7)["ahead"].update(refusals=9.0),
    "hole: 4.0 s without a frame or a gap at 0:20:00": lambda events: leave_out(events, 1200, 4),
    "nothing after 0:55:00": lambda events: leave_out(events, 3300, 400),
    "its first frame came 30 s": lambda events: leave_out(events, -1, 31),
    "false gap: 5.0 s 'lost' at 0:30:00.0 (no fault then)": lambda events: add_gap(events, 1800, "lost"),
    "'jump' at 0:11:00.0 (fault: 453)": lambda events: the("camera", events)["gaps"].append(
        [START + 660, START + 665, "jump"]
    ),
    "112.0 s 'lost' at 0:09:59.0, while pictures came (fault: dialect)": lambda events: [
        event.update(fault="dialect") for event in events if event["kind"] == "fault"
    ],
    "90 s until the first frame after it": lambda events: (
        leave_out(events, 650, 140),
        the("camera", events)["gaps"].append([START + 590, START + 790, "lost"]),
    ),
    "no state named it in 1 of 1 windows": lambda events: the("state", events).update(detail="I/O error"),
    "12 frames are of the track of low": lambda events: the("camera", events)["sizes"].update({"160x90": 12}),
    "4 frames dropped": lambda events: the("sample", events, -1)["cameras"]["refusals"].update(dropped=4),
    "20.0 MB of resident memory more per hour": lambda events: rise(events, "rss_mb", 20),
    "5.0 open files more per hour": lambda events: rise(events, "fds", 5),
    "threads left over at the end: decode-a": lambda events: the("level", events, 1).update(names=["decode-a"]),
    "2 asyncio tasks left over": lambda events: the("level", events, 1).update(tasks=2),
    "open files left over at the end: socket:[N] (1)": lambda events: the("level", events, 1).update(
        files=["pipe:[N]", "socket:[N]"]
    ),
    "watch ended with status 1": lambda events: the("end", events).update(status=1),
    "watch ended before it was told to": lambda events: the("stop", events).update(early=True),
    "harness: KeyError": lambda events: events.append({"kind": "harness", "t": START, "what": "KeyError"}),
    "its memory was not examined": lambda events: events.remove(the("camera", events)),
}


@pytest.mark.parametrize("expected", DAMAGE)
def test_each_violation_is_found(expected: str, tmp_path: Path) -> None:
    events = copy.deepcopy(clean_run())
    DAMAGE[expected](events)
    assert any(expected in what for what in found(events, tmp_path)), found(events, tmp_path)


def test_a_gap_is_true_where_the_machine_stood_still(tmp_path: Path) -> None:
    events = clean_run()
    add_gap(events, 1800, "jump")
    events.insert(4, {"kind": "stall", "t": START + 1806, "start": START + 1800.0, "seconds": 5.2})
    assert found(events, tmp_path) == []
    assert "let the cameras stand still 1 times, for 5.2 s at most" in report_of(tmp_path / "events.jsonl").text()
    events[4]["seconds"] = 1.1  # too short to explain it
    assert len(found(events, tmp_path)) == 1


def test_a_run_that_was_killed_still_has_a_report(tmp_path: Path) -> None:
    events = clean_run()
    assert found(events[: events.index(the("stop", events))], tmp_path) == [
        "the run did not end by itself",
        "refusals: its memory was not examined",
    ]
    assert "| 453 | 1 | 100 |" in report_of(tmp_path / "events.jsonl").text()


def test_the_plan_lets_each_fault_come_and_go() -> None:
    windows = schedule(7200)
    for camera, plan in PLANS.items():
        own = [window for window in windows if window.camera == camera]
        assert {window.fault for window in own} == set(plan.faults)
        assert all(before.end + 15 < after.start for before, after in pairwise(own))
        assert own[-1].end < 7200 - 200
    assert {window.fault for window in windows} == set(EXPECTED)
    assert schedule(7200) == windows
