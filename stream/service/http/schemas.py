"""Requests and responses of the API, for its OpenAPI document. Requests are strict. Responses may get further keys in later versions."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from afterview.stream.ask.answerer import LONGEST_QUESTION
from afterview.stream.ask.subtitles import LONGEST_SENT
from afterview.stream.ingest.status import State
from afterview.stream.service.jobs import JobKind, JobState

LARGEST_SEED = 2**63 - 1


def whole_text(text: str) -> str:
    """Raises ValueError for a text that cannot be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no text") from None
    return text


def _finite(value: float | str) -> float | str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Text = Annotated[str, AfterValidator(whole_text)]
TimeValue = Annotated[
    float | Annotated[str, Field(max_length=100)],
    AfterValidator(_finite),
    Field(
        description='Unix seconds, or a text such as "yesterday 14:00" in the camera\'s zone.',
        examples=["10 minutes ago"],
    ),
]
DurationValue = Annotated[
    float | Annotated[str, Field(max_length=100)],
    AfterValidator(_finite),
    Field(description='Seconds, or a text such as "2h".', examples=["2h"]),
]


SubtitleText = Annotated[
    Text,
    Field(
        min_length=1, max_length=LONGEST_SENT,
        description="The text of a file of subtitles (.srt, .vtt, or the JSON of LongVideoBench), which the model reads up to the moment "
        "asked. 0:00 is the first frame of the camera, so name one. Never a path.",
        examples=["1\n00:00:01,000 --> 00:00:02,500\nHello\n"],
    ),
]  # fmt: skip


