"""The published ChatML prompt around a video, as token ids.

The text before and the text after the video are tokenized separately, so the vocabulary does not need an `<image>`
token.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from afterview.model.base.errors import InputMismatch, TokenizerMissing
from afterview.model.language.tokenizer import TURN_END, TURN_START

SYSTEM = "You are a helpful assistant."
IMAGE_ID = -200  # the video's place in published token sequences
TURN = f"{TURN_END}\n{TURN_START}assistant\n"  # ends the question and starts the answer
IGNORED_LABEL = -100  # label of tokens that are not supervised

TIME_SENTENCE = (
    "The video lasts for {seconds:.2f} seconds, and {frames} frames are uniformly sampled from it. "
    "Please answer the following questions related to this video."
)


@dataclass(frozen=True)
class Prompt:
    """Token ids around one video.

    joins_before, joins_after: which of these tokens join MemAug's queries. At inference all do; in training only those
    that are not supervised. question: the user's question within `after`; evidence is read from its rows.
    """

    before: NDArray[np.int64]  # [n]
    after: NDArray[np.int64]  # [m]
    question: slice = field(default_factory=lambda: slice(None))
    joins_before: NDArray[np.bool_] | None = None  # [n]; None: all
    joins_after: NDArray[np.bool_] | None = None  # [m]; None: all

    def joining(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks over `before` and `after`: the tokens that join the queries."""
        before, after = self.joins_before, self.joins_after
        return (
            np.ones(len(self.before), dtype=bool) if before is None else before,
            np.ones(len(self.after), dtype=bool) if after is None else after,
        )


def build(
    tokenizer: PreTrainedTokenizerBase | None,
    question: str,
    *,
    frames: int | None = None,
    seconds: float | None = None,
    system: str = SYSTEM,
) -> Prompt:
    """Prompt for one question about a video, or, without `frames` and `seconds`, about pictures.

    frames: frames of the span, before any repetition. seconds: its duration. Control tokens in the question are read as
    plain text, so a question cannot end its own turn. Raises TokenizerMissing without a tokenizer, InputMismatch for an
    empty question.
    """
    time = "" if frames is None or seconds is None else f"{TIME_SENTENCE.format(seconds=seconds, frames=frames)}\n"
    # Separately, these pieces give the same ids as together: a newline never merges with the text after it, control tokens never merge.
    text, tokenizer = _stripped(question), require_tokenizer(tokenizer)
    head, asked = _ids(tokenizer, _opening(system)), _ids(tokenizer, text, plain=True)
    lead, tail = _ids(tokenizer, f"\n{time}"), _ids(tokenizer, TURN)
    return Prompt(head, np.concatenate([lead, asked, tail]), slice(len(lead), len(lead) + len(asked)))


def build_text(tokenizer: PreTrainedTokenizerBase | None, question: str, *, system: str = SYSTEM) -> Prompt:
    """Prompt for a question without video or pictures. All text is in `before`."""
    text, tokenizer = _stripped(question), require_tokenizer(tokenizer)
    head, asked = _ids(tokenizer, _opening(system)), _ids(tokenizer, text, plain=True)
    return Prompt(np.concatenate([head, asked, _ids(tokenizer, TURN)]), np.empty(0, dtype=np.int64))


def from_ids(ids: NDArray[np.int64], labels: NDArray[np.int64] | None = None) -> Prompt:
    """Prompt from published token ids, in which IMAGE_ID stands for the video. With labels, only ignored tokens join the queries.

    The golden cases give their prompts in this form, as the published data does. Raises InputMismatch unless there is exactly one IMAGE_ID.
    """
    places = np.flatnonzero(ids == IMAGE_ID)
    if len(places) != 1:
        raise InputMismatch(
            f"prompt has {len(places)} <image> places but 1 video was given; put one {IMAGE_ID} where the video goes, or give the "
            "question as text, for which the tokenizer needs no <image> token"
        )
    cut = int(places[0])
    if labels is None:
        return Prompt(ids[:cut], ids[cut + 1 :])
    if len(labels) != len(ids):
        raise InputMismatch(f"prompt has {len(ids)} token ids but {len(labels)} labels were given")
    joins = labels == IGNORED_LABEL
    return Prompt(ids[:cut], ids[cut + 1 :], joins_before=joins[:cut], joins_after=joins[cut + 1 :])


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


def _stripped(question: str) -> str:
    text = question.strip()
    if not text:
        raise InputMismatch("the question is empty; ask something")
    return text


def _opening(system: str) -> str:
    """The system's turn and the start of the user's turn."""
    return f"{TURN_START}system\n{system}{TURN_END}\n{TURN_START}user\n"


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, *, plain: bool = False) -> NDArray[np.int64]:
    """Token ids of `text` without special tokens. plain: read control tokens as ordinary characters."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
    return np.asarray(ids, dtype=np.int64)
