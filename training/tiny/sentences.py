"""The stage between naming and study: the decoder learns to answer from words only, so that it knows language before it sees anything.

Instead of MemAug's output, the words that name what the proof shows are added to the question's tokens, with a random
scale. If nothing was seen, the words of the most similar frame are added. No memory is read, so a question costs a
tenth of one in the study. Most errors of a new model are sentences: trained by the study only, after 98,000 questions
attention was on the right digit in 0.94 of them, and the digit was said in 0.07. Hour-LLaVA starts with a decoder that
knows language (arXiv 2506.05332, section 3).

Legend: B questions, S stories with q questions each, N frames of a story, L tokens of the text after the video, Y
answer tokens, D width, W words that name what frames show.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from afterview.configs import Schema
from afterview.model.language.decoder import LanguageModel
from afterview.training.core.trainer import StepOutput
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.tiny.answers import answer_logits, answering, joined, kinds_right
from afterview.training.tiny.device_batch import DeviceBatch, to_device
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.stage import StageContext, attention_to_train_with, learn_stage
from afterview.training.tiny.stories import StoryBatch
from afterview.training.world.facts import KINDS

_MISLED: Final = 0.85  # share of the questions about unseen things that get the words of the most similar frame


class SentencesConfig(Schema):
    """Takes minutes on one CPU core."""

    trainer: TrainerConfig
    lesson: LessonPlan
    # Range of the words' factor relative to the question's tokens; drawn for each question.
    loudness: tuple[float, float] = (0.3, 1.5)


class SentenceObjective(nn.Module):
    """A decoder that receives in words what it will later see."""

    head: Tensor  # token ids before the text
    names: Tensor  # token ids of the words that name what frames show, [W]

    def __init__(
        self,
        language: LanguageModel,
        head: Sequence[int],
        names: Tensor,
        loudness: tuple[float, float],
        kinds: Sequence[str] = KINDS,
    ) -> None:
        super().__init__()
        self.language, self._loudness, self._kinds = language, loudness, kinds
        self.register_buffer("head", torch.tensor(list(head)), persistent=False)
        self.register_buffer("names", names, persistent=False)

    def forward(self, batch: DeviceBatch) -> StepOutput:
        """Loss, and how many answers of each kind are right. Only questions whose answer follows from the given words count."""
        embed = self.language.decoder.model.embed_tokens
        named_BW = (batch.named | self._mistaken(batch)).to(embed.weight.dtype)
        words_BD = named_BW @ embed.weight[self.names] / named_BW.sum(1, keepdim=True).clamp(min=1).sqrt()
        low, high = self._loudness
        loud_B1 = low + (high - low) * torch.rand(len(words_BD), 1, device=words_BD.device)
        after_BLD = embed(batch.after)
        after_BLD = after_BLD + torch.where(batch.asked[..., None], (loud_B1 * words_BD)[:, None], 0.0)
        text = joined(after_BLD, embed(batch.answers), batch.after_lengths)
        embeds = torch.cat([embed(self.head).expand(len(text), -1, -1), text], 1)
        answerable_B = batch.needles.any(1) | batch.denied
        loss, right = answering(*answer_logits(self.language, embeds, batch), batch, answerable_B)
        return StepOutput(loss, kinds_right(right & answerable_B, batch.kinds, answerable_B, names=self._kinds))

    def _mistaken(self, batch: DeviceBatch) -> Tensor:
        """For most questions about unseen things, the words of the most similar frame, which attention will find: [B, W]."""
        assert batch.shown is not None, "the batch has the words of its frames"
        asked_BW = ((batch.after[..., None] == self.names) & batch.asked[..., None]).any(1)
        asked_SqW = asked_BW.unflatten(0, (len(batch.shown), -1))
        alike_SqN = asked_SqW.float() @ batch.shown.float().transpose(1, 2)
        best_Sq = (alike_SqN + 0.5 * torch.rand_like(alike_SqN)).argmax(-1)  # a random one of the most similar
        stories = torch.arange(len(batch.shown), device=best_Sq.device)[:, None]
        misled_B = batch.denied & (torch.rand(len(batch.denied), device=best_Sq.device) < _MISLED)
        return batch.shown[stories, best_Sq].flatten(0, 1) & misled_B[:, None]


def learn_sentences(
    language: LanguageModel,
    head: Sequence[int],
    named: tuple[Tensor, Tensor],
    draw: Callable[[LessonPlan, int], StoryBatch],
    features: Tensor,
    config: SentencesConfig,
    context: StageContext,
) -> bool:
    """Train the decoder to answer in words. Its embeddings stay as naming left them. Returns as learn_stage does.

    draw: batch of a lesson by number. named: token ids of the words that name what frames show, [W], and which of them name each
    frame, bool [F, W].
    """
    ids, shown = named
    embedded = language.decoder.model.embed_tokens.weight.requires_grad_(False)
    parts = {"language": [part for part in language.parameters() if part is not embedded]}
    objective = SentenceObjective(language, head, ids, config.loudness)
    with attention_to_train_with(context.device, language.decoder):
        return learn_stage(
            objective, parts, language, config.trainer, context,
            lambda: lambda number: to_device(draw(config.lesson, number), features, shown),
        )  # fmt: skip
