"""What `watch` and `replay` show meanwhile: one live line per camera on a terminal, elsewhere a line now and then; and changes of state."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Sequence

from afterview.cli.output.documents import printable
from afterview.cli.progress import LiveLines, cells, pad
from afterview.configs import AfterviewError
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import counted
from afterview.memory.base.typed_times import spell_duration
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.status import CameraStatus
from afterview.stream.ingest.upload import UploadProgress

RATE_S = 10.0  # seconds that a rate is taken over
REDRAW_S = 1.0  # of live lines
FIRST_LINE_S, MOST_LINE_S = (
    5.0,
    60.0,
)  # between lines where there is no terminal: twice as long each time, for logs that run for months
_SHOWN_BY_LINES = (
    "offline",
    "starting",
)  # states whose details change with every try to connect: the live line shows them

_LOGGER = logging.getLogger(__name__)


class Meter:
    """Rate and lag of one camera, from counts of its frames. Times are monotonic seconds."""

    def __init__(self, fps: float, now: float, *, sync_every_s: float = 0.0) -> None:
        self._expected_s = 2 / fps + sync_every_s + 2 * REDRAW_S  # between two new counts, at most
        self._counts: deque[tuple[float, int]] = deque([(now, 0)])  # of the last RATE_S, and the one before
        self._changed = now

    def observe(self, recorded: int, now: float) -> None:
        """So many frames have been recorded by now."""
        if recorded != self._counts[-1][1]:
            self._changed = now
        self._counts.append((now, recorded))
        while self._counts[1][0] <= now - RATE_S:
            self._counts.popleft()

    def rate(self) -> float:
        """Frames per second in the last RATE_S, or since the beginning."""
        (begin, before), (end, after) = self._counts[0], self._counts[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    def lag_s(self, latest_s: float) -> float:
        """How far the memory is behind its source: the lag of the newest frame, or the time without one if the next is overdue."""
        quiet = self._counts[-1][0] - self._changed
        overdue = quiet > self._expected_s
        return max(quiet, 0.0 if math.isnan(latest_s) else latest_s) if overdue else latest_s


class RecordingView:
    """Shows the cameras of one recording. `changed` may be called from any thread; the rest belongs to the event loop."""

    def __init__(self, live: LiveLines | None, *, several: bool) -> None:
        """live: the terminal's live lines; None: lines of the log. several: there are other cameras, which a failure does not end."""
        self._live, self._several = live, several
        self._meters: dict[CameraIngest, Meter] = {}
        self._said: dict[str, str] = {}  # the last state of each camera

    def add(self, ingest: CameraIngest) -> None:
        """Show this camera from now on."""
        config = ingest.config
        self._meters[ingest] = Meter(config.fps, time.monotonic(), sync_every_s=config.sync_every_s)
        self._draw()

    def changed(self, ingest: CameraIngest) -> None:
        """Its state has changed."""
        status = ingest.status()
        before, self._said[status.camera] = self._said.get(status.camera), status.state
        if self._live is not None and before == status.state in _SHOWN_BY_LINES:
            return
        if self._several and status.state == "failed" and ingest.failure is not None:
            _LOGGER.error("%s: failed: %s", status.camera, describe_failure(ingest.failure), exc_info=ingest.failure)
            return
        details = "; ".join(filter(None, (status.detail, describe_waiting(status.upload, ingest.repository.info))))
        _LOGGER.info("%s: %s%s", status.camera, status.state, f" ({details})" if details else "")

    def resumed(self) -> None:
        """The process was stopped (Ctrl-Z), and goes on: the shell has written below the live lines."""
        if self._live is not None:
            self._live.start_anew()

    async def keep_showing(self) -> None:
        """Until it is cancelled."""
        every = REDRAW_S if self._live is not None else FIRST_LINE_S
        due = time.monotonic() + every
        while True:
            await asyncio.sleep(REDRAW_S)
            now = time.monotonic()
            for ingest, meter in self._meters.items():
                meter.observe(ingest.stats.recorded, now)
            if self._live is not None:
                self._draw()
            elif now >= due:
                every = min(2 * every, MOST_LINE_S)
                due = now + every
                for ingest, meter in self._meters.items():
                    self._log(ingest, meter)

    def _draw(self) -> None:
        if self._live is not None:
            rows = [(ingest, ingest.status(), meter) for ingest, meter in self._meters.items()]
            self._live.show(lambda columns: live_rows(rows, columns))

    def _log(self, ingest: CameraIngest, meter: Meter) -> None:
        status, info = ingest.status(), ingest.repository.info
        if status.state in ("ended", "failed"):
            return
        newest = f", newest {info.show_clock(status.last_time)}" if status.recorded and status.last_time else ""
        lag = _lag(status, meter)
        parts = [
            f"{status.camera}: {status.state}, {counted(status.recorded, 'frame')}{newest}, {meter.rate():.1f}/s",
            f"lag {lag}" if lag != "-" else "",
            f"{status.dropped} dropped" if status.dropped else "",
            status.progress,
            f"{status.pictures_damaged} with a damaged picture" if status.pictures_damaged else "",
            f"{status.features_reused} with reused features" if status.features_reused else "",
        ]
        waiting = describe_waiting(status.upload, info)
        _LOGGER.info("%s", ", ".join(filter(None, parts)) + (f"; {waiting}" if waiting else ""))


