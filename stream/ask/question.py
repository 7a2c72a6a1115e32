"""A question, and the answer with its evidence: values only. `to_dict` gives JSON, with the names that the command line prints."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from afterview.stream.ask.options import without_options
from afterview.stream.ask.subtitles import Subtitle

if TYPE_CHECKING:  # a question alone needs no NumPy
    from afterview.memory.base.records import Gap
    from afterview.memory.plans.removal import Removal

# How the index searched for bounded recall; full recall needs no index.
Search = Literal["none", "exact", "approximate"]

# What the evidence of an answer is: MemAug's cross-attention; the decoder's attention to clips; what the index found (also where recall and
# index chose the frames that a model of the user's own was sent); none, of a model without MemAug.
EvidenceKind = Literal["memaug", "decoder", "index", "none"]


@dataclass(frozen=True)
class Question:
    """A question to some cameras (none named: all) about a span. Times are Unix seconds; None leaves a side open."""

    text: str
    cameras: tuple[str, ...] = ()
    start: float | None = None
    at: float | None = None
    last_s: float | None = None  # seconds before `at` (or now); instead of start
    seed: int = 0
    evidence: int = 8  # frames named as evidence, at most
    # How the answer is generated; None: as the model does. The rules are those of model.base.generation.
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    # Further text of the recording, in Unix time: the model reads what had begun by the end of the span.
    subtitles: tuple[Subtitle, ...] = ()
    subtitles_unreadable: int = 0  # entries of their file that are no lines with times
    recall_text: str = ""  # what frames are recalled by; empty: see `sought`
    subtitles_by_time: bool = (
        False  # between the clips that a decoder reads, or each with its time (stream.ask.subtitle_places)
    )
    options: Mapping[str, str] = field(default_factory=dict, hash=False)  # by letter; none: those that the text lists

    @property
    def sought(self) -> str:
        """The text by which frames are recalled: of a question with lettered options, what stands before them."""
        return self.recall_text or without_options(self.text)

    @property
    def asked(self) -> str:
        """The part of the text that says what to find: what frames are recalled by; if that is no part of it, all before the options."""
        recall = self.recall_text.strip()
        return recall if recall and recall in self.text else without_options(self.text).strip()

    @property
    def generation(self) -> dict[str, Any]:
        """The settings of generation that it changes; None where the model's own counts."""
        names = ("max_new_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "stop")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON. Of subtitles only their number, and only where there are any."""
        stop = None if self.stop is None else list(self.stop)
        values = {**asdict(replace(self, subtitles=())), "cameras": list(self.cameras), "stop": stop}
        del values["subtitles"], values["subtitles_unreadable"]
        if not self.recall_text:
            del values["recall_text"]
        if not self.subtitles_by_time:
            del values["subtitles_by_time"]
        if not self.options:
            del values["options"]
        return values | ({"subtitles": len(self.subtitles)} if self.subtitles else {})


@dataclass(frozen=True)
class Evidence:
    """A frame that the answer rests on; its kind (EvidenceKind) is that of the camera's answer.

    memaug: a frame that MemAug attended to. decoder: a frame of a clip that the decoder attended to, which stands for the clip. weight of
    both: its share of the attention; all frames of its camera sum to 1. index: a frame that the index found; weight: its cosine
    similarity to the question, or, where a model of the user's own answered, the share of a frame among those that it cites.

    picture_damaged: parts of the picture were lost between camera and record.
    """

    camera: str
    frame: int
    time: float
    weight: float
    image: bytes = field(repr=False)  # JPEG
    picture_damaged: bool = False

    @property
    def shown_weight(self) -> float:
        """As JSON has it."""
        return round(self.weight, 6)

    def to_dict(self, image: str | None = None) -> dict[str, Any]:
        """The same as JSON. image: where the JPEG was saved."""
        return {
            "camera": self.camera,
            "frame": self.frame,
            "time": self.time,
            "weight": self.shown_weight,
            "picture_damaged": self.picture_damaged,
            "image": image,
        }


@dataclass(frozen=True)
class Coverage:
    """What the answer is based on: the frames of the span, the gaps in it, and the age of its newest frame.

    removed: parts of the span that are no longer remembered. damaged: frames that could not be read. unreachable: frames on a store that
    did not answer. in_no_whole_clip: frames of the span, of a memory of merged clips, whose clip is not whole in it. time_basis: number
    of frames by the clock that dated them (memory.base.records.TimeBasis). search: how the index searched for bounded recall; if exact,
    the same question as of the same moment recalls the same frames, whatever was recorded since.
    """

    camera: str
    frames: int
    first_time: float
    last_time: float
    gaps: "tuple[Gap, ...]"
    removed: "tuple[Removal, ...]"
    damaged: int
    lag_s: float
    time_basis: dict[str, int]
    recall: str
    search: Search
    positions: str
    recalled: int
    visible: int
    unreachable: int = 0
    unreachable_why: str = ""
    in_no_whole_clip: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "camera": self.camera,
            "frames": self.frames,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "gaps": [gap.to_dict() for gap in self.gaps],
            "no_longer_remembered": [gone.to_dict() for gone in self.removed],
            "damaged": self.damaged,
            "unreachable": self.unreachable,
            "unreachable_why": self.unreachable_why,
            "in_no_whole_clip": self.in_no_whole_clip,
            "lag_s": round(self.lag_s, 3),
            "time_basis": self.time_basis,
            "recall": self.recall,
            "search": self.search,
            "recalled": self.recalled,
            "visible": self.visible,
            "positions": self.positions,
        }


