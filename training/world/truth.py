"""The truth beside a video, as JSON: the script, and captions of every clip, every event and the whole story.

    {"format": 1, "script": {"seed", "duration_s", "segments": [...], "events": [...], ...},
     "captions": {"clips": [{"start_s", "end_s", "text"}], "events": [{"number", "start_s", "end_s", "text"}], "whole": text},
     "video": {"start_s", "end_s", "rate", "width", "height", "codec"} | null}

Story times are seconds since the start of the story. A frame of the video is at video.start_s + its presentation time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from afterview.configs import Schema, first_problem, why_unreadable
from afterview.model.language.moments import clock, length
from afterview.training.base.errors import TruthError
from afterview.training.world.history import name_of
from afterview.training.world.story import Event, Script, StorySegment
from afterview.training.world.vocabulary import STILL, article, listing

FORMAT = 1


class VideoFacts(Schema):
    """Which part of the story a video file shows, and its format."""

    start_s: float
    end_s: float
    rate: float  # frames per second
    width: int
    height: int
    codec: str


def truth_of(script: Script, video: VideoFacts | None = None) -> dict[str, Any]:
    """The truth document, JSON-able."""
    return {
        "format": FORMAT,
        "script": script.model_dump(mode="json"),
        "captions": {
            "clips": [_caption(segment, clip_caption(script, segment)) for segment in script.segments],
            "events": [{"number": event.number, **_caption(event, event_caption(event))} for event in script.events],
            "whole": whole_caption(script),
        },
        "video": video.model_dump(mode="json") if video else None,
    }


def truth_path(video: Path) -> Path:
    """Path of a video's truth: `story.mp4` -> `story.truth.json`."""
    return video.with_name(f"{video.stem}.truth.json")


def read_truth(path: Path) -> tuple[Script, VideoFacts | None]:
    """The script, and the part of it that the video shows. Raises TruthError naming the file and the fault."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TruthError(
            f"{path}: cannot be read ({why_unreadable(error)}); `afterview world make` writes it again"
        ) from None
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise TruthError(f"{path}: truth format is {found}, this version reads {FORMAT}; make the video again")
    try:
        video = document["video"]
        return Script.model_validate(document["script"]), VideoFacts.model_validate(video) if video else None
    except (KeyError, ValidationError) as error:
        first = first_problem(error) if isinstance(error, ValidationError) else f"{error} is missing"
        raise TruthError(f"{path}: is damaged ({first}); make the video again") from None


def event_caption(event: Event) -> str:
    """`At 00:00:12 a big red circle appears in the top left of the forest scene for 3 seconds.`"""
    lasting = length(event.end_s - event.start_s)
    if event.kind == "object":
        what = article(f"{event.size} {event.colour} {event.shape}")
    else:
        what = name_of(event).the
    hidden = f", partly hidden behind a {event.cover.thing}," if event.cover else ""
    if event.motion != STILL:
        said = f"At {clock(event.start_s)} {what} moves {event.motion} across the {event.scene} scene for {lasting}"
    else:
        said = f"At {clock(event.start_s)} {what}{hidden} appears in the {event.place} of the {event.scene} scene for {lasting}"
    return f"{said}; at {clock(event.change.at_s)} it turns {event.change.to}." if event.change else f"{said}."


def clip_caption(script: Script, segment: StorySegment) -> str:
    """One showing of a scene, with its events."""
    way = "right" if segment.drift > 0 else "left"
    said = (
        f"From {clock(segment.start_s)} to {clock(segment.end_s)} the camera pans {way} over the {segment.scene} scene."
    )
    inside = [event for event in script.events if segment.start_s <= event.start_s < segment.end_s]
    return " ".join([said, *map(event_caption, inside)])


def whole_caption(script: Script, until_s: float | None = None, numbers: Sequence[int] | None = None) -> str:
    """The story until `until_s`, or the whole story: its scenes in order of first showing, then everything shown, in order.

    numbers: mention only these events, in this order, whether true or not; None: all.
    """
    end = script.duration_s if until_s is None else until_s
    scenes = list(dict.fromkeys(segment.scene for segment in script.segments if segment.start_s <= end))
    events = script.events if numbers is None else [script.events[number] for number in numbers]
    shown = [name_of(event).a for event in events if event.start_s <= end]
    text = f"In {length(end)} the camera shows {listing([f'the {scene}' for scene in scenes])}."
    return f"{text} In this order appear {listing(shown)}." if shown else f"{text} Nothing appears."


def _caption(timed: Event | StorySegment, text: str) -> dict[str, Any]:
    return {"start_s": timed.start_s, "end_s": timed.end_s, "text": text}
