"""A video, a question, an answer: projector, MemAug and language model composed.

Legend: R rows of features, P tokens per frame, Dv vision width, N key frames, V visible frames, K kept cells, C key cells,
Q query tokens, M memory tokens, D width, L tokens of the language model's input.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from memory.positions import VideoLayout
from model.errors import InputMismatch
from model.language import LanguageModel
from model.memaug import EvidenceRequest, MemAug, Memory
from model.projector import Projector
from model.prompt import Prompt
from model.splice import join_queries, plan_queries, splice

FRAMES_PER_CHUNK = 64  # key frames that are projected at once; bounds memory, changes no result

Features = NDArray[np.floating] | Tensor


@dataclass(frozen=True)
class VideoInputs:
    """What the language model is given, and what it rests on."""

    inputs_embeds: Tensor  # [L, D]
    frame_weights: NDArray[np.float64] | None  # [R], sums to 1: the evidence weight of each feature row


class VideoLanguageModel(nn.Module):
    """Answers questions about a video from its stored features."""

    def __init__(
        self,
        projector: Projector,
        memaug: MemAug,
        newline: nn.Parameter,
        language: LanguageModel,
        evidence_blocks: Sequence[int] | None = None,
    ) -> None:
        """newline [D] ends every frame. evidence_blocks: MemAug blocks that evidence is read from; None: all but the last."""
        super().__init__()
        self.projector, self.memaug, self.language = projector, memaug, language
        self.newline = newline
        self.evidence_blocks = evidence_blocks

    @torch.inference_mode()
    def inputs_embeds(
        self,
        features: Features,
        layout: VideoLayout,
        prompt: Prompt,
        *,
        want_evidence: bool = True,
        memory: Memory | None = None,
    ) -> VideoInputs:
        """Everything up to the language model, without gradients.

        features [R, P, Dv]: the recalled frames' tokens in any float dtype. `memory` from `remember`, of the same features and
        layout, saves making it again: it does not depend on the question. Raises InputMismatch where the parts do not fit.
        """
        return self.assemble(features, layout, prompt, want_evidence=want_evidence, memory=memory)

    @torch.inference_mode()
    def remember(self, features: Features, layout: VideoLayout) -> Memory:
        """The memory that MemAug attends to, reusable for every question about this layout."""
        return self._remember(features, layout)

    def assemble(
        self,
        features: Features,
        layout: VideoLayout,
        prompt: Prompt,
        *,
        want_evidence: bool = False,
        memory: Memory | None = None,
    ) -> VideoInputs:
        """The same as `inputs_embeds`, differentiable: what training calls."""
        self._check(features, layout)
        memory = self._remember(features, layout) if memory is None else memory
        before_nD, after_mD = self.language.embed(prompt.before), self.language.embed(prompt.after)
        plan = plan_queries(layout.query_position_ids(), prompt)
        queries_QD = join_queries(before_nD, self._decayed(features, layout), after_mD, prompt)
        request = None
        if want_evidence and len(plan.question):
            rows = torch.from_numpy(plan.question).to(queries_QD.device)
            request = EvidenceRequest(rows, layout.key_tokens_per_frame, self.evidence_blocks)
        positions_BQ = self._positions(plan.positions)
        augmented_BQD, mass = self.memaug(queries_QD[None], positions_BQ, memory, evidence=request)
        weights = None if mass is None else _normalised(layout.fold(mass[0].double().cpu().numpy()))
        return VideoInputs(splice(before_nD, augmented_BQD[0, plan.visual], after_mD), weights)

    def first_token_logits(self, inputs: VideoInputs) -> Tensor:
        """float32 [vocab]: scores of the answer's first token, for multiple choice."""
        return self.language.first_token_logits(inputs.inputs_embeds)

    def generate(
        self, inputs: VideoInputs, *, max_new_tokens: int, seed: int = 0, temperature: float = 0.0
    ) -> Iterator[int]:
        """Stream the answer's token ids; greedy at temperature 0."""
        return self.language.generate(
            inputs.inputs_embeds, max_new_tokens=max_new_tokens, seed=seed, temperature=temperature
        )

    @torch.inference_mode()
    def frame_vectors(self, features: Features) -> NDArray[np.float64]:
        """Each frame's mean token after the projector, [R, D]: what question-guided forgetting compares."""
        parts = [
            self.projector(self._tensor(features[start : start + FRAMES_PER_CHUNK])).mean(1).double().cpu()
            for start in range(0, len(features), FRAMES_PER_CHUNK)
        ]
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def question_vector(self, prompt: Prompt) -> NDArray[np.float64]:
        """Mean embedding of the question's tokens, [D]."""
        return self.language.embed(prompt.after[prompt.question]).mean(0).double().cpu().numpy()

    def _remember(self, features: Features, layout: VideoLayout) -> Memory:
        positions = layout.key_position_ids()
        return self.memaug.remember(self._memory_chunks(features, layout, positions), len(positions))

    def _memory_chunks(
        self, features: Features, layout: VideoLayout, positions: NDArray[np.float64]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Projected key frames with their newlines and positions, chunk by chunk; in one piece where gradients are wanted."""
        frames, tokens = len(layout.key_rows), layout.key_tokens_per_frame
        step = frames if torch.is_grad_enabled() else FRAMES_PER_CHUNK
        for start in range(0, frames, step):
            chunk_NPD = self._tensor(features[layout.key_rows[start : start + step]])
            if layout.key_cells is not None:
                chunk_NPD = _take_cells(chunk_NPD, layout.key_cells[start : start + step])
            span = slice(start * tokens, (start + len(chunk_NPD)) * tokens)
            yield self._with_newlines(self.projector(chunk_NPD))[None], self._positions(positions[span])

    def _decayed(self, features: Features, layout: VideoLayout) -> Tensor:
        """The decayed tokens [V * (K + 1), D]; only kept cells are projected."""
        visible_VPD = self._tensor(features[layout.key_rows[layout.visible]])
        return self._with_newlines(self.projector(_take_cells(visible_VPD, layout.cells)))

    def _with_newlines(self, tokens_FCD: Tensor) -> Tensor:
        """Frames of tokens [F, C, D] to one sequence [F * (C + 1), D], each frame ended by the newline."""
        return torch.cat([tokens_FCD, self.newline.expand(len(tokens_FCD), 1, -1)], dim=1).flatten(0, 1)

    def _tensor(self, features: Features) -> Tensor:
        rows = torch.from_numpy(np.ascontiguousarray(features)) if isinstance(features, np.ndarray) else features
        return rows.to(device=self.newline.device, dtype=self.newline.dtype)

    def _positions(self, positions_Q: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(positions_Q).to(device=self.newline.device, dtype=torch.float32)[None]

    def _check(self, features: Features, layout: VideoLayout) -> None:
        expected = (layout.rows, layout.tokens_per_frame, self.projector.vision_width)
        if tuple(features.shape) != expected:
            raise InputMismatch(f"features have shape {tuple(features.shape)} but layout and model expect {expected}")


def _take_cells(tokens_FPD: Tensor, cells_FK: NDArray[np.int64]) -> Tensor:
    """The named cells of each frame, [F, K, D]."""
    places = torch.from_numpy(np.ascontiguousarray(cells_FK)).to(tokens_FPD.device)
    return tokens_FPD.gather(1, places[..., None].expand(-1, -1, tokens_FPD.shape[-1]))


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights / weights.sum()
