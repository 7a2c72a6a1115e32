"""The last stage: MemAug and decoder learn to answer from final features.

The arithmetic is that of model.video_language, batched: the memory of a story is computed once for all its questions,
without changing the result (a test compares them). The loss is the cross-entropy of the answer plus a small evidence
loss: minus the log of the attention from the question's tokens to the frames that prove the answer. (Hour-LLaVA has no
such loss; it keeps the evidence honest.) Optionally the question's tokens after MemAug must also name all words that
these frames show, because an answer names only one.

Without MemAug (an ablation) the decoder receives the decayed tokens as they are; then there is no evidence, and neither of
these two losses.

Legend: S stories, q questions per story, B = S * q, K evidence blocks, N frames, V visible frames, P tokens per frame, C kept cells, Q
query tokens, M memory tokens, D width, n tokens before the video, L tokens after it, Y answer tokens, W words that name
what frames show.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.kernels.attention import fold_groups
from afterview.model.memaug.memaug import KeysValues, MemAugBlock, MemoryKeyValues
from afterview.model.memaug.rope import rotation
from afterview.model.video_language import VideoLanguageModel
from afterview.training.core.trainer import StepOutput
from afterview.training.tiny.answers import answer_logits, answering, joined, kinds_right
from afterview.training.tiny.decayed import Decayed, DecayedPlan
from afterview.training.tiny.device_batch import DeviceBatch
from afterview.training.world.facts import KINDS

_LEAST_MASS = 1e-4  # keeps the evidence loss finite if attention misses the proof completely


class Asking(NamedTuple):
    """What MemAug makes of the tokens that say what to find.

    halfway_BD, end_BD: their mean after the first evidence block and after MemAug. clues_BN: the first block's evidence on the cells of
    clues alone; on whole frames where the batch names no such cells. looked_KBN: where every watched block looks.
    """

    halfway_BD: Tensor
    end_BD: Tensor
    clues_BN: Tensor
    looked_KBN: Tensor


Found: TypeAlias = tuple[
    Tensor, Tensor | None, Asking | None
]  # what comes before the decoder: see `StudyObjective.find`


class Reading(NamedTuple):
    """What the model makes of a batch: see `answer_logits`, and `StudyObjective.find` for the rest, which is None without MemAug."""

    logits_BYW: Tensor
    real_BY: Tensor
    masses_KBN: Tensor | None
    asking: Asking | None


class StudyObjective(nn.Module):
    """Trains a VideoLanguageModel on a table of frame features."""

    head: Tensor  # token ids before the video
    pointers: Tensor
    names: Tensor  # token ids of the words that name what frames show
    clue_names: Tensor  # which of them a clue tells

    def __init__(
        self,
        model: VideoLanguageModel,
        head: Sequence[int],
        *,
        forgetting: ForgettingConfig,
        evidence_weight: float = 0.1,
        grid: int = 8,
        telling_weight: float = 0.0,
        pointers: Collection[int] = (),
        names: Tensor | None = None,
        kinds: Sequence[str] = KINDS,
        clue_weight: float = 0.0,
        clue_names: Tensor | None = None,
        every_block: bool = False,
    ) -> None:
        """head: token ids before the video. pointers: ids of tokens that point into the evidence; such an answer is right if the evidence
        is. names: token ids [W]. kinds: what a batch's kinds number. clue_names: bool [W], the words that a clue tells. every_block: say
        where every block looks, and not only those that evidence is read from.
        """
        super().__init__()
        if model.token_embeddings is None:
            raise ValueError("the study needs a model with token embeddings; load_pretrained gives one")
        self.model, self.kinds = model, kinds
        self._evidence_weight, self._telling_weight, self._clue_weight = evidence_weight, telling_weight, clue_weight
        self._evidence_blocks = set(model.memaug.evidence_blocks(model.evidence_blocks))
        self._watched = list(range(len(model.memaug.layers))) if every_block else sorted(self._evidence_blocks)
        self._decayed = DecayedPlan(forgetting, grid)
        self.register_buffer("head", torch.tensor(list(head)), persistent=False)
        self.register_buffer("pointers", torch.tensor(sorted(pointers), dtype=torch.long), persistent=False)
        self.register_buffer("names", torch.zeros(0, dtype=torch.long) if names is None else names, persistent=False)
        self.register_buffer(
            "clue_names", torch.zeros(0, dtype=torch.bool) if clue_names is None else clue_names, persistent=False
        )

    def forward(self, batch: DeviceBatch) -> StepOutput:
        """Loss, and how many answers of each kind are completely right."""
        return self.judged(batch, self.read(batch))

    def read(self, batch: DeviceBatch, found: Found | None = None) -> Reading:
        """What the model makes of all questions. found: what `find` gave for them."""
        embeds, masses_KBN, asking = self.find(batch) if found is None else found
        return Reading(*answer_logits(self.model.language, embeds, batch), masses_KBN, asking)

    def judged(self, batch: DeviceBatch, reading: Reading) -> StepOutput:
        """As `forward`, of what was read."""
        masses_KBN, asking = reading.masses_KBN, reading.asking
        loss, right = answering(reading.logits_BYW, reading.real_BY, batch)
        pointed = torch.isin(batch.answers, self.pointers).any(1)
        if masses_KBN is None or asking is None:  # without MemAug nothing can be pointed to
            return StepOutput(loss, {"answering": loss} | kinds_right(right & ~pointed, batch.kinds, names=self.kinds))
        proven, evident = batch.needles.any(1), _evident(masses_KBN, batch)
        proving = _all_proving(masses_KBN, asking.clues_BN, batch, proven)
        right = right & (evident | ~pointed)
        figures = {
            "answering": loss,
            "proving": proving,
            "evidence/right": evident.sum(),
            "evidence/asked": proven.sum(),
        }
        loss = loss + self._evidence_weight * proving
        if self._telling_weight:
            telling = self._telling(asking.end_BD, batch.named)
            loss, figures["telling"] = loss + self._telling_weight * telling, telling
        if self._clue_weight and batch.clue_cells is not None:
            clue = self._telling(asking.halfway_BD, batch.named & self.clue_names & batch.led[:, None])
            loss, figures["clue"] = loss + self._clue_weight * clue, clue
        return StepOutput(loss, figures | kinds_right(right, batch.kinds, names=self.kinds))

    def answered(self, batch: DeviceBatch) -> Tensor:
        """Which questions are answered, token for token, as a greedy decoder would, bool [B]. A pointer also needs the most
        evidence on a frame that proves the answer; without MemAug nothing can be pointed to.
        """
        reading = self.read(batch)
        _, right = answering(reading.logits_BYW, reading.real_BY, batch)
        pointed = torch.isin(batch.answers, self.pointers).any(1)
        masses_KBN = reading.masses_KBN
        return right & (~pointed if masses_KBN is None else _evident(masses_KBN, batch) | ~pointed)

    def _telling(self, asking_BD: Tensor, named_BW: Tensor) -> Tensor:
        """Minus the log likelihood of the words that name what the proof shows."""
        language = self.model.language
        logits = language.logits(language.decoder.model.norm(asking_BD))
        said_BW = logits.float().log_softmax(-1)[:, self.names]
        return -(said_BW * named_BW).sum() / named_BW.sum().clamp(min=1)

    def find(self, batch: DeviceBatch) -> Found:
        """The decoder's input; without MemAug alone, otherwise with the evidence of each evidence block, [K, B, N], and `Asking`.

        The decoder's input is [B, n + V(C+1) + L + Y, D]; in each row the answer directly follows the text.
        """
        model, embed = self.model, self.model.language.decoder.model.embed_tokens
        memory_SND, numbers = self._memory(batch)
        after_BLD = embed(batch.after)
        decayed = self._decayed.choose(batch, model, after_BLD)
        visual_BVD = decayed.tokens(memory_SND).repeat_interleave(len(after_BLD) // decayed.readers, 0)
        before_BnD = embed(self.head).expand(len(visual_BVD), -1, -1)
        start, end = len(self.head), len(self.head) + visual_BVD.shape[1]
        masses_KBN = asking = None
        if model.use_memaug:
            queries = torch.cat([before_BnD, visual_BVD.to(before_BnD.dtype), after_BLD], 1)
            spots_BV = decayed.spots(numbers, memory_SND.shape[2]).repeat_interleave(
                len(after_BLD) // decayed.readers, 0
            )
            kept, cells_SM = self._remembered(batch, memory_SND, numbers, decayed)
            augmented, masses_KBNp, halfway = self._asked(batch, queries, spots_BV, kept)
            visual_BVD, looked_KBN = augmented[:, start:end], masses_KBNp.sum(-1)
            evidence = [self._watched.index(block) for block in sorted(self._evidence_blocks)]
            masses_KBN = looked_KBN[evidence]
            asked_BL1, seeking_BL1 = batch.asked[..., None], batch.seeking[..., None]
            halfway_BD, end_BD = ((x[:, end:] * seeking_BL1).sum(1) / seeking_BL1.sum(1) for x in (halfway, augmented))
            asking = Asking(halfway_BD, end_BD, _on_clues(masses_KBNp[evidence[0]], cells_SM, batch), looked_KBN)
            if model.augmented_question:
                after_BLD = after_BLD + torch.where(asked_BL1, augmented[:, end:].to(after_BLD.dtype), 0)
        text = joined(after_BLD, embed(batch.answers), batch.after_lengths)
        return torch.cat([before_BnD, visual_BVD.to(before_BnD.dtype), text], 1), masses_KBN, asking

    def _remembered(
        self, batch: DeviceBatch, memory_SND: Tensor, numbers: Tensor, decayed: Decayed
    ) -> tuple[MemoryKeyValues, Tensor]:
        """Keys and values of every story, with the cell of each token, [S, M].

        They are of random tokens of its frames, or of its decayed tokens where the repository holds no others.
        """
        per_frame = memory_SND.shape[2]
        if self._decayed.alone(batch):
            tokens_SMD, positions_SM = decayed.tokens(memory_SND), decayed.spots(numbers, per_frame)
        else:
            positions_SNP = numbers[..., None] * per_frame + torch.arange(per_frame, device=numbers.device)
            tokens_SMD, positions_SM = _drawn(memory_SND, positions_SNP, batch.tokens_read, batch.favoured, batch.draw)
        kept = self.model.memaug.remember([(tokens_SMD, self._turned(positions_SM))], tokens_SMD.shape[1])
        return kept, positions_SM % per_frame

    def _asked(
        self, batch: DeviceBatch, queries: Tensor, spots_BV: Tensor, kept: MemoryKeyValues
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All questions through MemAug: the queries, augmented, the attention of each watched block to each token that was read,
        [K, B, N, p], and the queries after the first evidence block.
        """
        count, before = batch.after.shape[1], len(self.head)
        joining_BL = batch.joining
        spots_BV = spots_BV + before
        after_positions = spots_BV.max(1, keepdim=True).values + joining_BL.cumsum(1)
        first = torch.arange(before, device=queries.device).expand(len(queries), -1)
        valid = torch.ones(queries.shape[:2], dtype=torch.bool, device=queries.device)
        valid[:, -count:] = joining_BL
        at = self._turned(torch.cat([first, spots_BV, after_positions], 1))
        return self._augment(queries, at, kept.blocks, valid, batch.seeking, batch.numbers.shape[1])

    def _turned(self, positions: Tensor) -> Tensor:
        """Positions as MemAug rotates by them; without rotary positions all are 0."""
        return positions.float() if self.model.rotary else torch.zeros_like(positions, dtype=torch.float32)

    def _memory(self, batch: DeviceBatch) -> tuple[Tensor, Tensor]:
        """Memory tokens with their embeddings [S, N, P + 1, D], and the numbers of the frames [S, N]."""
        model, embeddings = self.model, self.model.token_embeddings
        assert embeddings is not None, "checked in __init__"
        assert model.newline is not None, "a model with MemAug has one"
        features = batch.features.to(model.newline.dtype)
        tokens = model.projector(features)
        newline = model.newline.to(tokens.dtype).expand(*tokens.shape[:2], 1, -1)
        of_frames = embeddings.of_frames(features.mean(2), batch.numbers, batch.spans[:, None])
        if of_frames.summary is not None:
            newline = newline + of_frames.summary[:, :, None]
        memory = torch.cat([tokens, newline], 2)
        if embeddings.place is not None:
            memory = memory + embeddings.place
        return memory if of_frames.time is None else memory + of_frames.time[:, :, None], batch.numbers

    def _augment(
        self, x: Tensor, at: Tensor, kept: Sequence[KeysValues], valid: Tensor, asked: Tensor, frames: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """MemAug over all questions at once. The questions of a story share its memory of `frames` frames."""
        memaug, rows, stories = self.model.memaug, x.shape[1], len(kept[0].keys)
        rotary = rotation(at, memaug.heads.dim, memaug.rope_theta)
        mask = valid if not bool(valid.all()) else None
        masses, halfway = [], x
        for number, (block, memory) in enumerate(zip(memaug.layers, kept, strict=True)):
            assert isinstance(block, MemAugBlock)
            x = block.gather(x, rotary, mask)
            queries = block.cross_attn.queries(x, rotary)
            if number in self._watched:
                masses.append(_mass(queries[:, -asked.shape[1] :], memory.keys, asked, frames, stories))
            x = block.read(_fold(x, stories), _fold(queries, stories), memory, None).view(-1, rows, x.shape[-1])
            x = block.digest(x)
            if number == min(self._evidence_blocks):
                halfway = x
        return x, torch.stack(masses), halfway


def _drawn(
    memory_SNPD: Tensor,
    positions_SNP: Tensor,
    count: int | None,
    favoured: Tensor | None = None,
    draw: int | None = None,
) -> tuple[Tensor, Tensor]:
    """`count` random tokens of each frame, with their positions: [S, M, D] and [S, M]. None: all tokens. draw: seed; None: torch's own.

    Each token of a frame tells what the frame shows (training.tiny.sight), and a softmax over a random part equals that
    over all tokens, except for noise. On a CPU, the cost of a step is mostly reading the memory.
    """
    if count is not None:
        seeded = None if draw is None else torch.Generator(positions_SNP.device).manual_seed(draw)
        chance = torch.rand(positions_SNP.shape, generator=seeded, device=positions_SNP.device)
        chance = chance if favoured is None else chance.pow(1 / favoured)
        drawn = chance.topk(count, dim=-1).indices.sort(-1).values
        memory_SNPD = memory_SNPD.gather(2, drawn[..., None].expand(-1, -1, -1, memory_SNPD.shape[-1]))
        positions_SNP = positions_SNP.gather(2, drawn)
    return memory_SNPD.flatten(1, 2), positions_SNP.flatten(1)


def _proving(mass_BN: Tensor, frames_BN: Tensor, proven_B: Tensor) -> Tensor:
    """Minus the log of the attention to these frames, the mean over proven questions."""
    found = (mass_BN * frames_BN).sum(1).clamp(min=_LEAST_MASS)
    return -(found.log() * proven_B).sum() / proven_B.sum().clamp(min=1)


def _evident(masses_KBN: Tensor, batch: DeviceBatch) -> Tensor:
    """Which questions have the most evidence on a frame that proves the answer, bool [B]."""
    return batch.needles.gather(1, masses_KBN.mean(0).argmax(1, keepdim=True))[:, 0] & batch.needles.any(1)


def _on_clues(mass_BNp: Tensor, cells_SM: Tensor, batch: DeviceBatch) -> Tensor:
    """The part of this evidence that lies on the cells of clues, [B, N]; for questions that no clue leads to the answer of, all of it."""
    if batch.clue_cells is None:
        return mass_BNp.sum(-1)
    clues_SNp = torch.isin(cells_SM, batch.clue_cells).unflatten(-1, mass_BNp.shape[1:])
    counts = clues_SNp.repeat_interleave(batch.each, 0) | ~batch.led[:, None, None]
    return (mass_BNp * counts).sum(-1)


def _all_proving(masses_KBN: Tensor, firsts_BN: Tensor, batch: DeviceBatch, proven_B: Tensor) -> Tensor:
    """The evidence loss: of the mean of the blocks; or, where something leads to the proof, of the first block on that and of the others
    on the proof. firsts_BN: evidence of the first block, `_on_clues`.
    """
    led_B = batch.led if batch.clue_cells is None else torch.ones_like(proven_B)
    if not bool(led_B.any()):
        return _proving(masses_KBN.mean(0), batch.needles, proven_B)
    proofs = [_proving(firsts_BN, batch.firsts, proven_B & led_B)]
    proofs += [_proving(mass_BN, batch.needles, proven_B & led_B) for mass_BN in masses_KBN[1:]]
    whole = _proving(masses_KBN.mean(0), batch.needles, proven_B & ~led_B)
    return torch.lerp(whole, torch.stack(proofs).mean(), (proven_B & led_B).sum() / proven_B.sum().clamp(min=1))


def _fold(x: Tensor, stories: int) -> Tensor:
    """[B, Q, ...] -> [S, q * Q, ...]."""
    return x.reshape(stories, -1, *x.shape[2:])


def _mass(queries: Tensor, keys: Tensor, asked: Tensor, frames: int, stories: int) -> Tensor:
    """Attention from each question's tokens to each token of each frame, float32 [B, N, p]. queries [B, L, H, d]: of the text after the
    video.
    """
    # The tokens of a story's questions are packed together; padding would multiply their number.
    asked_ST = _fold(asked, stories)
    most = int(asked_ST.sum(1).max())
    order = asked_ST.float().argsort(dim=1, descending=True, stable=True)[:, :most]
    story = torch.arange(stories, device=order.device)[:, None]
    chosen_SnHd, real_Sn = _fold(queries, stories)[story, order], asked_ST.gather(1, order)
    folded = fold_groups(chosen_SnHd, keys.shape[1]) * queries.shape[-1] ** -0.5
    share_SGRM = (folded @ keys.transpose(-1, -2)).float().softmax(-1)
    share_SnM = share_SGRM.unflatten(2, (-1, most)).mean((1, 2)) * real_Sn[..., None]
    owner = story * (len(asked) // stories) + order // asked.shape[1]
    sum_BM = share_SnM.new_zeros(len(asked), share_SnM.shape[-1]).index_add(0, owner.flatten(), share_SnM.flatten(0, 1))
    return (sum_BM / asked.sum(1, keepdim=True)).unflatten(-1, (frames, -1))
