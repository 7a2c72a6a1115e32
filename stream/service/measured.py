"""Numbers of the running service for `/metrics`, as Prometheus reads them. Names: `afterview_`, base units, `_total` for counters."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from afterview.stream.ask.question import Answer

BUCKETS = (0.1, 0.2, 0.33, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds
_EVERY_S = 0.1

Values = Sequence[tuple[Mapping[str, str], float | None]]  # each with its labels
Metric = tuple[str, str, str, Values]  # name without `afterview_`, kind, help, values


class Door(Protocol):
    """A way into the service that has a state of its own."""

    def metrics(self) -> Iterable[Metric]:
        """Its numbers."""
        ...

    def notes(self) -> list[str]:
        """What does not work, in sentences."""
        ...


class Histogram:
    """Counts of values up to each bound."""

    def __init__(self) -> None:
        self._counts, self._sum = Counter[float](), 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[next((bound for bound in BUCKETS if value <= bound), math.inf)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """As Prometheus reads it."""
        lines, total = [], 0
        for bound in (*BUCKETS, math.inf):
            total += self._counts[bound]
            lines.append(f'{name}_bucket{{le="{"+Inf" if bound == math.inf else f"{bound:g}"}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Measured:
    """Counters of questions and of what came with them, and how late the event loop is. doors: those that have numbers of their own.

    Belongs to the event loop.
    """

    def __init__(self) -> None:
        self.answer, self.first_token = Histogram(), Histogram()
        self.questions: Counter[str] = Counter()
        self.given: Counter[str] = Counter()  # sets of pictures and videos, by outcome
        self.doors: list[Door] = []
        self._late: deque[float] = deque(maxlen=600)  # a minute

    def answered(self, seconds: float, answer: Answer) -> None:
        """A question was answered in so many seconds."""
        self.questions["declined" if answer.declined else "answered"] += 1
        self.answer.add(seconds)
        first = [part.timing["first_token_s"] for part in answer.parts if "first_token_s" in part.timing]
        if first:
            self.first_token.add(min(first))

    async def watch_loop(self) -> None:
        """Measure how late the loop wakes up, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self._late.append(max(0.0, loop.time() - due))

    @property
    def loop_lag_s(self) -> float:
        """p99 of the latest minute, seconds."""
        late = sorted(self._late)
        return late[min(len(late) - 1, int(0.99 * len(late)))] if late else 0.0


def exposition(
    cameras: Sequence[Mapping[str, Any]],
    usage: Mapping[str, tuple[int, float | None]],
    measured: Measured | None,
    *,
    model_ready: bool,
    waiting: int,
    refused: int,
    tasks: int,
    audit_lost: int = 0,
) -> str:
    """All metrics. cameras: as ServedCamera.to_dict. usage: bytes and time of the oldest frame, by camera. measured: None leaves out what
    is counted of all users together. tasks: of the event loop."""
    lines: list[str] = []

    def add(name: str, kind: str, text: str, values: Iterable[tuple[Mapping[str, str], float | None]]) -> None:
        lines.extend((f"# HELP afterview_{name} {text}", f"# TYPE afterview_{name} {kind}"))
        lines.extend(f"afterview_{name}{_labels(labels)} {value}" for labels, value in values if value is not None)

    def each(key: str) -> list[tuple[Mapping[str, str], float | None]]:
        return [({"camera": camera["camera"]}, camera.get(key)) for camera in cameras]

    add("camera_up", "gauge", "1 while the camera's source delivers.",
        [({"camera": one["camera"]}, int(one["state"] == "online")) for one in cameras])  # fmt: skip
    add("camera_last_frame_timestamp_seconds", "gauge", "Unix time of the newest frame.", each("last_time"))
    add("camera_reconnects_total", "counter", "Connections after the first one.", each("reconnects"))
    add("frames_recorded_total", "counter", "Frames made durable since the camera was started.", each("recorded"))
    add("frames_features_reused_total", "counter", "Frames with the features of one before.", each("features_reused"))
    add("frames_dropped_total", "counter", "Frames dropped since the camera was started; the record has gaps with the reason.",
        [({"camera": one["camera"], "reason": "queue full"}, one.get("dropped", 0)) for one in cameras])  # fmt: skip
    add("feature_lag_seconds", "gauge", "From the newest frame's arrival until it was durable.", each("lag_s"))
    add("memory_bytes", "gauge", "Of the camera on this machine.",
        [({"camera": name}, size) for name, (size, _) in usage.items()])  # fmt: skip
    add("memory_oldest_timestamp_seconds", "gauge", "Unix time of the oldest frame.",
        [({"camera": name}, oldest) for name, (_, oldest) in usage.items()])  # fmt: skip
    add("model_ready", "gauge", "1 once the model is loaded.", [({}, int(model_ready))])
    if measured is None:
        return "\n".join(lines) + "\n"
    add("audit_lines_lost_total", "counter", "Lines of the audit that could not be written.", [({}, audit_lost)])
    add("questions_total", "counter", "Questions by outcome.",
        [({"outcome": outcome}, count) for outcome, count in sorted(measured.questions.items())])  # fmt: skip
    add("given_media_total", "counter", "Sets of pictures and videos that came with questions, by outcome.",
        [({"outcome": outcome}, count) for outcome, count in sorted(measured.given.items())])  # fmt: skip
    add("questions_refused_total", "counter", "Questions that found the queue full.", [({}, refused)])
    add("questions_waiting", "gauge", "Questions in the queue.", [({}, waiting)])
    for door in measured.doors:
        for name, kind, text, values in door.metrics():
            add(name, kind, text, values)
    add("loop_lag_seconds", "gauge", "p99 of the last minute.", [({}, round(measured.loop_lag_s, 6))])
    add("tasks", "gauge", "asyncio tasks that are not done; many that stay are a leak.", [({}, tasks)])
    for name, text, histogram in (
        ("answer_duration_seconds", "From the turn of a question until its answer.", measured.answer),
        ("first_token_seconds", "From the turn of a question until its first token.", measured.first_token),
    ):
        lines += [f"# HELP afterview_{name} {text}", f"# TYPE afterview_{name} histogram"]
        lines += histogram.lines(f"afterview_{name}")
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = {
        name: text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, text in labels.items()
    }
    return "{" + ",".join(f'{name}="{text}"' for name, text in escaped.items()) + "}"
