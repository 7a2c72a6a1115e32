"""The shapes of answers. Their JSON schemas go to the model; what comes back is validated against them.

What a model says beside them is ignored. Lengths are bounded, so that no answer fills a disk: after decoding, because llama.cpp's grammars
refuse a schema with lengths of 2,000 and more, and other servers compile it slowly.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from afterview.training.marathon.config import MOST_EVENTS

_LENGTHS: Final = frozenset({"maxLength", "maxItems", "maximum"})
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000)]
Seconds = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Answer(BaseModel):
    """Base of all answers. independent: the list whose entries are of use without each other."""

    independent: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="ignore")


class SaidMoment(Answer):
    """Something that is seen, in seconds since the start of the video."""

    start_s: Seconds
    end_s: Seconds
    aspect: Literal["object", "action", "scene"]
    text: Line


class ClipCaptionAnswer(Answer):
    """A clip in six aspects, and what is seen in it with times as numbers."""

    temporality: Note
    spatiality: Note
    object: Note
    action: Note
    scene: Note
    summary: Text
    moments: Annotated[tuple[SaidMoment, ...], Field(max_length=100)]


class SaidEvent(Answer):
    """An event, in seconds since the start of the video."""

    start_s: Seconds
    end_s: Seconds
    title: Line


class EventsAnswer(Answer):
    """The events of a video, in order, without gaps."""

    events: Annotated[tuple[SaidEvent, ...], Field(min_length=1, max_length=MOST_EVENTS)]


class CaptionAnswer(Answer):
    """A caption of an event or of a whole video."""

    caption: Text


class SaidSpan(Answer):
    """A part of the video."""

    start_s: Seconds
    end_s: Seconds


class SaidQuestion(Answer):
    """A question. wrong: wrong options, for multiple choice. spans: what proves it. answer_s: the answer in seconds, if it is a time."""

    task: Line
    question: Line
    answer: Text
    wrong: Annotated[tuple[Text, ...], Field(max_length=10)] = ()
    spans: Annotated[tuple[SaidSpan, ...], Field(max_length=50)] = ()
    answer_s: Seconds | None = None


class QuestionsAnswer(Answer):
    """Questions about a topic."""

    independent: ClassVar[str] = "questions"
    questions: Annotated[tuple[SaidQuestion, ...], Field(max_length=40)]


class SaidAnswer(Answer):
    """The answer to a numbered question. answerable: whether what was given is enough to answer it."""

    number: int
    answerable: bool
    answer: Note = ""


class AnswersAnswer(Answer):
    """Answers to numbered questions."""

    answers: Annotated[tuple[SaidAnswer, ...], Field(max_length=100)]


class SaidComparison(Answer):
    """Whether two answers to a numbered question say the same."""

    number: int
    same: bool


class CompareAnswer(Answer):
    """Comparisons of numbered pairs."""

    pairs: Annotated[tuple[SaidComparison, ...], Field(max_length=100)]


def schema_of(shape: type[BaseModel], entries: tuple[int, int] | None = None) -> dict[str, Any]:
    """The JSON schema that goes to a model. entries: fewest and most of the one list that the answer is."""
    schema: dict[str, Any] = _without_lengths(shape.model_json_schema())
    if entries is not None:
        (name,) = (name for name, of in schema["properties"].items() if of.get("type") == "array")
        schema["properties"][name] |= {"minItems": entries[0], "maxItems": entries[1]}
    return schema


def _without_lengths(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_lengths(of)
            for key, of in value.items()
            if not (key in _LENGTHS and isinstance(of, int | float))
        }
    return [_without_lengths(of) for of in value] if isinstance(value, list) else value
