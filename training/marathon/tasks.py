"""The 22 tasks of VideoMarathon (arXiv 2506.05332), in six topics, each answerable from a moment (short) or from a span (long)."""

from dataclasses import dataclass
from typing import Final, Literal

Topic = Literal["temporality", "spatiality", "object", "action", "scene", "event"]
Reach = Literal["short", "long"]
Form = Literal["open", "choice"]

TOPICS: Final[tuple[Topic, ...]] = ("temporality", "spatiality", "object", "action", "scene", "event")
FORMS: Final[tuple[Form, ...]] = ("open", "choice")


@dataclass(frozen=True)
class Task:
    """A task. definition: what its questions ask for, as a prompt says it."""

    name: str
    topic: Topic
    reach: Reach
    definition: str


TASKS: Final = (
    Task("temporal perception", "temporality", "short", "when something happens, as a time since the start of the video"),
    Task("duration perception", "temporality", "long", "how long something lasts or stays visible"),
    Task("temporal reasoning", "temporality", "long", "a conclusion from several times or durations, such as which lasted longer"),
    Task("temporal gap estimation", "temporality", "long", "how much time passes between two things"),
    Task("temporal order", "temporality", "long", "which of two or more things comes first"),
    Task("spatial perception", "spatiality", "short", "where in the picture, or relative to what, something is"),
    Task("spatial reasoning", "spatiality", "long", "a conclusion from the places of things that are seen at different times"),
    Task("object recognition", "object", "short", "which thing is seen in a described situation"),
    Task("object attribute", "object", "short", "a property of a thing: colour, size, material, text on it"),
    Task("object interaction", "object", "short", "how things act on each other: one holds, covers, touches or hides another"),
    Task("object reasoning", "object", "long", "a conclusion about several things, such as how many there are of a kind"),
    Task("object existence", "object", "long", "whether a thing is seen anywhere in the video"),
    Task("object permanence", "object", "long", "whether a thing that was out of sight is seen again"),
    Task("action recognition", "action", "short", "what is done, or how something moves"),
    Task("action localization", "action", "long", "when an action happens, as a time since the start of the video"),
    Task("action sequence", "action", "long", "the order of actions"),
    Task("action reasoning", "action", "long", "a conclusion about actions: how many, why, with what result"),
    Task("scene recognition", "scene", "short", "in which place or surroundings something happens"),
    Task("scene transition", "scene", "long", "from which place to which the video changes"),
    Task("event sequence", "event", "long", "what comes directly before or after an event"),
    Task("key event extraction", "event", "long", "what happens in a part of the video, without unimportant details"),
    Task("overall summarization", "event", "long", "what the whole video is about; the answer is the caption of the whole video"),
)  # fmt: skip
BY_NAME: Final = {task.name: task for task in TASKS}
SUMMARY: Final = "overall summarization"  # its answer is the global caption


def tasks_of(topic: Topic) -> tuple[Task, ...]:
    """The tasks of a topic, in the paper's order."""
    return tuple(task for task in TASKS if task.topic == topic)


def aspect_of(topic: Topic) -> str:
    """The aspect of a clip's caption from which a topic's questions come."""
    return "summary" if topic == "event" else topic
