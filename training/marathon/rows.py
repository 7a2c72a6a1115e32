"""What the stages hand on: rows of JSON Lines. Times are seconds since the start of the video.

Key of a row: `story.mp4`, `story.mp4#60-90` (a clip), `story.mp4/object/choice/03` (a question).
"""

from typing import Literal

from pydantic import Field

from afterview.configs import Schema
from afterview.training.marathon.tasks import BY_NAME, Form, Reach, Topic

Split = Literal["train", "validation", "test"]


class Video(Schema):
    """A file below the videos' directory. why: it is left out; empty if it is taken."""

    video: str
    bytes: int
    identity: str = ""  # what tells the file from others of its name
    seconds: float = 0.0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    split: Split = "train"
    why: str = ""


class Span(Schema):
    """A part of a video, [start_s, end_s)."""

    start_s: float
    end_s: float


class Moment(Span):
    """Something that is seen, with its time. aspect: object, action or scene."""

    aspect: Literal["object", "action", "scene"]
    text: str


class Clip(Span):
    """A clip of a video. look: 0 of the captions; 1, 2, ...: of the further captioners, shifted."""

    key: str
    video: str
    number: int
    look: int = 0


class ClipCaption(Clip):
    """What a captioner says of a clip, in six aspects."""

    temporality: str
    spatiality: str
    object: str
    action: str
    scene: str
    summary: str
    moments: tuple[Moment, ...] = ()


class VideoEvent(Span):
    """An event of a video, and its caption once there is one."""

    key: str
    video: str
    number: int
    title: str
    caption: str = ""


class GlobalCaption(Schema):
    """The caption of a whole video."""

    key: str
    video: str
    caption: str


class Question(Schema):
    """A question with its answer. wrong: the other options of a multiple choice. spans: which parts of the video prove it.

    answer_s: the answer as a number, if it is a time or a duration.
    """

    key: str
    video: str
    topic: Topic
    task: str
    form: Form
    question: str
    answer: str
    wrong: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    answer_s: float | None = None

    @property
    def reach(self) -> Reach:
        """Whether a moment is enough to answer it. A task that the paper does not have is rejected by the checks."""
        return BY_NAME[self.task].reach if self.task in BY_NAME else "long"


class Checked(Question):
    """A question and what the checks say. reasons: why it is rejected; empty if it is kept. flags: what a person may want to know."""

    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    supported: str = ""  # the checker's answer from the captions
    agreed: str = ""  # and from what enough captioners agree on
    options: tuple[str, ...] = ()  # in the order in which they are offered
    letter: str = ""  # of the right one

    @property
    def kept(self) -> bool:
        """Whether it goes into the data set."""
        return not self.reasons


class Failure(Schema):
    """An item that could not be made. The run goes on without it, and counts it."""

    key: str
    video: str
    failed: str = Field(min_length=1)


class LeftOut(Schema):
    """A video that goes no further, by the rules or because a part of it failed."""

    key: str
    video: str
    left_out: str = Field(min_length=1)


Row = Video | Clip | ClipCaption | VideoEvent | GlobalCaption | Question | Checked | Failure | LeftOut
