"""Conversations as token ids in the published template (ChatML), with media at their tags. Asking and training use it alike.

Each turn is encoded alone, as <|im_start|>role, newline, text, <|im_end|>, newline. Its text is taken verbatim, so the
newline after the role may merge with one that the text begins with. Media stand where the text has the tag <image>, with
two exceptions of the published code, which the weights have learnt:

    time     the sentence about a video's length goes to the front of the first turn, after the tag and a newline. An
             annotation that begins with "<image>" and a newline then has an empty line after the sentence
    one tag  the only tag of a turn is moved to its front, followed by a newline and the rest without outer white space

A leading turn of the assistant is dropped. Control tokens are added as ids, and the text is read as plain text, so it
cannot end its own turn.

Legend: L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from afterview.model.base.errors import InputMismatch
from afterview.model.language.prompt import (
    HOUR_LLAVA_TIME,
    IGNORED_LABEL,
    IMAGE_ID,
    SYSTEM,
    Prompt,
    TimeSentence,
    from_ids,
    require_tokenizer,
)
from afterview.model.language.tokenizer import TURN_END, TURN_START

IMAGE_TAG: Final = "<image>"  # of a video, too
VIDEO_TAG: Final = "<video>"  # means the same, in questions

DROPPED_ANSWER: Final = "an answer before the first question was dropped"
DROPPED_SENTENCE: Final = "the sentence about the video's length was dropped with it"

Role = Literal["system", "user", "assistant"]


class Turn(NamedTuple):
    """One turn. A video or picture stands between each two pieces of its text."""

    role: Role
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Conversation:
    """Turns whose media have their places."""

    turns: tuple[Turn, ...]
    lead: int = 0  # characters between the first medium and the user's words: newlines, the sentence about the time
    asked: tuple[int, int] | None = (
        None  # range of the user's words, in characters, that says what to find; None: all of them
    )
    dropped: tuple[str, ...] = ()  # what was left out, as the published code does, in words

    @property
    def media(self) -> int:
        """How many videos and pictures it has places for."""
        return sum(len(turn.pieces) - 1 for turn in self.turns)


@dataclass(frozen=True)
class Encoded:
    """A conversation as token ids."""

    ids: NDArray[np.int64]  # [L] IMAGE_ID where a video or picture stands
    labels: NDArray[np.int64]  # [L] IGNORED_LABEL where not supervised
    question: tuple[int, int]  # range of `ids`: the words of the first question after the first medium
    media: int
    apart: tuple[int, int] | None = (
        None  # range of `ids`, of which only the question joins MemAug's queries; None: all text does
    )

    def to_ask(self) -> Prompt:
        """The prompt for an answer: all text joins MemAug's queries, except for what stands beside the question in `apart`."""
        return from_ids(self.ids, media=self.media, question=self.question, apart=self.apart)

    def to_learn(self) -> tuple[Prompt, NDArray[np.int64]]:
        """The prompt for training, whose supervised tokens do not join the queries, and its labels without media [n + m]."""
        prompt = from_ids(self.ids, self.labels, media=self.media, question=self.question)
        return prompt, self.labels[self.ids != IMAGE_ID]


def time_sentence(frames: int, seconds: float, family: TimeSentence = HOUR_LLAVA_TIME) -> str:
    """The published sentence about a video. frames: those that were read, before any repetition."""
    return family.form.format(seconds=seconds, frames=frames)


def place_media(
    said: Sequence[tuple[Role, str]], *, media: int, time: str | None = None, gap: str = HOUR_LLAVA_TIME.gap
) -> Conversation:
    """Give each video or picture its place, as published.

    said: role and text of each turn. media: their number; with 0 tags are ordinary text, as they are in answers always.
    time: the sentence about the video, which brings the tag with it. gap: what stands after the sentence. Raises
    InputMismatch unless there are as many tags as media.
    """
    dropped: tuple[str, ...] = ()
    if said and said[0][0] == "assistant":
        dropped = (DROPPED_ANSWER,) if time is None else (DROPPED_ANSWER, DROPPED_SENTENCE)
        said, time = said[1:], None
    texts = [text for _, text in said]
    if time is not None and said:
        texts = [text if role == "assistant" else text.replace(IMAGE_TAG, "") for role, text in said]
        texts[0] = f"{IMAGE_TAG}\n{time}{gap}{texts[0]}"
    turns = tuple(
        Turn(role, _pieces(text) if media and role != "assistant" else (text,))
        for (role, _), text in zip(said, texts, strict=True)
    )
    placed = Conversation(turns, _lead(turns, "" if time is None else f"\n{time}{gap}"), dropped=dropped)
    if placed.media != media:
        raise InputMismatch(
            f"the text has {placed.media} {IMAGE_TAG} tags but there are {media} videos or pictures; put one tag where each goes"
        )
    return placed


