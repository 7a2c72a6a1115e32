"""A question, and the answer with what proves it: values alone."""

from dataclasses import dataclass, field
from typing import Literal

from afterview.memory.base.records import Gap
from afterview.memory.plans.removal import Removal

Search = Literal["none", "exact", "approximate"]  # what the index did for bounded recall; full recall asks no index


@dataclass(frozen=True)
class Question:
    """What is asked, of which cameras (none named: all), about which span. Times are Unix seconds; None leaves a side open."""

    text: str
    cameras: tuple[str, ...] = ()
    start: float | None = None
    at: float | None = None
    last_s: float | None = None  # seconds before `at` (or now); instead of start
    seed: int = 0
    evidence: int = 8  # frames named as evidence, at most
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Evidence:
    """A frame that MemAug rested on. weight: its share of the attention, all frames of its camera summing to 1."""

    camera: str
    frame: int
    time: float
    weight: float
    image: bytes = field(repr=False)  # JPEG


@dataclass(frozen=True)
class Coverage:
    """What the answer could know: the frames of the span, the gaps in it, and how far its newest frame lies behind.

    removed: parts of the span that are no longer remembered. damaged: frames of it that could not be read. unreachable: frames that lie
    on a store that did not answer. time_basis: how many frames have their time from which clock (memory.base.records.TimeBasis). search: what
    the index did for bounded recall; while it is exact, asking again as of the same moment recalls the same frames, however much was
    recorded since.
    """

    camera: str
    frames: int
    first_time: float
    last_time: float
    gaps: tuple[Gap, ...]
    removed: tuple[Removal, ...]
    damaged: int
    lag_s: float
    time_basis: dict[str, int]
    recall: str
    search: Search
    positions: str
    recalled: int
    visible: int
    unreachable: int = 0


@dataclass(frozen=True)
class CameraAnswer:
    """One camera's answer, and why this camera was asked. timing: seconds since the question came, the other cameras' work included."""

    text: str
    why: str
    evidence: tuple[Evidence, ...]
    coverage: Coverage
    provenance: dict[str, object]
    timing: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """The answer to a question: one camera's, or several merged. `skipped` says which cameras were not asked, or could not be, and why."""

    id: str
    question: str
    text: str
    parts: tuple[CameraAnswer, ...]
    notice: str | None
    skipped: dict[str, str]
    total_s: float

    @property
    def evidence(self) -> list[Evidence]:
        """Evidence of all cameras, heaviest first."""
        return sorted((item for part in self.parts for item in part.evidence), key=lambda item: -item.weight)
