"""The stages, in order: what each needs, whom it asks, and what makes its rows. A stage works on one video at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from afterview.training.marathon.config import MOST_EVENTS, MarathonConfig
from afterview.training.marathon.models.request import Purpose
from afterview.training.marathon.rows import (
    Checked,
    Clip,
    ClipCaption,
    Failure,
    GlobalCaption,
    LeftOut,
    Question,
    Row,
    Video,
    VideoEvent,
)
from afterview.training.marathon.stages import agreed, captions, checks, questions
from afterview.training.marathon.stages.tools import BLIND, CAPTIONER, CHECKER, WRITER, Tools, look_role
from afterview.training.marathon.stages.videos import clips_of

VIDEOS: Final = "videos"
Kind = TypeVar("Kind")


class Inputs:
    """The rows of one video that earlier stages made."""

    def __init__(self, rows: Mapping[str, Sequence[Row]]) -> None:
        self._rows = rows

    def of(self, stage: str, kind: type[Kind]) -> list[Kind]:
        """The rows of a stage that are of this kind."""
        return [row for row in self._rows.get(stage, ()) if isinstance(row, kind)]


Make = Callable[[Video, Inputs, Tools], list[Row]]


@dataclass(frozen=True)
class Stage:
    """A stage. needs: what it reads. roles: the models that it asks, for these purposes. settings: what else decides its rows."""

    number: int
    name: str
    row: type[Row]
    make: Make
    needs: tuple[str, ...]
    roles: Callable[[MarathonConfig], tuple[str, ...]]
    purposes: tuple[Purpose, ...]
    settings: Callable[[MarathonConfig], Any]

    @property
    def folder(self) -> str:
        """`03-clip-captions`."""
        return f"{self.number:02d}-{self.name}"


def _clips(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    return list(clips_of(video, tools.config.clips))


def _clip_captions(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    return captions.clip_captions(video, inputs.of("clips", Clip), tools)


def _events(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    said, failed = inputs.of("clip-captions", ClipCaption), inputs.of("clip-captions", Failure)
    return captions.events_of(video, said, failed, tools)


def _event_captions(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    events = inputs.of("events", VideoEvent)
    return captions.event_captions(video, events, inputs.of("clip-captions", ClipCaption), tools) if events else []


def _global_captions(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    events, failed = inputs.of("event-captions", VideoEvent), inputs.of("event-captions", Failure)
    return captions.global_caption(video, events, failed, tools) if events or failed else []


def _questions(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    whole = inputs.of("global-captions", GlobalCaption)
    if not whole:
        return []
    return questions.questions_of(video, inputs.of("clip-captions", ClipCaption), whole[0].caption, tools)


def _further(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    return captions.further_captions(video, tools) if inputs.of("questions", Question) else []


def _agreed(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    further, failed = inputs.of("further-captions", ClipCaption), inputs.of("further-captions", Failure)
    if not further and not failed:
        return []
    return agreed.agreed_captions(video, inputs.of("clip-captions", ClipCaption), further, failed, tools)


def _checks(video: Video, inputs: Inputs, tools: Tools) -> list[Row]:
    asked, whole = inputs.of("questions", Question), inputs.of("global-captions", GlobalCaption)
    if not asked:
        return []
    agreed_on = inputs.of("agreed-captions", ClipCaption)
    lacking = bool(inputs.of("agreed-captions", Failure) or inputs.of("agreed-captions", LeftOut))
    said = inputs.of("clip-captions", ClipCaption)
    return checks.checked(video, asked, said, None if lacking else agreed_on, whole[0].caption, tools)


def _events_asked(config: MarathonConfig) -> Any:
    """Fewest and most; alone the fewest where the most are those that any answer may have, as before there was such a setting."""
    videos = config.videos
    return videos.least_events if videos.most_events == MOST_EVENTS else [videos.least_events, videos.most_events]


def _nobody(config: MarathonConfig) -> tuple[str, ...]:
    return ()


def _looks(config: MarathonConfig) -> tuple[str, ...]:
    return tuple(look_role(number) for number in range(1, len(config.models.looks) + 1))


def _agreeing(config: MarathonConfig) -> tuple[str, ...]:
    return (CHECKER,) if config.models.looks else ()


def _checkers(config: MarathonConfig) -> tuple[str, ...]:
    return (CHECKER,) if config.models.blind is None else (CHECKER, BLIND)


STAGES: Final = (
    Stage(2, "clips", Clip, _clips, (VIDEOS,), _nobody, (), lambda config: config.clips.seconds),
    Stage(
        3, "clip-captions", ClipCaption, _clip_captions, ("clips",), lambda config: (CAPTIONER,), ("clip_caption",),
        lambda config: config.clips.model_dump(),
    ),
    Stage(
        4, "events", VideoEvent, _events, ("clip-captions",), lambda config: (WRITER,), ("events",),
        _events_asked,
    ),
    Stage(
        5, "event-captions", VideoEvent, _event_captions, ("events", "clip-captions"), lambda config: (WRITER,), ("event_caption",),
        lambda config: None,
    ),
    Stage(
        6, "global-captions", GlobalCaption, _global_captions, ("event-captions",), lambda config: (WRITER,), ("global_caption",),
        lambda config: None,
    ),
    Stage(
        7, "questions", Question, _questions, ("clip-captions", "global-captions"), lambda config: (WRITER,), ("questions",),
        lambda config: config.questions.model_dump(exclude={"samples"}),
    ),
    Stage(
        8, "further-captions", ClipCaption, _further, ("questions",), _looks, ("clip_caption",), lambda config: config.clips.model_dump(),
    ),
    Stage(
        9, "agreed-captions", ClipCaption, _agreed, ("clip-captions", "further-captions"), _agreeing, ("agreed_caption",),
        lambda config: config.checks.captioners,
    ),
    Stage(
        10, "checks", Checked, _checks, ("questions", "clip-captions", "agreed-captions", "global-captions"), _checkers,
        ("answers", "compare", "blind"), lambda config: config.checks.model_dump(),
    ),
)  # fmt: skip
BY_NAME: Final = {stage.name: stage for stage in STAGES}
NAMES: Final = (VIDEOS, *BY_NAME)


def row_of(values: Mapping[str, Any], kind: type[Row]) -> Row:
    """A row of a stage as it was written."""
    if "failed" in values:
        return Failure.model_validate(values)
    return LeftOut.model_validate(values) if "left_out" in values else kind.model_validate(values)
