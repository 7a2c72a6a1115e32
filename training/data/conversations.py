"""Annotations in the format of LLaVA and VideoMarathon, and their conversations as token ids with labels.

    [{"id"?, "data_source"?, "video": "name.mp4", "conversations": [{"from": "human" | "gpt", "value": text}, ...]}, ...]

`"image": "name.jpg"` instead of `video` is a sample of one picture, a list of names a sample of several; without either
it is a sample of text. Each video or picture has one tag in the questions, <image> or for a video <video>. In answers
tags are ordinary text. Several question-answer pairs about one video (VideoMarathon: up to five) form one multi-turn
sample. A turn of `system` may stand between them. An answer before the first question is dropped and counted, as in the published code.

The words of each answer and its <|im_end|> are supervised, everything else is ignored. `supervise_roles` supervises
control tokens and newlines, too, as the published code does. It is not the default: those tokens are the same in every
prompt and nothing can be learnt from them, but as supervised tokens they would not join MemAug's queries in training,
where they do in asking. Either way only ignored tokens join, so an answer never sees itself.

Legend: n tokens before the first video or picture, m after it.
"""

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedTokenizerBase

from afterview.model.base.errors import InputMismatch
from afterview.model.language.conversation import (
    IMAGE_TAG,
    VIDEO_TAG,
    Conversation,
    Role,
    encode,
    place_media,
    time_sentence,
)
from afterview.model.language.prompt import HOUR_LLAVA_TIME, Prompt, TimeSentence
from afterview.training.base.errors import DataError

_NEARLY_A_TAG = re.compile(r"<(?!image>|video>)(?i:\s*/?\s*(?:im(?:age|g)|video|picture|frame)s?\b[^<>\n]{0,20})>")
_ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant", "system": "system"}


class Turn(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    speaker: Literal["human", "gpt", "system"] = Field(alias="from")
    value: str


class Annotation(BaseModel):
    """A video, pictures or neither, with a conversation. Other keys are ignored; published files have many."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    video: str | None = None
    data_source: str | None = None  # the folder of the video, as in the published reader
    image: str | tuple[str, ...] | None = None
    conversations: tuple[Turn, ...]

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the pictures, in order. Empty for a video and for text."""
        if self.image is None:
            return ()
        return (self.image,) if isinstance(self.image, str) else self.image

    @property
    def name(self) -> str:
        """Name of the sample for messages."""
        return self.video or ", ".join(self.pictures) or "a sample of text"

    @property
    def media(self) -> int:
        """How many videos and pictures it is about."""
        return 1 if self.video is not None else len(self.pictures)

    @property
    def leading_answer(self) -> bool:
        """Whether gpt speaks first. That turn is dropped, as in the published code."""
        return bool(self.conversations) and self.conversations[0].speaker == "gpt"

    def placed(self, time: str | None = None, gap: str = HOUR_LLAVA_TIME.gap) -> Conversation:
        """Its turns, with a place for each video or picture. time: the sentence about the video. gap: what follows it.

        Raises InputMismatch (`tag_problem`).
        """
        said = [(_ROLES[turn.speaker], turn.value) for turn in self.conversations]
        if self.video is not None:
            said = [(role, text if role == "assistant" else text.replace(VIDEO_TAG, IMAGE_TAG)) for role, text in said]
        return place_media(said, media=self.media, time=time, gap=gap)


def turn_problem(annotation: Annotation) -> str | None:
    """Why its turns are not questions with answers. None if they are: a leading answer, which is dropped, and turns of system are fine."""
    speakers = [turn.speaker for turn in annotation.conversations]
    if speakers[:1] == ["system"]:
        return "a turn of system comes first; the prompt has a system turn of its own, so remove it, or put it after the first question"
    spoken = [speaker for speaker in speakers[annotation.leading_answer :] if speaker != "system"]
    if not spoken or len(spoken) % 2 or spoken != ["human", "gpt"] * (len(spoken) // 2):
        return f"human and gpt must take turns, human first, gpt last; got {speakers}"
    for turn in annotation.conversations[annotation.leading_answer :]:
        if turn.speaker == "gpt" and not turn.value.strip():
            return "conversations: an answer of gpt is empty; it would train the model to say nothing"
    return None


def tag_problem(annotation: Annotation) -> str | None:
    """Why its tags do not fit its video or pictures. None if they do. Tags in answers are ordinary text."""
    texts = [turn.value for turn in annotation.conversations if turn.speaker != "gpt"]
    images, videos = (sum(text.count(tag) for text in texts) for tag in (IMAGE_TAG, VIDEO_TAG))
    if annotation.video is None and videos:
        what = "pictures" if annotation.pictures else "no media"
        return f"conversations: a question holds {VIDEO_TAG}, but the sample has {what}"
    found = images + videos
    if found == annotation.media:
        return None
    count = f"{found} tag{'s' * (found != 1)}"
    pictures = f"{annotation.media} picture{'s' * (annotation.media != 1)}"
    what = "a video" if annotation.video is not None else pictures
    near = next((near[0] for text in texts if (near := _NEARLY_A_TAG.search(text))), None)
    hint = f"; '{near}' is not one" if near else ""
    return f"conversations: its questions hold {count}, but it has {what}; put {IMAGE_TAG} once where each goes{hint}"


def read_conversation(
    tokenizer: PreTrainedTokenizerBase,
    annotation: Annotation,
    *,
    frames: int | None = None,
    seconds: float = 0.0,
    add_time_instruction: bool = True,
    family: TimeSentence = HOUR_LLAVA_TIME,
    supervise_roles: bool = False,
) -> tuple[Prompt, NDArray[np.int64]]:
    """A conversation as a prompt, and labels [n + m]. Evidence is read from the rows of the first question.

    frames, seconds: of the video; None for pictures and text. add_time_instruction: state them, as `family` does. Raises DataError if
    there are not as many tags as media.
    """
    time = None if frames is None or not add_time_instruction else time_sentence(frames, seconds, family)
    try:
        conversation = annotation.placed(time, family.gap)
    except InputMismatch as error:
        raise DataError(f"{annotation.name}: {error}") from None
    return encode(tokenizer, conversation, supervise_roles=supervise_roles).to_learn()