def live_rows(rows: Sequence[tuple[CameraIngest, CameraStatus, Meter]], columns: int) -> list[str]:
    """A line per camera, columns aligned: name, state, rate, lag, drops, frames of this session, and what is the matter."""
    table = []
    for ingest, status, meter in rows:
        info = ingest.repository.info
        known = status.detail if status.state not in ("online", "ended") else ""
        clock = status.clock.partition(":")[0] if status.clock else None
        damaged = f"{status.pictures_damaged} with a damaged picture" if status.pictures_damaged else None
        waiting = describe_waiting(status.upload, info)
        reused = f"{status.features_reused} with reused features" if status.features_reused else None
        problems = (status.cause, status.progress, known, clock, damaged, reused, waiting)
        matter = "; ".join(problem.removeprefix(f"{ingest.config.address}: ") for problem in problems if problem)
        figures = [
            f"{meter.rate():.1f}/s",
            f"lag {_lag(status, meter)}",
            f"{status.dropped} dropped",
            counted(status.recorded, "frame"),
        ]
        table.append([_one_line(info.name), status.state, *figures, _one_line(matter)])
    widths = [max(map(cells, column), default=0) for column in zip(*table, strict=True)]
    if widths:
        widths[0] = min(widths[0], max(8, columns // 4))
    lines = []
    for name, state, *figures, matter in table:
        padded = [pad(name, widths[0]), pad(state, widths[1])]
        padded += [figure.rjust(width) for figure, width in zip(figures, widths[2:-1], strict=True)]
        lines.append("  ".join([*padded, matter]).rstrip())
    return lines


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _lag(status: CameraStatus, meter: Meter) -> str:
    lag = meter.lag_s(status.lag_s)
    return "-" if math.isnan(lag) or status.state in ("paused", "ended", "failed") else spell_duration(lag)


def describe_failure(error: BaseException) -> str:
    """An error in one line; that of a bug has its type."""
    text = (str(error).splitlines() or [""])[0]
    return text if isinstance(error, AfterviewError) else f"{type(error).__name__}: {text} (this is a bug)"


def describe_waiting(upload: UploadProgress | None, info: CameraInfo) -> str:
    """What is not on the memory's store yet, and why; empty if everything is."""
    if upload is None or not (upload.seals or upload.silent_since):
        return ""
    waiting = f"{counted(upload.seals, 'seal')} ({upload.bytes / 1e6:.1f} MB) wait for the store"
    if upload.silent_since is None:
        return waiting
    return f"{waiting}; store unavailable since {info.show_clock(upload.silent_since)} ({upload.why})"
