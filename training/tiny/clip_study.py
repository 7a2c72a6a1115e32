"""The small VideoChat-Flash learns to answer from merged clips: projector and decoder, without MemAug.

The video of a story is read once for all its questions: a mask lets each question see the video and itself, never another question, and
each has the positions that it would have alone. The loss is the cross-entropy of the answers plus a small evidence loss: minus the log
of the attention from the question to the clips that prove the answer, in `EVIDENCE_LAYERS`. (VideoChat-Flash has no such loss; without
it a decoder as small as this stays at chance for thousands of steps.)

Legend: S stories, q questions per story, B = S * q, C clips, V visual tokens, n tokens before the video, M after it up to the question,
L tokens of a question with its answer, T = n + V + M + q * L, D width, W words that name what clips show.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from afterview.model.base.settings import TOKENS_PER_CLIP
from afterview.model.video_language import VideoLanguageModel
from afterview.training.core.trainer import StepOutput
from afterview.training.tiny.answers import kinds_right
from afterview.training.tiny.clip_stories import ClipBatch

_LEAST_MASS: Final = 1e-4
_HIDDEN: Final = -1e9  # added to the scores of what a row may not see
_MISLED: Final = 0.85  # share of the questions about unseen things that are told of something else
NEW_LAYERS: Final = 2  # the first layers of the decoder: they find what is asked about
_LIKENESS: Final = 2.0  # scale of the first queries and keys that find what is alike
_STEADY: Final = 20  # from this pair of rotary dimensions on, rotation is small over the length of a video


@dataclass(frozen=True)
class ClipDeviceBatch:
    """A ClipBatch on the device, with tokens [S, C, r, Dv] of its clips, their places in the clip [S, C, r], and shown bool [S, C, W]."""

    tokens: Tensor
    places: Tensor
    shown: Tensor
    lead: Tensor
    lead_lengths: Tensor
    texts: Tensor
    question: Tensor
    answer: Tensor
    needles: Tensor
    kinds: Tensor
    denied: Tensor
    loudness: tuple[float, float] | None = (
        None  # range of the factor with which a question is told what proves its answer; None: not told
    )


def clips_to_device(
    batch: ClipBatch, table: Tensor, shown: Tensor, tokens_read: int | None, loudness: tuple[float, float] | None = None
) -> ClipDeviceBatch:
    """table: float16 [W, 64, Dv] of the bank; shown bool [W, words]. tokens_read: tokens of each clip, drawn anew; None: all 64."""
    moved = {
        field.name: torch.from_numpy(np.ascontiguousarray(getattr(batch, field.name))).to(table.device)
        for field in fields(ClipBatch)
    }
    clips = moved.pop("clips")
    places = torch.arange(TOKENS_PER_CLIP, device=table.device).expand(*clips.shape, -1)
    if tokens_read is not None:
        drawn = torch.rand(places.shape, device=table.device).topk(tokens_read, dim=-1).indices
        places = drawn.sort(-1).values
    return ClipDeviceBatch(table[clips[..., None], places], places, shown[clips], loudness=loudness, **moved)


class ClipStudyObjective(nn.Module):
    """Trains projector and decoder on a table of merged clips."""

    head: Tensor
    names: Tensor

    def __init__(
        self, model: VideoLanguageModel, head: Sequence[int], names: Tensor, *, evidence_weight: float, dropping: int
    ) -> None:
        """head: token ids before the video. names: ids of the words that name what clips show, [W]. dropping: the layer whose attention
        decides which visual tokens are dropped; that of the last token of a question learns to find the proof there."""
        super().__init__()
        self.model, self._evidence_weight, self._dropping = model, evidence_weight, dropping
        self.register_buffer("head", torch.tensor(list(head)), persistent=False)
        self.register_buffer("names", names, persistent=False)

    def forward(self, batch: ClipDeviceBatch) -> StepOutput:
        """Loss, and how many answers of each kind are completely right."""
        language = self.model.language
        embeds_STD, mask_STT, positions_ST = self._inputs(batch)
        asking = torch.is_grad_enabled() or self._evidence_weight > 0
        out = language.decoder.model(
            inputs_embeds=embeds_STD,
            attention_mask=torch.where(mask_STT, 0.0, _HIDDEN)[:, None].to(embeds_STD.dtype),
            position_ids=positions_ST,
            use_cache=False,
            output_attentions=asking,
        )
        each, longest = len(batch.texts) // len(batch.tokens), batch.texts.shape[1]
        hidden_BLD = out.last_hidden_state[:, -each * longest :].unflatten(1, (each, longest)).flatten(0, 1)
        places = torch.arange(longest, device=hidden_BLD.device)
        said_BL = (places >= batch.answer[:, :1] - 1) & (places < batch.answer[:, 1:] - 1)
        said_BL &= (batch.needles.any(1) | batch.denied)[:, None]  # the others cannot be answered from these clips
        targets_BL = batch.texts.roll(-1, 1)
        logits = language.logits(hidden_BLD[said_BL]).float()
        loss = functional.cross_entropy(logits, targets_BL[said_BL])
        wrong = torch.zeros_like(said_BL).masked_scatter(said_BL, logits.argmax(-1) != targets_BL[said_BL])
        counted = said_BL.any(1)
        right = ~wrong.any(1) & counted
        figures = {"answering": loss}
        if asking:
            proving, found = self._evidence(out.attentions, batch, each, longest)
            figures |= {"proving": proving} | found
            loss = loss + self._evidence_weight * proving
        return StepOutput(loss, figures | kinds_right(right, batch.kinds, counted))

    def _inputs(self, batch: ClipDeviceBatch) -> tuple[Tensor, Tensor, Tensor]:
        """The decoder's input [S, T, D], what each row sees [S, T, T], and the positions [S, T]."""
        embed = self.model.language.decoder.model.embed_tokens
        stories, clips, read, _ = batch.tokens.shape
        visual_SVD = self.model.projector(batch.tokens.to(embed.weight.dtype)).flatten(1, 2)
        head_SnD = embed(self.head).expand(stories, -1, -1)
        texts_BLD = embed(batch.texts)
        if batch.loudness is not None:
            texts_BLD = texts_BLD + self._told(batch)
        each, longest = len(batch.texts) // stories, batch.texts.shape[1]
        texts = texts_BLD.unflatten(0, (stories, each)).flatten(1, 2)
        embeds = torch.cat([head_SnD, visual_SVD.to(head_SnD.dtype), embed(batch.lead), texts], 1)
        n, most_lead, on = len(self.head), batch.lead.shape[1], embeds.device
        numbers = torch.arange(clips, device=on)[:, None] * TOKENS_PER_CLIP + batch.places
        after = n + clips * TOKENS_PER_CLIP
        lead = torch.arange(most_lead, device=on)
        asked_SqL = after + batch.lead_lengths[:, None, None] + torch.arange(longest, device=on).expand(each, -1)
        positions = torch.cat(
            [
                torch.arange(n, device=on).expand(stories, -1),
                n + numbers.flatten(1),
                (after + lead).expand(stories, -1),
                asked_SqL.flatten(1),
            ],
            1,
        )
        shared = n + clips * read + most_lead
        owner = torch.cat(
            [torch.full((shared,), -1, device=on), torch.arange(each, device=on).repeat_interleave(longest)]
        )
        rows = torch.arange(len(owner), device=on)
        sees = (rows[:, None] >= rows) & ((owner == -1) | (owner[:, None] == owner))
        real_ST = torch.ones(stories, len(owner), dtype=torch.bool, device=on)
        real_ST[:, n + clips * read : shared] = lead < batch.lead_lengths[:, None]
        itself = torch.eye(len(owner), dtype=torch.bool, device=on)
        return embeds, (sees & real_ST[:, None]) | itself, positions

    def _told(self, batch: ClipDeviceBatch) -> Tensor:
        """What the proof shows, in words, for the tokens of the question: [B, L, D]. Of unseen things mostly something else."""
        assert batch.loudness is not None, "checked by the caller"
        embed = self.model.language.decoder.model.embed_tokens
        each = len(batch.texts) // len(batch.tokens)
        shown_BCW = batch.shown.repeat_interleave(each, 0)
        on = shown_BCW.device
        other = torch.rand(shown_BCW.shape[:2], device=on).argmax(1)
        misled = batch.denied & (torch.rand(len(other), device=on) < _MISLED)
        chosen_BC = batch.needles.clone()
        chosen_BC[torch.arange(len(other), device=on), other] |= misled
        words_BW = (chosen_BC[..., None] & shown_BCW).any(1).to(embed.weight.dtype)
        words_BD = words_BW @ embed.weight[self.names] / words_BW.sum(1, keepdim=True).clamp(min=1).sqrt()
        low, high = batch.loudness
        loud_B1 = low + (high - low) * torch.rand(len(words_BD), 1, device=on)
        return torch.where(_within(batch.question, batch.texts)[..., None], (loud_B1 * words_BD)[:, None], 0.0)

    def _evidence(
        self, attentions: Sequence[Tensor], batch: ClipDeviceBatch, each: int, longest: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the log of the attention to the proof: of the question's tokens, and of the last one before the answer."""
        n, (clips, read) = len(self.head), batch.tokens.shape[1:3]
        proven = batch.needles.any(1)
        losses, right = [], batch.needles.any(1)
        for layer in (NEW_LAYERS - 1, self._dropping):
            share_SqLV = attentions[layer].float().mean(1)[:, -each * longest :, n : n + clips * read]
            share_BLC = share_SqLV.unflatten(1, (each, longest)).flatten(0, 1).unflatten(-1, (clips, read)).sum(-1)
            if layer == self._dropping:
                last = (batch.answer[:, 0] - 1)[:, None, None].expand(-1, 1, clips)
                mass_BC = share_BLC.gather(1, last)[:, 0]
                right = batch.needles.gather(1, mass_BC.argmax(1, keepdim=True))[:, 0] & proven
            else:
                asked_BL1 = _within(batch.question, batch.texts)[..., None]
                mass_BC = (share_BLC * asked_BL1).sum(1) / asked_BL1.sum(1)
            found = (mass_BC * batch.needles).sum(1).clamp(min=_LEAST_MASS)
            losses.append(-(found.log() * proven).sum() / proven.sum().clamp(min=1))
        return torch.stack(losses).mean(), {"evidence/right": right.sum(), "evidence/asked": proven.sum()}


def _within(ranges_B2: Tensor, rows_BL: Tensor) -> Tensor:
    places = torch.arange(rows_BL.shape[1], device=rows_BL.device)
    return (places >= ranges_B2[:, :1]) & (places < ranges_B2[:, 1:])


@torch.no_grad()
def begin_by_likeness(model: VideoLanguageModel, seed: int) -> None:
    """Initialise the first layers so that they change nothing yet, but the second one finds what is alike."""
    draw = torch.Generator().manual_seed(seed)
    layers = model.language.decoder.model.layers
    for layer in layers[:NEW_LAYERS]:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    attention = layers[NEW_LAYERS - 1].self_attn
    dim = attention.head_dim
    rows = torch.arange(attention.q_proj.weight.shape[0]) % dim % (dim // 2)
    alike = torch.linalg.qr(torch.randn(attention.q_proj.weight.shape, generator=draw))[0]
    alike = alike * torch.where(rows >= _STEADY, _LIKENESS, 0.1)[:, None]
    if attention.k_proj.weight.shape == alike.shape:  # as many key heads as query heads
        attention.q_proj.weight.copy_(alike)
        attention.k_proj.weight.copy_(alike)
    passed = torch.linalg.qr(torch.randn(attention.v_proj.weight.shape, generator=draw))[0]
    attention.v_proj.weight.copy_(passed)
    if attention.o_proj.weight.shape == passed.T.shape:
        attention.o_proj.weight.copy_(0.3 * passed.T)