class Request(BaseModel):
    """Base of requests: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Response(BaseModel):
    """Base of responses."""

    model_config = ConfigDict(extra="allow")


class AskRequest(Request):
    """A question. Without cameras, those whose frames are the most similar to it are asked; without a span, everything remembered."""

    question: Text = Field(min_length=1, max_length=LONGEST_QUESTION, examples=["Did you see a red ring?"])
    cameras: list[Text] = Field(default=[], max_length=64, description="Names or ids.")
    start: TimeValue | None = Field(default=None, description="Ignore frames before this time.")
    at: TimeValue | None = Field(default=None, description="Answer as of this time: ignore all later frames.")
    last: DurationValue | None = Field(
        default=None, description="Ignore frames that are older than this, instead of start."
    )
    follows: Text | None = Field(
        default=None,
        max_length=64,
        description="Id of an earlier answer, whose cameras and span count unless others are given.",
    )
    stream: bool = Field(default=False, description="Answer as server-sent events, like Accept: text/event-stream.")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    evidence: int = Field(default=8, ge=0, le=256, description="Evidence frames per camera, at most.")
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    repetition_penalty: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=1, le=100_000)
    stop: list[Text] | None = Field(default=None, max_length=16, description="Texts that end the answer.")
    subtitles: SubtitleText | None = None


class SearchRequest(Request):
    """A text to search for."""

    text: Text = Field(min_length=1, max_length=LONGEST_QUESTION, examples=["a red ring"])
    cameras: list[Text] = Field(default=[], max_length=64, description="Names or ids; none: all.")
    start: TimeValue | None = None
    at: TimeValue | None = None
    last: DurationValue | None = None
    top: int = Field(default=10, ge=1, le=1000, description="Hits, at most.")
    as_is: bool = Field(default=False, description="Ask the index the text itself, not a caption made of a question.")


class SpanRequest(Request):
    """A span of a camera."""

    start: TimeValue
    end: TimeValue


class ForgetRequest(SpanRequest):
    """A span to delete. Nobody is asked again."""

    dry_run: bool = Field(default=False, description="Only say what would be deleted.")


class KeepRequest(Request):
    """A span that retention never evicts; or `clear`: no span is kept any more."""

    start: TimeValue | None = None
    end: TimeValue | None = None
    clear: bool = False


class PauseRequest(Request):
    """Whether the camera is paused."""

    paused: bool


class MaskRequest(Request):
    """All privacy masks of the camera, instead of the present ones; none: the whole picture is recorded."""

    masks: list[list[tuple[float, float]]] = Field(
        max_length=100, description="Polygons of at least three corners (x, y), fractions of the picture.",
        examples=[[[[0.8, 0], [1, 0], [1, 1]]]],
    )  # fmt: skip


class RetainRequest(Request):
    """Limits; null removes one, and what is left out stays."""

    days: float | None = Field(default=None, gt=0, le=36_500)
    gigabytes: float | None = Field(default=None, gt=0, le=1e9)
    coarse_days: float | None = Field(default=None, gt=0, le=36_500)
    dry_run: bool = Field(default=False, description="Only say what would be evicted.")


class ExportRequest(Request):
    """A span to write as one file; open sides: everything."""

    start: TimeValue | None = None
    end: TimeValue | None = None


class ErrorBody(Response):
    """What went wrong. kind: a word for programs. message: for people, with the remedy."""

    kind: str = Field(examples=["memory_not_found"])
    message: str


class ErrorDocument(Response):
    """Every error of the API."""

    error: ErrorBody


class GapDocument(Response):
    """A time without frames. end: null while it lasts."""

    start: float
    end: float | None
    seconds: float | None
    reason: str = Field(examples=["lost"])


class CameraDocument(Response):
    """A camera and how its recording goes."""

    camera: str = Field(description="Id.")
    name: str
    state: State | Literal["not recorded"]
    detail: str = Field(description="Why, for people.")
    source: str | None = Field(
        description="Address without secrets; null for a camera that the service does not record."
    )
    origin: Literal["configuration", "api"] | None
    recorded: int = Field(description="Frames made durable since the camera was started.")
    dropped: int
    reconnects: int
    last_time: float | None = Field(description="Unix seconds of the newest frame.")
    lag_s: float | None = Field(description="From its arrival until it was durable.")


class CameraDetails(CameraDocument):
    """A camera, and what is remembered of it."""

    memory: dict[str, Any] | None = Field(
        description="As `afterview info --json` prints it; null before the first frame."
    )


class CameraList(Response):
    """All cameras. skipped: those that cannot be read, and why."""

    cameras: list[CameraDocument]
    skipped: dict[str, str]


class HitDocument(Response):
    """A frame that was found."""

    camera: str
    frame: int
    time: float
    time_iso: str
    score: float
    image: str | None


class SearchDocument(Response):
    """Hits, best first."""

    id: str
    text: str
    hits: list[HitDocument]
    exact: bool
    skipped: dict[str, str]
    stale: dict[str, str]
    notes: list[str]


class SavedAnswer(Response):
    """A saved answer or search."""

    id: str
    saved: float
    bytes: int


class SavedAnswers(Response):
    """The saved answers, newest first."""

    answers: list[SavedAnswer]


class FrameDocument(Response):
    """A remembered frame."""

    camera: str
    frame: int
    time: float
    time_iso: str
    picture_damaged: bool
    image: str


class FrameList(Response):
    """Frames of a span, evenly spaced. notes: what a user should know of the choice."""

    camera: str
    frames: list[FrameDocument]
    notes: list[str]


class CoverageSpan(Response):
    """A span with frames."""

    start: float
    end: float
    frames: int


class TimelineDocument(Response):
    """What there is of a camera over a span."""

    camera: str
    frames: int
    first_time: float | None
    last_time: float | None
    coverage: list[CoverageSpan]
    gaps: list[GapDocument]
    no_longer_remembered: list[dict[str, Any]]
    evidence: list[dict[str, Any]] = Field(description="Evidence frames of the newest saved answers.")
    left_out: dict[str, int]


class JobDocument(Response):
    """A change of a memory."""

    id: str
    kind: JobKind
    camera: str | None = Field(description="Null: the whole memory.")
    state: JobState
    created: float
    ended: float | None
    progress: dict[str, int] | None
    result: dict[str, Any] | None
    error: ErrorBody | None


class JobList(Response):
    """Jobs, newest first."""

    jobs: list[JobDocument]


class ServiceDocument(Response):
    """The service itself."""

    version: str
    began: float
    model: dict[str, str] = Field(description="`state`, `detail` (why, for people); once it is loaded also `name`.")
    questions: dict[str, int]
    cameras: int


class Ready(Response):
    """Whether the service can do its work."""

    status: Literal["ready", "degraded", "not ready"]
    model: dict[str, str]
    disk: dict[str, Any]
    cameras: dict[str, int]
    lag_s: dict[str, float | None]
    notes: list[str]


class Live(Response):
    """The process answers."""

    status: Literal["live"]
