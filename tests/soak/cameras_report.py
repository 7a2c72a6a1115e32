"""The report of a soak run of odd cameras, from its file of events."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tests.bench.table import Table
from tests.soak.cameras_checks import EXPECTED, GROWTH, Camera, Run, gap_counts, growth_per_hour, understand, violations
from tests.soak.events import read

_BUCKET_S = 60.0  # of the plotted lag
_LONGEST_SAID = 90  # characters of a state that are quoted


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
        """Resident memory, open files and threads, lag, and load and drops, over the minutes."""
        figure = Figure(figsize=(9.6, 5.6), layout="constrained")
        first, second, third, fourth = figure.subplots(2, 2).flat
        minutes = self.run.seconds / 60
        first.plot(minutes, self.run.column("rss_mb"))
        first.set(title="resident memory, MB", xlabel="minutes")
        for name, label in (("fds", "open files"), ("threads", "threads"), ("tasks", "asyncio tasks")):
            second.plot(minutes, self.run.column(name), label=label)
        second.set(title="open files, threads, tasks", xlabel="minutes")
        at, middle, high = _lags(self.run)
        third.plot(at, middle, label="p50")
        third.plot(at, high, label="p99")
        third.set(title="lag from arrival to durable, s", xlabel="minutes")
        fourth.plot(minutes, self.run.column("load"), label="load average")
        fourth.plot(minutes, _cpu(self.run), label="cores that watch uses")
        fourth.set(title="load", xlabel="minutes")
        for axes in (first, second, third, fourth):
            axes.set_ylim(bottom=0)
        for axes in (second, third, fourth):
            axes.legend()
        figure.savefig(path, dpi=100)


def report_of(events: Path) -> Report:
    """The report of a run that ended, or was killed."""
    run = understand(list(read(events)))
    return Report(run, violations(run))


def _heading(run: Run) -> str:
    begin = next(iter(run.of("begin")), {})
    date = datetime.fromtimestamp(run.start, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{(run.stop - run.start) / 60:.0f} min in real time, {len(run.cameras)} cameras of 10 frames per second in one "
        f"`afterview watch` with the built-in model, on {begin.get('cores', '?')} cores; {date}, "
        f"commit {begin.get('commit', '?')}, seed {begin.get('seed', '?')}.{_stalls(run)}"
    )


def _stalls(run: Run) -> str:
    """What the machine did to the cameras."""
    stalls = [event["seconds"] for event in run.of("stall")]
    if not stalls:
        return ""
    return f" The machine let the cameras stand still {len(stalls)} times, for {max(stalls):.1f} s at most; gaps of that time are true."


def _tables(run: Run) -> Iterator[str]:
    yield _cameras(run).markdown()
    yield _faults(run).markdown()
    if run.samples:
        yield _process(run).markdown()


def _cameras(run: Run) -> Table:
    table = Table(
        "Cameras",
        ["camera", "frames", "gaps", "frames + gaps (% of span)", "single slots empty", "faults", "most ahead (s)",
         "lag p50 / p99 (s)", "dropped", "clock states", "dated by"],
        "Lag: from arrival to durable. Single slots empty: less than 2.5 slots between two frames, which is no gap.",
    )  # fmt: skip
    for camera in run.cameras:
        gaps = "; ".join(
            f"{number} {reason} ({seconds:.0f} s)" for reason, (number, seconds) in gap_counts(camera).items()
        )
        lags = f"{np.percentile(camera.lags, 50):.2f} / {np.percentile(camera.lags, 99):.2f}" if camera.lags else "-"
        faults = f"{len(camera.faults)} ({sum(fault.end - fault.start for fault in camera.faults):.0f} s)"
        last = run.samples[-1]["cameras"].get(camera.name, {}) if run.samples else {}
        clocks = [event for event in run.of("state") if event["camera"] == camera.name and event["clock"]]
        bases = ", ".join(f"{name} {count}" for name, count in camera.event.get("bases", {}).items())
        ahead = camera.event.get("ahead_s")
        table.add(
            camera.name, len(camera.times), gaps or "none", covered(camera), camera.short_holes, faults,
            "-" if ahead is None else f"{ahead:.2f}", lags, last.get("dropped", "-"), len(clocks), bases or "-",
        )  # fmt: skip
    return table


def covered(camera: Camera) -> str:
    """Share of the span that frames (a slot each) and gaps fill."""
    if len(camera.times) < 2:
        return "-"
    span = camera.times[-1] - camera.times[0]
    inside = sum(end - start for start, end, _ in camera.gaps if end is not None)
    steps = np.diff(camera.times)
    filled = inside + float(np.minimum(steps, 1.5)[steps <= 2.5].sum())
    return f"{100 * filled / span:.1f}"


def _faults(run: Run) -> Table:
    table = Table(
        "Faults",
        ["fault", "times", "seconds", "longest until a frame after it (s)", "allowed (s)", "gaps it may cause", "named", "for example"],
    )  # fmt: skip
    faults = [fault for camera in run.cameras for fault in camera.faults]
    for name in [name for name in EXPECTED if any(fault.name == name for fault in faults)]:
        own = [fault for fault in faults if fault.name == name]
        expected = own[0].expected
        recovered = [fault.recovered_s for fault in own if fault.recovered_s is not None]
        asked = [fault.said for fault in own if fault.said != ""]
        said = next((text for text in asked if text), "-").replace("|", "/")
        table.add(
            name, len(own), f"{sum(fault.end - fault.start for fault in own):.0f}",
            f"{max(recovered):.1f}" if recovered else "never", f"{expected.recovery_s:g}",
            ", ".join(sorted(expected.reasons)) or "none",
            f"{sum(text is not None for text in asked)} of {len(asked)}" if asked else "need not be", said[:_LONGEST_SAID],
        )  # fmt: skip
    return table


def _process(run: Run) -> Table:
    levels = {event["when"]: event for event in run.of("level")}
    table = Table(
        "The process",
        ["what", "before", "settled", "at the end", "growth per hour", "allowed", "after the stop"],
        "Before: after one camera was recorded for a moment, which loads the model. After the stop: in the same process. "
        "Growth: over the second half of the run.",
    )
    settled = int(np.searchsorted(run.seconds, min(1200.0, run.seconds[-1] / 2)))
    for name, (most, what) in GROWTH.items():
        values = run.column(name)
        table.add(
            what, _level(levels, "before", name), float(np.median(values[settled : settled + 6])),
            float(np.median(values[-6:])), f"{growth_per_hour(run, name):.2f}", f"{most:g}", _level(levels, "after", name),
        )  # fmt: skip
    cpu, load = _cpu(run), run.column("load")
    table.add("cores used", "-", "-", f"{np.mean(cpu):.2f} on average", "-", "-", "-")
    table.add("load average", "-", "-", f"{np.mean(load):.2f}, {max(load):.2f} at most", "-", "-", "-")
    return table


def _level(levels: dict[str, dict[str, float]], when: str, name: str) -> str:
    return f"{levels[when][name]:g}" if when in levels else "-"


def _cpu(run: Run) -> np.ndarray:
    """Cores that the process used between two samples."""
    seconds = np.maximum(np.diff(run.seconds, prepend=run.seconds[0] - 10.0), 1e-3)
    used = run.column("cpu_s")
    return np.diff(used, prepend=used[0]) / seconds


def _lags(run: Run) -> tuple[list[float], list[float], list[float]]:
    """Minutes, and p50 and p99 of the lag of all cameras in each minute."""
    buckets: dict[int, list[float]] = {}
    for sample in run.samples:
        values = [lag for lags in sample["lags"].values() for lag in lags]
        buckets.setdefault(int((sample["t"] - run.start) // _BUCKET_S), []).extend(values)
    kept = {place: values for place, values in sorted(buckets.items()) if values}
    minutes = [(place + 0.5) * _BUCKET_S / 60 for place in kept]
    return (
        minutes,
        [float(np.percentile(v, 50)) for v in kept.values()],
        [float(np.percentile(v, 99)) for v in kept.values()],
    )
