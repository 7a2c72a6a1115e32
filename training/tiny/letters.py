"""The decoder learns what options with letters are, from short texts alone: "red (A) blue (B) red" is answered "B".

Questions alone taught nothing of it: after 17,000 of them the letter was right as often as by chance, because the last token gains
nothing from the right option while that does not know its letter. So two further losses ask the tokens of options: after the first
layer for their letter, which is learnt in 50 steps, and after the second for the letter if the option is right, and for "no" if it is not.

Legend: B texts, L tokens, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from afterview.model.language.decoder import LanguageModel
from afterview.training.base.seeds import seeded
from afterview.training.core.trainer import StepOutput
from afterview.training.tiny.sentences import SentenceObjective
from afterview.training.tiny.study import DeviceBatch
from afterview.training.tiny.texts import Words, padded
from afterview.training.world.config import WorldConfig
from afterview.training.world.needles import BEST
from afterview.training.world.vocabulary import COLOURS, DIGITS, PLACES, SCENES, SHAPES, SIZES, WORDS, article

_LETTERS: Final = "ABCDE"
_NONE: Final = -100  # a token that belongs to no option
_KNOWING_LAYER, _CHOOSING_LAYER = (
    1,
    2,
)  # after so many layers, an option's tokens must know their letter, and whether it is right
_WRONG: Final = "no"  # what a token of a wrong option says then
_NAMES: Final = tuple(article(f"{colour} {shape}") for colour, shape in WorldConfig().colour_shape_pairs())
_POOLS: Final[tuple[tuple[str, ...], ...]] = (
    tuple(COLOURS), SHAPES, SCENES, tuple(PLACES), tuple(SIZES), DIGITS, WORDS, ("yes", "no", "not seen"),
    _NAMES, tuple(name.split(" ", 1)[1] for name in _NAMES),
)  # fmt: skip
_SAID: Final = ("{}", "It was {}.", "The answer: {}.", "What was it? {}.")


@dataclass(frozen=True)
class LetterBatch:
    """ids [B, L]: text, letter, end of the turn, padded on the right. lengths [B]. owners [B, L]: of an option's token its letter's id.
    verdicts [B, L]: the same of the right option, and of the wrong ones the id of "no".
    """

    ids: Tensor
    lengths: Tensor
    owners: Tensor
    verdicts: Tensor


def make_letter_batch(words: Words, count: int, *, seed: int, number: int) -> LetterBatch:
    """Batch `number`. Depends only on its arguments."""
    rng = seeded(f"letters 1, seed {seed}, batch {number}")
    rows, owners, verdicts = zip(*(_row(words, rng) for _ in range(count)), strict=True)
    lengths = torch.tensor([len(row) for row in rows])
    return LetterBatch(torch.from_numpy(padded(rows)), lengths, _labels(owners), _labels(verdicts))


def _labels(rows: Sequence[Sequence[int]]) -> Tensor:
    """Labels padded with _NONE."""
    table = padded(rows)
    for line, row in zip(table, rows, strict=True):
        line[len(row) :] = _NONE
    return torch.from_numpy(table)


def _row(words: Words, rng: Random) -> tuple[list[int], list[int], list[int]]:
    pool = rng.choice(_POOLS)
    options = rng.sample(pool, min(rng.randint(2, 4), len(pool)))
    right, published = rng.randrange(len(options)), rng.random() < 0.6
    ids = words.ids(rng.choice(_SAID).format(options[right]))
    owners, verdicts = [_NONE] * len(ids), [_NONE] * len(ids)
    for number, (letter, option) in enumerate(zip(_LETTERS, options, strict=False)):
        mark, body = words.ids(f"\n({letter})" if published else f"\n{letter}."), words.ids(f" {option}")
        ids += mark + body
        owners += [_NONE] * len(mark) + words.ids(letter) * len(body)
        verdicts += [_NONE] * len(mark) + words.ids(letter if number == right else _WRONG) * len(body)
    ids += (words.ids(f"\n{BEST}") if published else []) + words.tail + words.ids(_LETTERS[right]) + words.end
    rest = [_NONE] * (len(ids) - len(owners))
    return ids, owners + rest, verdicts + rest


class LettersObjective(nn.Module):
    """Batches of letters, and between them batches of sentences, so that what the decoder knows stays."""

    def __init__(
        self,
        language: LanguageModel,
        head: Sequence[int],
        names: Tensor,
        loudness: tuple[float, float],
        kinds: Sequence[str],
    ) -> None:
        super().__init__()
        self.language = language
        self.sentences = SentenceObjective(language, head, names, loudness, kinds)

    def forward(self, batch: DeviceBatch | LetterBatch) -> StepOutput:
        """Loss, and how many letters are right."""
        return self._letters(batch) if isinstance(batch, LetterBatch) else self.sentences(batch)

    def _letters(self, batch: LetterBatch) -> StepOutput:
        language, rows = self.language, torch.arange(len(batch.ids))
        decoder = language.decoder.model
        made = decoder(inputs_embeds=decoder.embed_tokens(batch.ids), use_cache=False, output_hidden_states=True)
        logits = language.logits(made.last_hidden_state[rows, batch.lengths - 3]).float()  # before letter and end
        truth = batch.ids[rows, batch.lengths - 2]
        owned = batch.owners != _NONE
        known, judged = (
            language.logits(decoder.norm(made.hidden_states[layer][owned])).float()
            for layer in (_KNOWING_LAYER, _CHOOSING_LAYER)
        )
        answering = functional.cross_entropy(logits, truth)
        knowing = functional.cross_entropy(known, batch.owners[owned])
        choosing = functional.cross_entropy(judged, batch.verdicts[owned])
        figures = {
            "answering": answering,
            "knowing": knowing,
            "choosing": choosing,
            "letter/right": (logits.argmax(-1) == truth).sum(),
            "letter/asked": torch.tensor(float(len(rows))),
            "owner/right": (known.argmax(-1) == batch.owners[owned]).sum(),
            "owner/asked": owned.sum(),
            "verdict/right": (judged.argmax(-1) == batch.verdicts[owned]).sum(),
            "verdict/asked": owned.sum(),
        }
        return StepOutput(answering + knowing + choosing, figures)
