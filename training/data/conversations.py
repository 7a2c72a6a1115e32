"""Annotations in the format of LLaVA and VideoMarathon, and their conversations as token ids with labels.

    [{"id"?, "data_source"?, "video": "name.mp4", "conversations": [{"from": "human" | "gpt", "value": text}, ...]}, ...]

`"image": "name.jpg"` instead of `video` is a sample of one picture, a list of names a sample of several; without either
it is a sample of text. Up to five question-answer pairs about one video form one multi-turn sample. Assistant turns are
supervised, everything else is ignored. `supervise_roles` also supervises role and newline tokens, as the published
template does. In training only tokens whose label is ignored join MemAug's queries, so an answer never sees itself.

Legend: n tokens before the video, m after it.
"""

import difflib
import json
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import PreTrainedTokenizerBase

from afterview.configs import first_problem, kind_of, why_unreadable
from afterview.model.language.prompt import IGNORED_LABEL, SYSTEM, TIME_SENTENCE, Prompt
from afterview.training.base.errors import DataError
from afterview.training.world.annotations import MOST_PAIRS

IMAGE_TAG: Final = "<image>"


class Turn(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    speaker: Literal["human", "gpt"] = Field(alias="from")
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
    def pairs(self) -> list[tuple[str, str]]:
        """Questions with their answers, without the tags for video and pictures. Media always go before the first question."""
        asked = [turn.value.replace(IMAGE_TAG, "").strip() for turn in self.conversations[::2]]
        return list(zip(asked, (turn.value.strip() for turn in self.conversations[1::2]), strict=True))


def read_annotations(path: Path) -> list[Annotation]:
    """All annotations of a file. Raises DataError naming the first invalid one."""
    try:
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({why_unreadable(error)}); annotations are a JSON list") from None
    if not isinstance(items, list) or not items:
        what = "an empty list" if items == [] else kind_of(items)
        raise DataError(f"{path}: must hold a list of annotations with at least one item, holds {what}")
    return [_parse(path, number, item) for number, item in enumerate(items)]


def _parse(path: Path, number: int, item: object) -> Annotation:
    try:
        annotation = Annotation.model_validate(item)
    except ValidationError as error:
        raise DataError(f"{path}: item {number}: {first_problem(error)}") from None
    if any(turn.value != turn.value.encode(errors="ignore").decode() for turn in annotation.conversations):
        raise DataError(f"{path}: item {number}: conversations: contains a lone surrogate, which is not valid Unicode")
    speakers = [turn.speaker for turn in annotation.conversations]
    if not speakers or len(speakers) % 2 or speakers != ["human", "gpt"] * (len(speakers) // 2):
        raise DataError(f"{path}: item {number}: human and gpt must take turns, human first, gpt last; got {speakers}")
    if not all(answer for _, answer in annotation.pairs):
        raise DataError(
            f"{path}: item {number}: conversations: an answer of gpt is empty; it would train the model to say nothing"
        )
    if problem := _missed_media(item, annotation):
        raise DataError(f"{path}: item {number}: {problem}")
    if annotation.video is not None and annotation.image is not None:
        raise DataError(f"{path}: item {number}: has both a video and an image; a sample is about one of them")
    if annotation.image is not None and not all(annotation.pictures):
        raise DataError(f"{path}: item {number}: image: expected names; omit the key for a sample of text")
    if annotation.video is not None and len(speakers) > 2 * MOST_PAIRS:
        raise DataError(
            f"{path}: item {number}: {len(speakers) // 2} questions; one sample may have at most {MOST_PAIRS}"
        )
    return annotation


def _missed_media(item: object, annotation: Annotation) -> str | None:
    """Why a sample without video and pictures may not be meant as one of text: it would be trained on without them. None if it is."""
    if annotation.video is not None or annotation.image is not None or not isinstance(item, dict):
        return None
    for key in item:
        near = difflib.get_close_matches(str(key), ("video", "image"), n=1, cutoff=0.8)
        if near and key not in ("video", "image"):
            return f"unknown key '{key}'; did you mean '{near[0]}'?"
    if any(IMAGE_TAG in turn.value for turn in annotation.conversations):
        return f"a question holds {IMAGE_TAG}, but there is neither a key 'video' nor a key 'image'"
    return None


def read_conversation(
    tokenizer: PreTrainedTokenizerBase,
    pairs: list[tuple[str, str]],
    *,
    frames: int | None = None,
    seconds: float = 0.0,
    about_nothing: bool = False,
    supervise_roles: bool = False,
) -> tuple[Prompt, NDArray[np.int64]]:
    """A conversation as a prompt, and labels [n + m]. Evidence is read from the rows of the first question.

    frames, seconds: of the video; None for pictures. about_nothing: a sample of text, without the sentence about the
    video.
    """
    head = _Ids(tokenizer)
    head.say("<|im_start|>system\n", supervise_roles)
    head.say(SYSTEM)
    head.say("<|im_end|>\n<|im_start|>user\n", supervise_roles)
    tail = _Ids(tokenizer)
    if not about_nothing:
        tail.say("\n" if frames is None else f"\n{TIME_SENTENCE.format(seconds=seconds, frames=frames)}\n")
    question = slice(0, 0)
    for number, (asked, answered) in enumerate(pairs):
        if number:
            tail.say("\n<|im_start|>user\n", supervise_roles)
        start = len(tail.ids)
        tail.say(asked, plain=True)
        question = question if number else slice(start, len(tail.ids))
        tail.say("<|im_end|>\n<|im_start|>assistant\n", supervise_roles)
        tail.say(answered, True, plain=True)
        tail.say("<|im_end|>", True)
    labels = np.array(head.labels + tail.labels, np.int64)
    ignored = labels == IGNORED_LABEL
    cut = len(head.ids)
    return (
        Prompt(
            np.array(head.ids, np.int64),
            np.array(tail.ids, np.int64),
            question,
            joins_before=ignored[:cut],
            joins_after=ignored[cut:],
        ),
        labels,
    )


class _Ids:
    """A growing list of token ids with their labels."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.ids: list[int] = []
        self.labels: list[int] = []

    def say(self, text: str, supervised: bool = False, *, plain: bool = False) -> None:
        """Append a text. plain: read control tokens in it as ordinary characters."""
        ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
        self.ids += ids
        self.labels += ids if supervised else [IGNORED_LABEL] * len(ids)
