"""A prompt as token ids, with the places of its video or pictures. model.language.conversation makes prompts from text."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from afterview.model.base.errors import InputMismatch, TokenizerMissing
from afterview.model.language.tokenizer import TURN_END, TURN_START

SYSTEM = "You are a helpful assistant."
IMAGE_ID = -200  # the place of a video or picture in published token sequences
IGNORED_LABEL = -100  # label of tokens that are not supervised


class TimeSentence(NamedTuple):
    """The sentence about the length of a video that stands before a question, as a family of models was trained with it."""

    form: str  # of {seconds} and {frames}
    gap: str  # between the sentence and the question


_LENGTH = "The video lasts for {seconds:.2f} seconds, and {frames} frames are uniformly sampled from it."
HOUR_LLAVA_TIME: Final = TimeSentence(f"{_LENGTH} Please answer the following questions related to this video.", "\n")
VIDEOCHAT_FLASH_TIME: Final = TimeSentence(_LENGTH, " ")


@dataclass(frozen=True)
class Prompt:
    """Token ids around one video, or around one or several pictures.

    joins_before, joins_after: which of these tokens join MemAug's queries. At inference all do; in training only those
    that are not supervised. question: the user's question within `after`; evidence is read from its rows.
    """

    before: NDArray[np.int64]  # [n]
    after: NDArray[np.int64]  # [m] all text after the first place; the further places are within it
    question: slice = field(default_factory=lambda: slice(None))
    joins_before: NDArray[np.bool_] | None = None  # [n]; None: all
    joins_after: NDArray[np.bool_] | None = None  # [m]; None: all
    further: tuple[int, ...] = ()  # tokens of `after` that come before the second picture, the third, ...; ascending

    @property
    def places(self) -> int:
        """How many videos or pictures it has room for."""
        return 1 + len(self.further)

    def joining(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks over `before` and `after`: the tokens that join the queries."""
        before, after = self.joins_before, self.joins_after
        return (
            np.ones(len(self.before), dtype=bool) if before is None else before,
            np.ones(len(self.after), dtype=bool) if after is None else after,
        )


def from_ids(
    ids: NDArray[np.int64],
    labels: NDArray[np.int64] | None = None,
    *,
    media: int = 1,
    question: tuple[int, int] | None = None,
    apart: tuple[int, int] | None = None,
) -> Prompt:
    """Prompt from published token ids [L], in which IMAGE_ID stands for the video or for each picture.

    labels [L]: if given, only ignored tokens join the queries. media: number of videos or pictures; with 0 all text is
    in `before`. question: the range of `ids` that the question's words are in. apart: a range around it, of which no other
    token joins the queries. Raises InputMismatch unless there are as many IMAGE_IDs as media.
    """
    places = np.flatnonzero(ids == IMAGE_ID)
    if len(places) != media:
        what = "1 video or picture was" if media == 1 else f"{media} pictures were"
        raise InputMismatch(
            f"prompt has {len(places)} <image> places but {what} given; put one {IMAGE_ID} where each goes, or give the "
            "question as text, for which the tokenizer needs no <image> token"
        )
    if labels is not None and len(labels) != len(ids):
        raise InputMismatch(f"prompt has {len(ids)} token ids but {len(labels)} labels were given")
    words = ids != IMAGE_ID
    cut = int(places[0]) if media else len(ids)
    rank = (
        np.concatenate([[0], np.cumsum(words)]) - cut
    )  # of each place of `ids`: words before it, counted from the cut
    joining = None if labels is None else labels == IGNORED_LABEL
    if apart is not None and question is not None:
        joining = np.ones(len(ids), dtype=bool) if joining is None else joining.copy()
        joining[apart[0] : question[0]] = joining[question[1] : apart[1]] = False
    joins = None if joining is None else joining[words]
    return Prompt(
        ids[:cut],
        ids[cut:][words[cut:]],
        slice(None) if question is None else slice(*(max(0, int(rank[place])) for place in question)),
        joins_before=None if joins is None else joins[:cut],
        joins_after=None if joins is None else joins[cut:],
        further=tuple(int(place) for place in rank[places[1:]]),
    )


def require_tokenizer(tokenizer: PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase:
    """The tokenizer. Raises TokenizerMissing if there is none, or if it lacks the control tokens of the prompt."""
    if tokenizer is None:
        raise TokenizerMissing(
            "this checkpoint has no tokenizer, so it cannot read a question; copy tokenizer.json and tokenizer_config.json of its "
            "language model into its directory, or pass token ids (Prompt.before, Prompt.after)"
        )
    lacking = [token for token in (TURN_START, TURN_END) if token not in tokenizer.get_vocab()]
    if lacking:
        raise TokenizerMissing(
            f"this checkpoint's tokenizer has no {lacking[0]} token, so it cannot mark whose turn it is; copy tokenizer.json of the "
            "language model that the checkpoint was trained from (a Qwen2 or Qwen3) over it"
        )
    return tokenizer
