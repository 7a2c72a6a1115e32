"""The arguments of the tools: their form as JSON Schema, for assistants, and their check, which names everything that is wrong."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, StrictBool, StrictInt, StrictStr, WithJsonSchema

from afterview.configs import ConfigError, Schema, UsageError, load_mapping
from afterview.stream.ask.answerer import LONGEST_QUESTION

MOST_PICTURES = 4  # in one answer: they go into the prompt of the assistant
LONGEST_SUBTITLES = 100_000  # characters: an assistant writes them itself, and more than MOST_CHARACTERS are thinned
_MOST_CAMERAS = 64
_LONGEST_NAME = 200  # characters of a camera's name
_LONGEST_TIME = 100  # characters
_LONGEST_ID = 64  # characters of an answer's id, or a handle
_MOST_ARGUMENTS = 20
_LONGEST_REFUSAL = 2000  # characters

_WHEN = (
    'an ISO time such as "2026-11-20T14:03" (in the camera\'s time zone, or with an offset), "14:03" (today), "yesterday 14:00", '
    '"monday 14:00", "10 minutes ago", "now", or Unix seconds'
)


def _text(longest: int) -> AfterValidator:
    def whole(text: str) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("holds half of a surrogate pair, which is no text")
        if not 0 < len(text) <= longest:
            raise ValueError(f"must have 1 to {longest} characters, has {len(text)}")
        return text

    return AfterValidator(whole)


def _time(value: object) -> float | str:
    if isinstance(value, str) and len(value) <= _LONGEST_TIME:
        return value
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"must be a time as text of at most {_LONGEST_TIME} characters, or a finite number of seconds")
    return number


def _size(longest: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": 1, "maxLength": longest})


# A number is taken, too; the form says text alone, because some assistants cannot read a choice of types.
Time = Annotated[float | str, PlainValidator(_time), WithJsonSchema({"type": "string", "maxLength": _LONGEST_TIME})]
Question = Annotated[StrictStr, _text(LONGEST_QUESTION), _size(LONGEST_QUESTION)]
Identity = Annotated[StrictStr, _text(_LONGEST_ID), _size(_LONGEST_ID)]
Name = Annotated[StrictStr, _text(_LONGEST_NAME), _size(_LONGEST_NAME)]
Subtitles = Annotated[StrictStr, _text(LONGEST_SUBTITLES), _size(LONGEST_SUBTITLES)]
Cameras = Annotated[tuple[Name, ...], Field(max_length=_MOST_CAMERAS)]
_CAMERAS = "Names or ids of cameras, as the tool `cameras` lists them. Leave it out to choose among all."
_LAST = 'Only the last so much time before `at` or now: "90s", "15m", "2h", "3d", or seconds. Not with `start`.'


class Span(Schema):
    """What `ask` and `search` share."""

    cameras: Cameras | None = Field(default=None, description=_CAMERAS)
    start: Time | None = Field(default=None, description=f"Ignore frames before this time: {_WHEN}.")
    at: Time | None = Field(default=None, description="Ignore frames after this time, as if it were now.")
    last: Time | None = Field(default=None, description=_LAST)


class Ask(Span):
    """A question."""

    question: Question = Field(description="One question about what the cameras have seen, in words.")
    follows: Identity | None = Field(
        default=None, description="Id of an earlier answer: the same cameras and span count, unless others are given."
    )
    subtitles: Subtitles | None = Field(
        default=None,
        description="Text of an .srt or .vtt file that you have of the camera's recording (0:00 is its first frame); name that camera.",
    )
    pictures: StrictInt = Field(
        default=0, ge=0, le=MOST_PICTURES,
        description="How many evidence pictures to return as images. They cost much of your context; 0 gives links.",
    )  # fmt: skip


class Search(Span):
    """A text to search for."""

    text: Question = Field(description="What frames should show, for example: a red car.")
    top: StrictInt = Field(default=10, ge=1, le=50, description="How many frames, at most.")


class NoArguments(Schema):
    """Of `cameras`."""


class Timeline(Schema):
    """A span of a camera."""

    camera: Name = Field(description="Name or id of one camera.")
    start: Time | None = Field(default=None, description=f"From this time: {_WHEN}. Default: the first frame.")
    end: Time | None = Field(default=None, description="Until this time. Default: now.")


class Frame(Schema):
    """One frame of a camera."""

    camera: Name = Field(description="Name or id of one camera.")
    at: Time | None = Field(
        default=None, description=f"The last frame at or before this time: {_WHEN}. Default: the newest frame."
    )
    frame: Annotated[StrictInt, Field(ge=0, le=2**53)] | None = Field(
        default=None, description="The number of a frame, as answers and searches give it. Not with `at`."
    )
    picture: StrictBool = Field(default=False, description="true: the picture itself; false: its time and a link.")


class AnswerStatus(Schema):
    """An answer that takes longer."""

    handle: Identity = Field(description="As `ask` or `search` returned it.")


FORMS: Mapping[str, type[Schema]] = {
    "ask": Ask,
    "search": Search,
    "cameras": NoArguments,
    "timeline": Timeline,
    "frame": Frame,
    "answer_status": AnswerStatus,
}


def check(tool: str, given: Mapping[str, Any] | None) -> Schema:
    """The arguments of a tool; null stands for one that is left out.

    Raises UsageError: `ask: camera: unknown argument; did you mean 'cameras'? The arguments of ask: ...`
    """
    form, values = FORMS[tool], given or {}
    known = ", ".join(form.model_fields) or "none"
    if len(values) > _MOST_ARGUMENTS:  # before a search for the nearest name of each
        raise UsageError(f"{tool}: has {len(values)} arguments; those that it knows: {known}")
    values = {name: value for name, value in values.items() if value is not None or name not in form.model_fields}
    try:
        return load_mapping(values, form, source=tool)
    except ConfigError as error:
        said = str(error).replace("unknown key", "unknown argument")
        end = "" if said.endswith("?") else "."
        raise UsageError(f"{said[:_LONGEST_REFUSAL]}{end} The arguments of {tool}: {known}") from None


def schema_of(tool: str) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, without what only pydantic needs: titles, null for what is left out."""
    found: dict[str, Any] = _plain(FORMS[tool].model_json_schema())
    required, own = found.get("required", []), found.get("properties", {})
    ordered = {name: own[name] for name in [*required, *(name for name in own if name not in required)]}
    return {"type": "object", "properties": ordered, "required": required, "additionalProperties": False}


def _plain(value: Any, *, names: bool = False) -> Any:
    """names: whether the keys are names of arguments."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if names:
        return {name: _plain(one) for name, one in value.items()}
    choices = [one for one in value.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        value = {**{key: one for key, one in value.items() if key != "anyOf"}, **choices[0]}
    dropped = {"title", "$defs"} | ({"default"} if value.get("default", 0) is None else set())
    return {key: _plain(one, names=key == "properties") for key, one in value.items() if key not in dropped}