def _pieces(text: str) -> tuple[str, ...]:
    """The text around its tags. An only tag is moved to the front."""
    if text.count(IMAGE_TAG) == 1 and not text.startswith(IMAGE_TAG):
        text = f"{IMAGE_TAG}\n{text.replace(IMAGE_TAG, '').strip()}".strip()
    return tuple(text.split(IMAGE_TAG))


def _lead(turns: Sequence[Turn], time: str) -> int:
    after = next((turn.pieces[1] for turn in turns if len(turn.pieces) > 1), "")
    return len(after) - len(after.removeprefix(time).lstrip())


def encode(
    tokenizer: PreTrainedTokenizerBase | None,
    conversation: Conversation,
    *,
    supervise_roles: bool = False,
    open_answer: bool = False,
    system: str = SYSTEM,
) -> Encoded:
    """Token ids and labels.

    Supervised are the words of every answer and its <|im_end|>; the newline after the last turn is left out. With
    supervise_roles the labels are those of the published code: all of every assistant turn, and elsewhere the control
    tokens and each token that is a newline alone, but not the roles' names. open_answer: end with the start of an
    assistant turn. Raises TokenizerMissing.
    """
    writer = _Writer(require_tokenizer(tokenizer), supervise_roles)
    question: tuple[int, int] | None = None
    apart: tuple[int, int] | None = None
    for turn in (Turn("system", (system,)), *conversation.turns):
        asked = conversation.asked or () if question is None else ()
        began, *inner = writer.turn(turn, conversation.lead if question is None else 0, asked)
        if question is None and len(turn.pieces) > 1:
            question = began, len(writer.ids)
            if inner:
                apart, question = question, (inner[0], inner[1])
        writer.end(turn)
    if open_answer:
        writer.control(TURN_START, False)
        writer.say("assistant\n")
    elif not supervise_roles:
        writer.remove_last_newline()
    return Encoded(
        np.array(writer.ids, np.int64), np.array(writer.labels, np.int64), question or (0, 0), conversation.media, apart
    )


class _Writer:
    """A growing list of token ids with their labels."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, roles: bool) -> None:
        self._tokenizer, self._roles = tokenizer, roles
        self._added = tuple(tokenizer.get_added_vocab())
        self._newline = self._encode("\n", (0,))[0]
        self.ids: list[int] = []
        self.labels: list[int] = []

    def turn(self, turn: Turn, lead: int, asked: Sequence[int] = ()) -> list[int]:
        """Write a turn up to its end. Returns the index of the first token at least `lead` characters after its first medium, then
        of those `asked` characters after that one.
        """
        answers, began = turn.role == "assistant", [0]
        self.control(TURN_START, self._roles)
        for place, piece in enumerate(turn.pieces):
            if place:
                self._add([IMAGE_ID], [False])
            head = "" if place else f"{turn.role}\n"
            cuts = [lead, *(lead + cut for cut in asked)] if place == 1 else [len(head)]
            skipped = self.say(head + piece, cuts, words=answers, head=answers and self._roles)
            began = skipped if place == 1 else began
        return began

    def end(self, turn: Turn) -> None:
        """End a turn."""
        self.control(TURN_END, self._roles or turn.role == "assistant")
        self.say("\n")

    def control(self, token: str, supervised: bool) -> None:
        """Write a control token."""
        self._add([int(self._tokenizer.convert_tokens_to_ids(token))], [supervised])

    def say(self, text: str, cuts: Sequence[int] = (0,), *, words: bool = False, head: bool = False) -> list[int]:
        """Write a text. head, words: whether its tokens before and after the first of these characters are supervised.

        Returns the index of the first token after each.
        """
        ids, places = self._encode(text, cuts)
        began, before = [len(self.ids) + place for place in places], places[0]
        newline = self._newline if self._roles and len(self._newline) == 1 else ()
        supervised = [(words if place >= before else head) or token in newline for place, token in enumerate(ids)]
        self._add(ids, supervised)
        return began

    def remove_last_newline(self) -> None:
        """Leave off the newline after the last turn: nothing learns from it, and no question of a user has it."""
        del self.ids[-len(self._newline) :], self.labels[-len(self._newline) :]

    def _add(self, ids: Sequence[int], supervised: Sequence[bool]) -> None:
        self.ids += ids
        self.labels += [token if learnt else IGNORED_LABEL for token, learnt in zip(ids, supervised, strict=True)]

    def _encode(self, text: str, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Token ids of plain text, and how many begin before each of these characters."""
        # Only where it matters: the setting stays with a tokenizer that others use, so the last call of `encode` must be without.
        plain = {"add_special_tokens": False, "split_special_tokens": any(token in text for token in self._added)}
        if not self._tokenizer.is_fast:  # without offsets: right unless a token spans the cut
            heads = [len(self._tokenizer(text[:cut], **plain)["input_ids"]) for cut in cuts]
            return self._tokenizer(text, **plain)["input_ids"], heads
        read = self._tokenizer(text, **plain, return_offsets_mapping=True)
        return read["input_ids"], [sum(start < cut for start, _ in read["offset_mapping"]) for cut in cuts]


