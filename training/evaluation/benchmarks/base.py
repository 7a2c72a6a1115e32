"""What a benchmark is, and the items that its reader finds. Values only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from afterview.stream.ask.subtitles import Subtitle

Kind = Literal["offline", "online"]
Scoring = Literal["letter", "likelihood"]
_EXAMPLES: Final = 5  # of each problem that are named


class Problems:
    """What is wrong with the rows of a benchmark: counted by kind, the first few of each named."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count one, or several of one example."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        named = self._found.setdefault(kind, [])
        if len(named) < _EXAMPLES:
            named.append(example[:200])

    def to_dicts(self) -> list[dict[str, Any]]:
        """JSON-able, most frequent first."""
        order = sorted(self._counts, key=lambda kind: -self._counts[kind])
        return [{"kind": kind, "count": self._counts[kind], "examples": self._found[kind]} for kind in order]

    def __getitem__(self, kind: str) -> int:
        return self._counts.get(kind, 0)

    def __bool__(self) -> bool:
        return bool(self._counts)


@dataclass(frozen=True)
class Standing:
    """A proactive task as a standing question. Times in seconds.

    check: asked at every frame from set_s to until_s, to be answered yes or no. truths: spans, ascending; each should raise one alarm, best
    at its beginning. output: asked at the first alarm; empty: nothing is.
    """

    check: str
    set_s: float
    until_s: float
    truths: tuple[tuple[float, float], ...]
    output: str = ""


@dataclass(frozen=True)
class Item:
    """One question about one video.

    video: its file. question: what is asked, without options and instructions; frames are recalled by it. prompt: the whole text as
    published. options: by letter (or by name, such as `Option 1`); none for an open question. truth: a key of options, or a text.
    subtitles: seconds from the video's beginning. start_s, end_s: the part of the video that is asked about.

    Online: at_s is when it is asked; polls: moments at which it is asked again until the answer is yes; then `prompt` is asked. standing:
    it is watched for instead, or as well.
    """

    id: str
    video: Path
    question: str
    prompt: str
    options: Mapping[str, str] = field(default_factory=dict)
    truth: str = ""
    groups: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    unit: str = ""
    unit_size: int = 0
    subtitles: tuple[Subtitle, ...] = ()
    start_s: float | None = None
    end_s: float | None = None
    at_s: float | None = None
    polls: tuple[float, ...] = ()
    poll_prompt: str = ""
    standing: Standing | None = None
    truth_s: tuple[float, float] | None = None  # a span of time that is the truth
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Options:
    """How a benchmark is read. subtitles: with them, where it has any. split: which of several sets; empty: all."""

    subtitles: bool = False
    split: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"subtitles": self.subtitles, "split": self.split}


@dataclass(frozen=True)
class Reading:
    """The items of a data directory. files: what was read, for the fingerprint. missing: files that are not there."""

    items: tuple[Item, ...]
    problems: Problems
    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()


Score = Callable[[Item, str], Mapping[str, float]]
Answers = Callable[
    [Sequence[Item], Mapping[str, str]], Mapping[str, Any]
]  # items, answers by id -> JSON by name of a file


@dataclass(frozen=True)
class Benchmark:
    """A benchmark. needs: what lies in its data directory. download: where that is from. source: where its format was read.

    splits: sets that `Options.split` may name. subtitles: whether it has any. by_time: they stand at their times, as published. span: asked
    for a span of time, answered from text and from evidence. judge: a part that only a judge model scores, and what is scored here instead.
    likelihood: whether letters can be weighed. answers: files that such a judge reads.
    """

    name: str
    title: str
    kind: Kind
    needs: tuple[str, ...]
    download: str
    source: str
    read: Callable[[Path, Options], Reading]
    score: Score
    splits: tuple[str, ...] = ()
    subtitles: bool = False
    by_time: bool = False
    span: bool = False
    likelihood: bool = True
    judge: str = ""
    answers: Answers | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for `evaluate list`."""
        return {
            "name": self.name, "title": self.title, "kind": self.kind, "needs": list(self.needs), "download": self.download,
            "source": self.source, "splits": list(self.splits), "subtitles": self.subtitles, "judge": self.judge or None,
        }  # fmt: skip


@dataclass(frozen=True)
class Absent:
    """A benchmark that cannot be run here, and why."""

    name: str
    title: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"name": self.name, "title": self.title, "why": self.why}
