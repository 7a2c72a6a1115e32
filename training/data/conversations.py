"""Annotations in the format of LLaVA and VideoMarathon, and their conversations as token ids with labels.

    [{"id"?, "data_source"?, "video": "name.mp4", "conversations": [{"from": "human" | "gpt", "value": text}, ...]}, ...]

`"image": "name.jpg"` instead of `video` is a sample of one picture, a list of names a sample of several; without either
it is a sample of text. Each video or picture has one tag in the questions, <image> or for a video <video>. In answers
tags are ordinary text. Up to five question-answer pairs about one video form one multi-turn sample. A turn of `system`
may stand between them. An answer before the first question is dropped and counted, as in the published code.

The words of each answer and its <|im_end|> are supervised, everything else is ignored. `supervise_roles` supervises
control tokens and newlines, too, as the published code does. It is not the default: those tokens are the same in every
prompt and nothing can be learnt from them, but as supervised tokens they would not join MemAug's queries in training,
where they do in asking. Either way only ignored tokens join, so an answer never sees itself.

Legend: n tokens before the first video or picture, m after it.
"""

import difflib
import json
import logging
import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import PreTrainedTokenizerBase

from afterview.configs import first_problem, kind_of, why_unreadable
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
from afterview.model.language.prompt import Prompt
from afterview.training.base.errors import DataError
from afterview.training.world.annotations import MOST_PAIRS

_LOGGER = logging.getLogger(__name__)

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

    def placed(self, time: str | None = None) -> Conversation:
        """Its turns, with a place for each video or picture. time: the sentence about the video. Raises InputMismatch (`tag_problem`)."""
        said = [(_ROLES[turn.speaker], turn.value) for turn in self.conversations]
        if self.video is not None:
            said = [(role, text if role == "assistant" else text.replace(VIDEO_TAG, IMAGE_TAG)) for role, text in said]
        return place_media(said, media=self.media, time=time)


def read_annotations(path: Path) -> list[Annotation]:
    """All annotations of a file. Raises DataError naming the first invalid one."""
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({why_unreadable(error)}); annotations are a JSON list") from None
    if not isinstance(items, list) or not items:
        what = "an empty list" if items == [] else kind_of(items)
        raise DataError(f"{path}: must hold a list of annotations with at least one item, holds {what}")
    annotations = [_parse(path, number, item) for number, item in enumerate(items)]
    leading = [number for number, annotation in enumerate(annotations) if annotation.leading_answer]
    if leading:
        _LOGGER.warning(
            "%s: %d conversations begin with gpt; that turn is dropped, and with it the sentence about a video's length (first: item %d)",
            path, len(leading), leading[0],
        )  # fmt: skip
    return annotations


def _parse(path: Path, number: int, item: object) -> Annotation:
    try:
        annotation = Annotation.model_validate(item)
    except ValidationError as error:
        raise DataError(f"{path}: item {number}: {first_problem(error)}") from None
    if any(turn.value != turn.value.encode(errors="ignore").decode() for turn in annotation.conversations):
        raise DataError(f"{path}: item {number}: conversations: contains a lone surrogate, which is not valid Unicode")
    if problem := turn_problem(annotation) or _missed_media(item, annotation):
        raise DataError(f"{path}: item {number}: {problem}")
    if annotation.video is not None and annotation.image is not None:
        raise DataError(f"{path}: item {number}: has both a video and an image; a sample is about one of them")
    if annotation.image is not None and not all(annotation.pictures):
        raise DataError(f"{path}: item {number}: image: expected names; omit the key for a sample of text")
    if problem := tag_problem(annotation):
        raise DataError(f"{path}: item {number}: {problem}")
    questions = sum(turn.speaker == "human" for turn in annotation.conversations)
    if annotation.video is not None and questions > MOST_PAIRS:
        raise DataError(f"{path}: item {number}: {questions} questions; one sample may have at most {MOST_PAIRS}")
    return annotation


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


def _missed_media(item: object, annotation: Annotation) -> str | None:
    """Why a sample without video and pictures may not be meant as one of text: it would be trained on without them. None if it is."""
    if annotation.video is not None or annotation.image is not None or not isinstance(item, dict):
        return None
    for key in item:
        near = difflib.get_close_matches(str(key), ("video", "image"), n=1, cutoff=0.8)
        if near and key not in ("video", "image"):
            return f"unknown key '{key}'; did you mean '{near[0]}'?"
    asked = [turn.value for turn in annotation.conversations if turn.speaker != "gpt"]
    for tag in (IMAGE_TAG, VIDEO_TAG):
        if any(tag in text for text in asked):
            return f"a question holds {tag}, but there is neither a key 'video' nor a key 'image'"
    return None


def read_conversation(
    tokenizer: PreTrainedTokenizerBase,
    annotation: Annotation,
    *,
    frames: int | None = None,
    seconds: float = 0.0,
    add_time_instruction: bool = True,
    supervise_roles: bool = False,
) -> tuple[Prompt, NDArray[np.int64]]:
    """A conversation as a prompt, and labels [n + m]. Evidence is read from the rows of the first question.

    frames, seconds: of the video; None for pictures and text. add_time_instruction: state them. Raises DataError if
    there are not as many tags as media.
    """
    time = None if frames is None or not add_time_instruction else time_sentence(frames, seconds)
    try:
        conversation = annotation.placed(time)
    except InputMismatch as error:
        raise DataError(f"{annotation.name}: {error}") from None
    return encode(tokenizer, conversation, supervise_roles=supervise_roles).to_learn()