def build(
    tokenizer: PreTrainedTokenizerBase | None,
    question: str,
    *,
    frames: int | None = None,
    seconds: float | None = None,
    pictures: int | None = None,
    family: TimeSentence = HOUR_LLAVA_TIME,
    between: Sequence[str] = (),
    asked: str = "",
) -> Prompt:
    """Prompt for one question about a video, or about `pictures` pictures.

    frames: frames of the span, before any repetition. seconds: its duration. Without them the prompt does not state the
    time. family: whose sentence about the time it is. Pictures stand at the tags <image> of the question; without tags,
    before it. A video always stands before it: at one place, or in parts with texts of their own lines around them (`between`: before the
    first part, between each two, after the last). asked: the part of a question about a video at one place that says what
    to find; of the question only it joins MemAug's queries. Empty, or no part of the question: all does. Control tokens in
    the question are read as plain text. Raises TokenizerMissing without a tokenizer, InputMismatch for an empty question
    and for a number of tags unlike that of the pictures.
    """
    if pictures is None:
        text = _stripped(_without_tag(question))
        lead = "\n"
        if frames is not None and seconds is not None:
            lead = f"\n{time_sentence(frames, seconds, family)}{family.gap}"
        first, *middle, last = between or ("", "")
        lead = f"\n{last}{lead}" if last else lead
        pieces = (f"{first}\n" if first else "", *(f"\n{own}\n" for own in middle), lead + text)
        own = len(pieces) == 2
        said = Conversation(
            (Turn("user", pieces),), len(lead) if own else 0, _place_of(asked.strip(), text) if own else None
        )
    else:
        text = _stripped(question)
        _stripped(text.replace(IMAGE_TAG, ""))
        tagged = text if IMAGE_TAG in text else f"{IMAGE_TAG}\n" * pictures + text
        said = place_media([("user", tagged)], media=pictures)
    return encode(tokenizer, said, open_answer=True).to_ask()


def build_text(tokenizer: PreTrainedTokenizerBase | None, question: str) -> Prompt:
    """Prompt for a question without video or pictures. All text is in `before`."""
    asked = Conversation((Turn("user", (_stripped(question),)),))
    return encode(tokenizer, asked, open_answer=True).to_ask()


def _place_of(part: str, text: str) -> tuple[int, int] | None:
    """Where the last such part is in a text; None if it is all of it, or nowhere."""
    place = text.rfind(part) if part and part != text else -1
    return None if place < 0 else (place, place + len(part))


def _without_tag(question: str) -> str:
    """A question about a video without the tag that it begins with: benchmarks write one, and the video stands there anyway."""
    text = question.lstrip()
    return next((text.removeprefix(tag) for tag in (IMAGE_TAG, VIDEO_TAG) if text.startswith(tag)), question)


def _stripped(question: str) -> str:
    text = question.strip()
    if not text:
        raise InputMismatch("the question is empty; ask something")
    return text
