"""How well answers are told: their loss, and which are right. Of all stages that train a decoder of the small model.

Legend: B questions, L tokens after the video, Y answer tokens, W words of the vocabulary, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from afterview.model.language.decoder import LanguageModel
from afterview.training.tiny.device_batch import DeviceBatch
from afterview.training.world.facts import KINDS


def answer_logits(language: LanguageModel, embeds: Tensor, batch: DeviceBatch) -> tuple[Tensor, Tensor]:
    """Float32 logits [B, Y, W] of the tokens of the answers, and which of these are no padding, [B, Y].

    embeds: ends with the result of `joined`.
    """
    longest = batch.answers.shape[1]
    # An answer's first token is predicted by the last token of its text, `padding` rows before the padded end.
    first_B1 = embeds.shape[1] - longest - 1 - batch.padding[:, None]
    places = torch.arange(longest, device=embeds.device)
    hidden = language(embeds)
    rows_BYD = hidden.gather(1, (first_B1 + places)[..., None].expand(-1, -1, hidden.shape[-1]))
    return language.logits(rows_BYD).float(), places < batch.answer_lengths[:, None]


def answering(
    logits_BYW: Tensor, real_BY: Tensor, batch: DeviceBatch, counts_B: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the answers' tokens, and which answers are completely right, [B]. logits_BYW, real_BY: of `answer_logits`.

    counts_B: answers that count in the loss; None: all.
    """
    learnt = real_BY if counts_B is None else real_BY & counts_B[:, None]
    losses = functional.cross_entropy(logits_BYW.flatten(0, 1), batch.answers.flatten(), reduction="none")
    right = ((logits_BYW.argmax(-1) == batch.answers) | ~real_BY).all(1)
    return (losses.view_as(real_BY) * learnt).sum() / learnt.sum().clamp(min=1), right


def joined(after: Tensor, answers: Tensor, lengths: Tensor) -> Tensor:
    """Each row's text, directly followed by its answer; padding moves to the end. [B, L + Y, D]."""
    both = torch.cat([after, answers], 1)
    count, places = after.shape[1], torch.arange(both.shape[1], device=after.device)
    behind = places >= lengths[:, None]
    source = torch.where(behind, places + count - lengths[:, None], places)
    source = torch.where(source < both.shape[1], source, places)  # the tail is padding, so its values do not matter
    return both.gather(1, source[..., None].expand(-1, -1, both.shape[-1]))


def kinds_right(
    right: Tensor, kinds: Tensor, counts: Tensor | None = None, *, names: Sequence[str] = KINDS
) -> dict[str, Tensor]:
    """Figures for the log: how many questions of each kind were asked and answered right."""
    asked = torch.bincount(kinds, weights=None if counts is None else counts.float(), minlength=len(names))
    hits = torch.bincount(kinds, weights=right.float(), minlength=len(names))
    return {
        f"{kind}/{what}": table[n]
        for n, kind in enumerate(names)
        for what, table in (("right", hits), ("asked", asked))
    }


def accuracies(figures: dict[str, float], plan_kinds: Sequence[str]) -> dict[str, float]:
    """Accuracy of each kind that a lesson asks, from a line of the log."""
    return {kind: figures[f"accuracy/{kind}"] for kind in plan_kinds if f"accuracy/{kind}" in figures}