@dataclass(frozen=True)
class Tokens:
    """What one answer took. prompt: tokens of the model's input, with those of the video. answer: generated tokens.

    cut: the answer ended because it had as many tokens as were allowed.
    """

    prompt: int
    answer: int
    cut: bool = False


@dataclass(frozen=True)
class CameraAnswer:
    """One camera's answer, and why it was asked. timing: seconds since the question came, including the work for other cameras.

    tokens, evidence_kind: None for an answer that an earlier version saved.
    """

    text: str
    why: str
    evidence: tuple[Evidence, ...]
    coverage: Coverage
    provenance: dict[str, object]
    timing: dict[str, float]
    tokens: Tokens | None = None
    evidence_kind: EvidenceKind | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, without the evidence."""
        return {
            "camera": self.coverage.camera,
            "why": self.why,
            "answer": self.text,
            "coverage": self.coverage.to_dict(),
            "provenance": self.provenance,
            "timing": _rounded(self.timing),
            "tokens": None if self.tokens is None else asdict(self.tokens),
            "evidence_kind": self.evidence_kind,
        }


@dataclass(frozen=True)
class Answer:
    """The answer to a question, merged from one or several cameras. skipped: the other cameras, and why they do not answer.

    declined: the model does not know such questions (model.language.scope). Then `text` says what it knows, and no camera was asked.
    finds_only: the model finds frames and does not answer. Then `text` names the best frames, and says so.
    """

    id: str
    question: str
    text: str
    parts: tuple[CameraAnswer, ...]
    notice: str | None
    skipped: dict[str, str]
    total_s: float
    declined: bool = False
    finds_only: bool = False

    @property
    def evidence_kind(self) -> EvidenceKind | None:
        """Of all cameras: one model answered for each. None if the question was declined, or an earlier version saved the answer."""
        return next((part.evidence_kind for part in self.parts), None)

    @property
    def evidence(self) -> list[Evidence]:
        """Evidence of all cameras, heaviest first. Weights that are the same as JSON come in the order of the cameras, as they do when the
        saved answer is opened again."""
        return sorted((item for part in self.parts for item in part.evidence), key=lambda item: -item.shown_weight)

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What each camera's answer is based on, in the order of `parts`; none if the question was declined."""
        return tuple(part.coverage for part in self.parts)

    def to_dict(self, images: Mapping[tuple[str, int], str] | None = None) -> dict[str, Any]:
        """The same as JSON: the document that `afterview ask --json` prints. images: where the evidence was saved, by camera and frame.

        `coverage` and `provenance` are the first camera's, or null if the question was declined; `cameras` has those of every camera
        that was asked.
        """
        first, saved = next(iter(self.parts), None), images or {}
        return {
            "id": self.id,
            "question": self.question,
            "answer": self.text,
            "declined": self.declined,
            "finds_only": self.finds_only,
            "notice": self.notice,
            "evidence_kind": self.evidence_kind,
            "evidence": [item.to_dict(saved.get((item.camera, item.frame))) for item in self.evidence],
            "coverage": first.coverage.to_dict() if first else None,
            "provenance": first.provenance if first else None,
            "timing": _rounded({**(first.timing if first else {}), "total_s": self.total_s}),
            "cameras": [part.to_dict() for part in self.parts],
            "skipped": self.skipped,
        }


def _rounded(timing: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in timing.items()}
