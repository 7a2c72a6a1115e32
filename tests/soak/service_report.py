"""The report of a soak run of the service, from its file of events."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.table import Table
from tests.soak.cameras_checks import Run, gap_counts
from tests.soak.cameras_report import covered
from tests.soak.events import read
from tests.soak.service_checks import (
    BOUNDS,
    EXPECTED,
    LEVEL_S,
    LONG_S,
    RECALLED,
    SETTLED_S,
    WARM_S,
    dropped,
    grown,
    lives,
    over_lives,
    recoveries,
    understood,
    violations,
)

_ASKED = ("all cameras", "one camera", "follow-up", "streamed")


@dataclass
class Report:
    """What one run showed. found: what must not be."""

    run: Run
    found: list[str]

    @property
    def clean(self) -> bool:
        """Whether everything held."""
        return not self.found

    def text(self) -> str:
        """As Markdown."""
        held = "**Everything that must hold held.**" if self.clean else f"**{len(self.found)} things must not be:**\n"
        lines = [held, *(f"- {what}" for what in self.found)]
        return "\n".join(["", _heading(self.run), "", *lines]) + "\n" + "".join(_tables(self.run))

    def plot(self, path: Path) -> None:
        """Resident memory, files, threads and tasks, seconds of answers, and load, over the minutes; kills are lines."""
        figure = Figure(figsize=(9.6, 5.6), layout="constrained")
        first, second, third, fourth = figure.subplots(2, 2).flat
        run = self.run
        minutes = run.seconds / 60
        first.plot(minutes, run.column("rss_mb"), ".", markersize=2)
        first.set(title="resident memory, MB", xlabel="minutes")
        for name, label in (("fds", "open files"), ("threads", "threads"), ("tasks", "asyncio tasks")):
            second.plot(minutes, run.column(name), ".", markersize=2, label=label)
        second.set(title="open files, threads, tasks", xlabel="minutes")
        _plot_answers(third, run)
        for name, cores in _cores(run).items():
            fourth.plot(minutes[1:], cores, label=name)
        fourth.set(title="cores used", xlabel="minutes")
        for axes in (first, second, third, fourth):
            for killed in run.of("killed"):
                axes.axvline((killed["t"] - run.start) / 60, color="0.8", linewidth=0.8, zorder=0)
            axes.set_ylim(bottom=0)
        for axes in (second, third, fourth):
            axes.legend(fontsize="small")
        figure.savefig(path, dpi=100)


def report_of(events: Path) -> Report:
    """The report of a run that ended, or was cut off."""
    run = understood(list(read(events)))
    return Report(run, violations(run))


def _plot_answers(axes: Axes, run: Run) -> None:
    asked = [
        event for event in run.of("asked") if event["what"] in _ASKED and event["outcome"] in ("answered", "declined")
    ]
    buckets: dict[int, list[float]] = {}
    for event in asked:
        buckets.setdefault(int((event["t"] - run.start) // 60), []).append(event["s"])
    places = sorted(place for place in buckets if place >= 0)
    for share in (50, 95):
        axes.plot(
            [place + 0.5 for place in places],
            [float(np.percentile(buckets[place], share)) for place in places],
            label=f"p{share}",
        )
    axes.set(title="seconds of an answer, the wait for its turn included", xlabel="minutes")


def _heading(run: Run) -> str:
    begin = next(iter(run.of("begin")), {})
    date = datetime.fromtimestamp(run.start, UTC).strftime("%Y-%m-%d %H:%M UTC")
    sizes = " or ".join(f"{width}x{height}" for width, height in begin.get("sizes", []))
    cores = ", ".join(f"{name} {np.mean(used):.2f}" for name, used in _cores(run).items())
    load = run.column("load")
    return (
        f"{(run.stop - run.start) / 60:.0f} min in real time: one `afterview serve` with the built-in model, {len(run.cameras)} RTSP "
        f"cameras ({sizes}, {begin.get('rate', '?')} frames per second, digest login) from GStreamer's server, one process each, and "
        f"{begin.get('clients', '?')} clients, on {begin.get('cores', '?')} cores with nice {begin.get('nice', '?')}; "
        f"{date}, commit {begin.get('commit', '?')}, seed "
        f"{begin.get('seed', '?')}.\n\nCores used on average: {cores}. Load average of the machine, which did other work, too: "
        + (f"{np.mean(load):.1f}, {max(load):.1f} at most. {_busy(run)}" if len(load) else "unknown.")
    )


def _cores(run: Run) -> dict[str, np.ndarray]:
    """That each part used between two samples."""
    if len(run.samples) < 2:
        return {}
    seconds = np.maximum(np.diff(run.seconds), 1e-3)
    names = list(run.samples[0]["used"])
    used = {name: np.array([sample["used"][name] for sample in run.samples]) for name in names}
    return {name: np.maximum(np.diff(values), 0.0) / seconds for name, values in used.items()}


def _busy(run: Run) -> str:
    """How busy the one thread was that answers, and how long the line."""
    spent = passed = 0.0
    for one, other in pairwise(run.samples):
        if one["life"] == other["life"]:
            spent += other["answering_s"] - one["answering_s"]
            passed += other["t"] - one["t"]
    share = f"{100 * spent / passed:.0f} %" if passed else "an unknown share"
    longest = next((event["queue"] for event in run.of("begin")), "?")
    waited = max((sample["waiting"] for sample in run.samples), default=0)
    return f"The language model answered {share} of the time; up to {waited} questions were seen to wait, of {longest} that may."


def _tables(run: Run) -> Iterator[str]:
    yield _cameras(run).markdown()
    yield _faults(run).markdown()
    yield _lives(run).markdown()
    yield _growth(run).markdown()
    yield _requests(run).markdown()
    yield _answers(run).markdown()


def _cameras(run: Run) -> Table:
    table = Table(
        "Cameras",
        ["camera", "frames", "gaps", "frames + gaps (% of span)", "single slots empty", "outages", "most ahead (s)", "dropped",
         "pictures", "dated by"],
        "Single slots empty: less than 2.5 slots between two frames, which is no gap.",
    )  # fmt: skip
    for camera in run.cameras:
        gaps = "; ".join(
            f"{number} {reason} ({seconds:.0f} s)" for reason, (number, seconds) in gap_counts(camera).items()
        )
        ahead = camera.event.get("ahead_s")
        own = [fault for fault in camera.faults if fault.name != "service killed"]
        table.add(
            camera.name, len(camera.times), gaps or "none", covered(camera), camera.short_holes, len(own),
            "-" if ahead is None else f"{ahead:.2f}", dropped(camera, run),
            ", ".join(f"{count} {size}" for size, count in camera.event.get("sizes", {}).items()) or "-",
            ", ".join(f"{name} {count}" for name, count in camera.event.get("bases", {}).items()) or "-",
        )  # fmt: skip
    return table


def _faults(run: Run) -> Table:
    table = Table(
        "Outages",
        ["fault", "times", "seconds", "until the first frame after it, p50 / p95 / most (s)", "allowed (s)", "gaps it may cause", "named"],
        "After it: after the source could be reached again, and after the service was ready again if it was killed meanwhile. Named: "
        "outages of 25 s and more, in the camera's state. Of outages that overlap, the largest allowance counts.",
    )  # fmt: skip
    faults = [fault for camera in run.cameras for fault in camera.faults]
    for name, times in recoveries(run).items():
        own = [fault for fault in faults if fault.name == name]
        if not own:
            continue
        asked = [fault.said for fault in own if fault.said != ""]
        spread = (
            " / ".join(f"{value:.1f}" for value in (*np.percentile(times, (50, 95)), max(times))) if times else "never"
        )
        table.add(
            name, len(own), f"{sum(fault.end - fault.start for fault in own):.0f}", spread, f"{EXPECTED[name].recovery_s:g}",
            ", ".join(sorted(EXPECTED[name].reasons)),
            f"{sum(text is not None for text in asked)} of {len(asked)}" if asked else "need not be",
        )  # fmt: skip
    return table


def _lives(run: Run) -> Table:
    checks = run.of("promises")
    last = checks[-1]["counts"] if checks else {}
    shown = ", ".join(f"{count} {name}" for name, count in last.items())
    table = Table(
        "Lives of the service",
        ["life", "minutes", "ended", "listened after (s)", "ready after (s)", "MB", "frames and answers that were shown before", "missing"],
        "Each but the last ended by kill -9. Before and after each restart the memory was compared with everything that clients had been "
        f"shown so far, and the newest answers were opened by their ids. At the end: {shown or 'nothing'}. MB: when warm.",
    )  # fmt: skip
    levels = {one.life.number: one.level for one in grown(run, "rss_mb")}
    for life in lives(run):
        own = [check for check in checks if check["life"] == life.number]
        counts = own[0]["counts"] if own else {}
        table.add(
            life.number, f"{(life.end - life.start) / 60:.1f}", f"{life.ended} while {life.state}" if life.state else life.ended,
            "-" if life.listening_s is None else f"{life.listening_s:.1f}", "-" if life.ready_s is None else f"{life.ready_s:.1f}",
            "-" if (level := levels.get(life.number)) is None else f"{level:.0f}",
            f"{counts.get('frames', 0)}, {counts.get('answers', 0)}", sum(len(check["broken"]) for check in own),
        )  # fmt: skip
    return table


def _growth(run: Run) -> Table:
    table = Table(
        "Growth",
        [
            "of",
            "most within a life",
            "allowed",
            "per hour in the longest life",
            "from life to life, per hour",
            "allowed",
        ],
        f"A life counts from {WARM_S:.0f} s after it was ready; the first one when each camera has the {RECALLED} frames that a question "
        "recalls. Levels are those below which a tenth of the samples lie, because a request holds tasks, files and memory while it waits. "
        f"Within a life: from its first third to its last. Per hour: of a life that went on for {LONG_S / 60:.0f} minutes after it had "
        f"settled, {SETTLED_S / 60:.0f} minutes after it was ready. From life to life: the first {LEVEL_S:.0f} s that count; of tasks, the "
        "idlest moment of each life, because a request in flight holds five.",
    )
    for name, bound in BOUNDS.items():
        found = grown(run, name)
        parts = [one.part for one in found if one.part is not None and one.slope is None]
        slopes = [one.slope for one in found if one.slope is not None]
        across = over_lives(found)
        table.add(
            bound.what, f"{max(parts):.1f}" if parts else "-", f"{bound.part:g}", f"{max(slopes):.1f}" if slopes else "-",
            "-" if across is None else f"{across:.1f}", f"{bound.per_hour:g}",
        )  # fmt: skip
    return table


def _requests(run: Run) -> Table:
    asked = run.of("asked")
    table = Table(
        "Requests by outcome",
        ["request", "number", "outcomes"],
        "too_many_questions: status 429, after which the client waits as long as it says. down, cut: the service had been killed. "
        "model_not_ready: status 503, while it starts. nothing_recorded: about a span in which the camera was away.",
    )
    for what in dict.fromkeys(event["what"] for event in asked):
        outcomes = Counter(event["outcome"] for event in asked if event["what"] == what)
        table.add(what, sum(outcomes.values()), ", ".join(f"{count} {name}" for name, count in outcomes.most_common()))
    return table


def _answers(run: Run) -> Table:
    table = Table(
        "Seconds, as the clients see them",
        ["request", "number", "p50", "p95", "p99", "most"],
        "The wait for its turn included: one question is answered at a time.",
    )
    good = [event for event in run.of("asked") if event["outcome"] in ("answered", "declined", "found")]
    for what in (*_ASKED, "search"):
        _add_spread(table, what, [event["s"] for event in good if event["what"] == what])
    _add_spread(table, "streamed: first text", [event["first_s"] for event in good if event["first_s"] is not None])
    late = [sample["loop_lag_s"] * 1000 for sample in run.samples]
    _add_spread(table, "loop lag (ms, p99 of a minute)", late)
    return table


def _add_spread(table: Table, what: str, values: Sequence[float]) -> None:
    if values:
        spread = (f"{value:.2f}" for value in (*np.percentile(values, (50, 95, 99)), max(values)))
        table.add(what, len(values), *spread)
