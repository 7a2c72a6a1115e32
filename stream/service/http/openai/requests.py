"""What clients of OpenAI send: the shapes, and what of it is refused or left out. Clients send more than any document says, so unknown
keys are taken, and named in `afterview.warnings` of the answer."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from afterview.configs import UsageError
from afterview.stream.service.http.schemas import (
    LARGEST_SEED,
    DurationValue,
    Request,
    SubtitleText,
    Text,
    TimeValue,
    whole_text,
)
from afterview.stream.source.address.redact import printable

MOST_MESSAGES, MOST_STOPS = 1000, 16
_LINKS = ":links"
# Values that change nothing, so nothing needs to be said about them.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,), "frequency_penalty": (0,), "presence_penalty": (0,), "logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},),
    "store": (False,), "modalities": (["text"],), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],),
    "response_format": ({"type": "text"},), "text": ({"format": {"type": "text"}},), "background": (False,), "truncation": ("disabled",),
    "include": ([],), "parallel_tool_calls": (True, False), "service_tier": ("auto", "default"), "best_of": (1,), "echo": (False,),
}  # fmt: skip


def _text_or_parts(value: object) -> object:
    if isinstance(value, str):
        return whole_text(value)
    if value is not None and not isinstance(value, list):
        raise ValueError("must be a text or a list of parts")
    return value


def _texts(value: object) -> object:
    texts = [value] if isinstance(value, str) else value
    if texts is None:
        return None
    if (
        not isinstance(texts, list)
        or not all(isinstance(text, str) and text for text in texts)
        or len(texts) > MOST_STOPS
    ):
        raise ValueError(f"must be a text, or at most {MOST_STOPS} texts, none of them empty")
    return [whole_text(text) for text in texts] or None


_SHAPE: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}
_STOPS: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 16},
        {"type": "null"},
    ]
}  # fmt: skip
Words = Annotated[str, AfterValidator(whole_text)]
# One check instead of a union, whose errors name the branches of pydantic.
Content = Annotated[
    Any, BeforeValidator(_text_or_parts), WithJsonSchema({"anyOf": [*_SHAPE["anyOf"], {"type": "null"}]})
]
Input = Annotated[Any, BeforeValidator(_text_or_parts), WithJsonSchema(_SHAPE)]
Stops = Annotated[Any, BeforeValidator(_texts), WithJsonSchema(_STOPS)]


class AfterviewOptions(Request):
    """What only Afterview knows, as `extra_body={"afterview": {...}}` of the official client."""

    links: bool = Field(default=False, description="Name the evidence under the text, as numbered links.")
    evidence: int = Field(default=8, ge=0, le=256, description="Evidence frames per camera, at most.")
    cameras: list[Text] = Field(default=[], max_length=64, description="Names or ids.")
    start: TimeValue | None = None
    at: TimeValue | None = None
    last: DurationValue | None = None
    subtitles: SubtitleText | None = Field(
        default=None, description="As of POST /api/v1/ask; of a video that comes with the question, from its beginning."
    )


class Lenient(BaseModel):
    """Base of what may have unknown keys."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Message(Lenient):
    """One message. content: a text, or parts: text, image_url, video_url."""

    role: Words = Field(min_length=1, max_length=32, examples=["user"])
    content: Content = Field(default=None, examples=["Did you see a red ring?"])


class StreamOptions(Lenient):
    """include_usage: send a last chunk with the usage."""

    include_usage: bool | None = None


class Generation(Lenient):
    """What both kinds of requests have."""

    model: Words = Field(min_length=1, max_length=300, examples=["afterview"])
    stream: bool | None = Field(default=None, description="Answer as server-sent events.")
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100)
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED)
    afterview: AfterviewOptions | None = None

    @property
    def links(self) -> bool:
        """Whether the evidence is named in the text."""
        return self.model.endswith(_LINKS) or (self.afterview is not None and self.afterview.links)

    @property
    def model_name(self) -> str:
        """Without the suffix."""
        return self.model.removesuffix(_LINKS)

    def more(self, most_tokens: int | None, stop: Sequence[str] | None) -> dict[str, Any]:
        """How the answer is generated, as in Ask."""
        evidence = AfterviewOptions().evidence if self.afterview is None else self.afterview.evidence
        same = {name: getattr(self, name) for name in ("temperature", "top_p", "top_k", "repetition_penalty")}
        return {
            "seed": self.seed or 0,
            "evidence": evidence,
            "max_new_tokens": most_tokens,
            "stop": None if stop is None else tuple(stop),
            **same,
        }

    def unused(self) -> dict[str, Any]:
        """The keys that change nothing, with values that a client may expect to change something."""
        given = self.model_extra or {}
        return {
            name: value
            for name, value in given.items()
            if value is not None and not any(value == neutral for neutral in _NEUTRAL.get(name, ()))
        }


class ChatRequest(Generation):
    """A conversation, whose last message is the question. The keys that are not listed are named in `afterview.warnings`, or refused."""

    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=100_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=100_000)
    stop: Stops = Field(default=None, description="Texts that end the answer, 16 at most.")

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ResponsesRequest(Generation):
    """The question of a response, and what came before it. Nothing is kept, so the whole conversation comes each time."""

    input: Input = Field(
        description="A text, or messages as in `messages` of a chat.", examples=["Did you see a red ring?"]
    )
    instructions: Words | None = Field(default=None, description="As a system message.")
    max_output_tokens: int | None = Field(default=None, ge=1, le=100_000)


def refuse(request: Generation) -> list[str]:
    """What is to be said of the keys that are not used. Raises UsageError for those without which the answer is not what was asked for."""
    unused = request.unused()
    for name in ("n", "best_of"):
        if name in unused:
            raise UsageError(f"{name}: one answer is given at a time; leave {name} out, or ask again with another seed")
    if "response_format" in unused or "text" in unused:
        name = "response_format" if "response_format" in unused else "text"
        raise UsageError(
            f"{name}: the model answers in plain text only, so no format can be promised; leave {name} out"
        )
    if "tool_choice" in unused:
        raise UsageError(
            'tool_choice: the model calls no tools; leave tools out, or give tool_choice "auto" to have them ignored'
        )
    for name, what in (
        ("modalities", "answers are text"), ("logprobs", "probabilities of tokens are not given"), ("background", "nothing is kept"),
        ("previous_response_id", "nothing is kept, so send the whole conversation"), ("conversation", "nothing is kept"),
    ):  # fmt: skip
        if name in unused:
            raise UsageError(f"{name}: {what}; leave {name} out")
    said = []
    if unused.pop("tools", None) or unused.pop("functions", None):
        said.append("the tools are ignored: the model calls none")
    unused.pop("functions", None)
    if unused.pop("store", None):
        said.append("store is ignored: answers can be opened under /api/v1/answers, not under /v1")
    if unused:
        names = sorted(unused)
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        said.append(
            f"ignored, because nothing here depends on it: {', '.join(printable(name[:60]) for name in names[:20])}{more}"
        )
    return said
