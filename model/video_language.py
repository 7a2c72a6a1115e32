"""A video, a question, an answer: the projector, MemAug and the language model composed.

Legend: R rows of features, P tokens per frame, Dv vision width, N key frames, V visual tokens among the queries, Q
query tokens, M memory tokens, D width, L tokens of the language model's input.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import NEWLINE, VideoLayout
from afterview.model.base.errors import InputMismatch
from afterview.model.base.generation import GenerationSettings
from afterview.model.language.decoder import LanguageModel, Narrowing
from afterview.model.language.prompt import Prompt
from afterview.model.language.sampling import GREEDY
from afterview.model.language.visual_attention import VisualAttention
from afterview.model.language.visual_dropout import Spans
from afterview.model.memaug.memaug import EvidenceRequest, MemAug, MemoryKeyValues
from afterview.model.memaug.splice import QueryPlan, TokenLayout, join_queries, plan_queries, splice
from afterview.model.memaug.token_embeddings import FrameEmbeddings, TokenEmbeddings
from afterview.model.vision.projector import Projector

# Least number of memory tokens projected at a time; bounds memory, does not change the result.
TOKENS_PER_CHUNK = 16 * 65
CHUNKS = 64  # most chunks of a long memory: a chunk's temporary tensors stay a small share of its keys and values

Features = NDArray[np.floating] | Tensor
FrameLayout = VideoLayout | ClipLayout  # of the rows of a memory; a ClipLayout for a model without MemAug and newline
TokenReader = Callable[[NDArray[np.int64]], Tensor]  # indices of visual tokens [n] -> projected tokens [n, D]


@dataclass(frozen=True)
class VideoInputs:
    """The language model's input, and the evidence behind it."""

    inputs_embeds: Tensor  # [L, D]
    frame_weights: NDArray[np.float64] | None  # [R], sums to 1: evidence weight of each feature row
    visual: Spans = ()  # where the visual tokens are in the input
    attention: VisualAttention | None = None  # evidence without MemAug; filled in while the answer is generated


class VideoLanguageModel(nn.Module):
    """Answers questions about a video from its stored features."""

    def __init__(
        self,
        projector: Projector,
        memaug: MemAug,
        newline: nn.Parameter | None,
        language: LanguageModel,
        evidence_blocks: Sequence[int] | None = None,
        *,
        token_embeddings: TokenEmbeddings | None = None,
        augmented_question: bool = False,
        use_memaug: bool = True,
        rotary: bool = True,
    ) -> None:
        """newline [D] ends every frame; None: nothing does (VideoChat-Flash). evidence_blocks: MemAug blocks that evidence is
        read from; None: all but the last.

        token_embeddings: see model.memaug.token_embeddings. augmented_question: give the decoder the question's tokens
        as augmented by MemAug instead of plainly embedded ones; small models learn faster with it, published models do
        not use it. use_memaug: if False, the decayed tokens are used as they are, without evidence. rotary: if False, all
        tokens have position 0 in MemAug, so its rotary embedding changes nothing.
        """
        super().__init__()
        self.token_embeddings, self.augmented_question, self.use_memaug = (
            token_embeddings,
            augmented_question,
            use_memaug,
        )
        self.rotary = rotary
        self.projector, self.memaug, self.language = projector, memaug, language
        self.newline = newline
        self.evidence_blocks = evidence_blocks
        self.register_load_state_dict_pre_hook(_rename_old_keys)

    @torch.inference_mode()
    def inputs_embeds(
        self,
        features: Features,
        layout: FrameLayout,
        prompt: Prompt,
        *,
        want_evidence: bool = True,
        key_values: MemoryKeyValues | None = None,
    ) -> VideoInputs:
        """Everything up to the language model, without gradients (for gradients see model.batch).

        features [R, P, Dv]: tokens of the recalled frames in any float dtype. key_values: from `remember`, for the same
        features and layout; reusing them saves computing them again. Raises InputMismatch if the parts do not fit each
        other.
        """
        self.check(features, layout)
        read = self.feature_reader(features)
        plan = plan_queries(layout.query_position_ids(), prompt, layout.query_groups())
        if isinstance(layout, ClipLayout):
            embeds, _ = self._augment(read(layout.query_tokens()), plan, prompt, None, None)
            return VideoInputs(embeds, None, visual_spans(prompt, plan), VisualAttention() if want_evidence else None)
        request = self._evidence_request(plan, layout) if want_evidence else None
        embedder = self.embedder(features, layout)
        if key_values is None and self.use_memaug:
            key_values = self._remember(read, layout, embedder)
        seen = embedder.queries(read(layout.query_tokens()))
        embeds, mass = self._augment(seen, plan, prompt, key_values, request)
        weights = None if mass is None else evidence_weights(mass, layout)
        return VideoInputs(embeds, weights, visual_spans(prompt, plan))

    @torch.inference_mode()
    def remember(self, features: Features, layout: VideoLayout) -> MemoryKeyValues:
        """The keys and values that MemAug attends to. They are valid for every question about this layout."""
        self.check(features, layout)
        return self._remember(self.feature_reader(features), layout, self.embedder(features, layout))

    @torch.inference_mode()
    def image_inputs(self, tokens_TD: Tensor, layout: TokenLayout, prompt: Prompt) -> VideoInputs:
        """The same for images. model.vision.pictures makes the projected tokens [T, D] and the layout. Images give no evidence."""
        read = self.token_reader(tokens_TD)
        plan = plan_queries(layout.query_position_ids(), prompt, layout.query_groups())
        seen = read(layout.query_tokens())
        key_values = self._remember(read, layout, None) if self.use_memaug else None
        embeds, _ = self._augment(seen, plan, prompt, key_values, None)
        return VideoInputs(embeds, None, visual_spans(prompt, plan))

    @torch.inference_mode()
    def text_inputs(self, prompt: Prompt) -> VideoInputs:
        """The same for text only: the embedded prompt."""
        return VideoInputs(torch.cat([self.language.embed(prompt.before), self.language.embed(prompt.after)]), None)

    def first_token_logits(self, inputs: VideoInputs) -> Tensor:
        """Scores of the answer's first token, float32 [vocab]; for multiple choice."""
        return self.language.first_token_logits(inputs.inputs_embeds, visual=inputs.visual)

    def generate(
        self, inputs: VideoInputs, *, max_new_tokens: int, seed: int = 0, sampling: GenerationSettings = GREEDY
    ) -> Iterator[int]:
        """Stream the answer's token ids. Greedy unless `sampling` says otherwise."""
        return self.language.generate(
            inputs.inputs_embeds,
            visual=inputs.visual,
            max_new_tokens=max_new_tokens,
            seed=seed,
            sampling=sampling,
        )

    def generate_several(
        self,
        inputs: Sequence[VideoInputs],
        *,
        max_new_tokens: int,
        seed: int = 0,
        sampling: GenerationSettings = GREEDY,
        ended: Collection[int] = (),
        narrowings: Sequence[Narrowing] = (),
    ) -> Iterator[tuple[int, int | None]]:
        """Stream several answers in parallel: (index, token id), and (index, None) when an answer ends.

        ended: answers that end now; the consumer adds to it while it reads. narrowings: of each answer, which tokens may come next.
        """
        return self.language.generate_several(
            [own.inputs_embeds for own in inputs],
            visual=[own.visual for own in inputs],
            max_new_tokens=max_new_tokens,
            seed=seed,
            sampling=sampling,
            ended=ended,
            attention=[own.attention for own in inputs],
            narrowings=narrowings,
        )

    @torch.inference_mode()
    def frame_vectors(self, features: Features) -> NDArray[np.float64]:
        """Mean token of each frame after the projector, [R, D]. Question-guided forgetting compares these."""
        frames = max(1, TOKENS_PER_CHUNK // features.shape[1])
        parts = [
            self.projector(self.tensor(features[start : start + frames])).mean(1).double().cpu()
            for start in range(0, len(features), frames)
        ]
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def question_vector(self, prompt: Prompt) -> NDArray[np.float64]:
        """Mean embedding of the question's tokens, [D]."""
        return self.language.embed(prompt.after[prompt.question]).mean(0).double().cpu().numpy()

    def feature_reader(self, features: Features) -> TokenReader:
        """A reader of tokens of features [R, P, Dv] by index, projected. NEWLINE reads the newline."""
        flat = features.reshape(-1, features.shape[-1])
        return lambda places: self._with_newlines(self.projector(self.tensor(flat[places])), places)

    def token_reader(self, tokens_TD: Tensor) -> TokenReader:
        """A reader of tokens that are already projected."""
        return lambda places: self._with_newlines(tokens_TD[torch.from_numpy(places).to(tokens_TD.device)], places)

    def tensor(self, features: Features) -> Tensor:
        """Features on the model's device, in its dtype."""
        rows = torch.from_numpy(np.ascontiguousarray(features)) if isinstance(features, np.ndarray) else features
        return rows.to(device=self.like.device, dtype=self.like.dtype)

    @property
    def like(self) -> Tensor:
        """A parameter whose device and dtype are those of tokens."""
        return next(self.projector.parameters()) if self.newline is None else self.newline

    def positions(self, ids: NDArray[np.float64]) -> Tensor:
        """Position ids for MemAug, float32. Exact up to 16.7 million; the position policies keep them below that."""
        used = ids if self.rotary else np.zeros_like(ids)
        return torch.from_numpy(used).to(device=self.like.device, dtype=torch.float32)

    def check(self, features: Features, layout: FrameLayout) -> None:
        """Raise InputMismatch, with both shapes, unless the features fit the layout and the model."""
        if self.use_memaug and isinstance(layout, ClipLayout):
            raise InputMismatch("a ClipLayout was given to a model with MemAug; plan its memory with `plan_layout`")
        expected = (layout.rows, layout.tokens_per_frame, self.projector.vision_width)
        if tuple(features.shape) != expected:
            raise InputMismatch(f"features have shape {tuple(features.shape)} but layout and model expect {expected}")

    def _augment(
        self,
        visual_VD: Tensor,
        plan: QueryPlan,
        prompt: Prompt,
        key_values: MemoryKeyValues | None,
        request: EvidenceRequest | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The language model's input [L, D], and if requested the evidence per key frame [N]. Without key_values nothing is augmented."""
        before_nD, after_mD = self.language.embed(prompt.before), self.language.embed(prompt.after)
        visual = visual_VD.split(plan.visual_lengths)
        if key_values is None:
            return splice(before_nD, visual, after_mD, prompt), None
        queries_QD = join_queries(before_nD, visual, after_mD, prompt)
        augmented_BQD, mass_BN = self.memaug(
            queries_QD[None], self.positions(plan.positions)[None], key_values, evidence=request
        )
        augmented = [augmented_BQD[0, rows] for rows in plan.visual]
        embeds_LD = splice(before_nD, augmented, self.asked(after_mD, augmented_BQD[0], plan, prompt), prompt)
        return embeds_LD, None if mass_BN is None else mass_BN[0]

    def embedder(self, features: Features, layout: VideoLayout) -> "TokenEmbedder":
        """Adds this model's token embeddings to the tokens of one video."""
        embeddings = self.token_embeddings
        if embeddings is None or embeddings.empty:
            return TokenEmbedder(None, None, layout)
        return TokenEmbedder(embeddings, embeddings.of_layout(self.tensor(features), layout), layout)

    def asked(self, after_mD: Tensor, augmented_QD: Tensor, plan: QueryPlan, prompt: Prompt) -> Tensor:
        """The text after the video as the decoder receives it. With augmented_question, the question's tokens are those of MemAug."""
        if not self.augmented_question:
            return after_mD
        joins = prompt.joining()[1]
        places = np.arange(len(prompt.after))[prompt.question]
        rows = torch.from_numpy(places[joins[places]]).to(after_mD.device)
        asked = torch.from_numpy(plan.question).to(after_mD.device)
        return after_mD.index_add(0, rows, augmented_QD[asked[: len(rows)]].to(after_mD.dtype))

    def _remember(self, read: TokenReader, layout: TokenLayout, embedder: "TokenEmbedder | None") -> MemoryKeyValues:
        places, ids = layout.key_tokens(), layout.key_position_ids()
        size = max(TOKENS_PER_CHUNK, -(-len(places) // CHUNKS))
        chunks = (
            (
                _embedded(read(places[start : start + size]), embedder, start)[None],
                self.positions(ids[start : start + size])[None],
            )
            for start in range(0, len(places), size)
        )
        return self.memaug.remember(chunks, len(places))

    def _evidence_request(self, plan: QueryPlan, layout: VideoLayout) -> EvidenceRequest | None:
        if not len(plan.question):
            return None
        rows_1n = torch.from_numpy(plan.question).to(self.like.device)[None]
        return EvidenceRequest(rows_1n, layout.key_tokens_per_frame, self.evidence_blocks)

    def _with_newlines(self, tokens_nD: Tensor, places: NDArray[np.int64]) -> Tensor:
        is_newline = places == NEWLINE
        if self.newline is None:
            if is_newline.any():
                raise InputMismatch("this model has no newline token; give a ClipLayout (memory.plans.clips)")
            return tokens_nD
        newlines = torch.from_numpy(is_newline).to(tokens_nD.device)
        return torch.where(newlines[:, None], self.newline, tokens_nD)


@dataclass(frozen=True)
class TokenEmbedder:
    """Adds token embeddings to the memory tokens and decayed tokens of one video. Does nothing if all kinds are off."""

    embeddings: TokenEmbeddings | None
    frames: FrameEmbeddings | None
    layout: VideoLayout

    def keys(self, tokens_nD: Tensor, start: int = 0) -> Tensor:
        """Memory tokens, the first of which has index `start` in the memory."""
        if self.embeddings is None:
            return tokens_nD
        numbers = np.arange(start, start + len(tokens_nD))
        places = self.layout.key_tokens()[numbers]
        return self._add(tokens_nD, numbers // self.layout.key_tokens_per_frame, places)

    def queries(self, tokens_nD: Tensor) -> Tensor:
        """All decayed tokens."""
        if self.embeddings is None:
            return tokens_nD
        per_frame = self.layout.cells.shape[1] + 1
        frames = self.layout.visible[np.arange(len(tokens_nD)) // per_frame]
        return self._add(tokens_nD, frames, self.layout.query_tokens())

    def _add(self, tokens_nD: Tensor, frames: NDArray[np.int64], places: NDArray[np.int64]) -> Tensor:
        assert self.embeddings is not None, "checked by the callers"
        on = tokens_nD.device
        cells = torch.from_numpy(self.embeddings.cells_of(places)).to(on)
        return self.embeddings.add(tokens_nD, torch.from_numpy(frames).to(on), cells, self.frames)


def _rename_old_keys(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load state dicts of version 0.1.0, which named the token embeddings `marks`."""
    old = f"{prefix}marks."
    for name in [name for name in state if name.startswith(old)]:
        state[f"{prefix}token_embeddings.{name.removeprefix(old)}"] = state.pop(name)


def _embedded(tokens_nD: Tensor, embedder: TokenEmbedder | None, start: int) -> Tensor:
    return tokens_nD if embedder is None else embedder.keys(tokens_nD, start)


def visual_spans(prompt: Prompt, plan: QueryPlan) -> Spans:
    """Where the visual tokens are in the language model's input: at one place, or at several with text between."""
    lengths = plan.visual_lengths
    texts = (0, *prompt.further)  # tokens of `after` that come before each place
    return tuple(
        (len(prompt.before) + texts[place] + sum(lengths[:place]), length) for place, length in enumerate(lengths)
    )


def evidence_weights(mass_N: Tensor, layout: VideoLayout) -> NDArray[np.float64]:
    """Attention mass per key frame (padding after them is ignored) to the evidence weight of each feature row: [R], summing to 1."""
    weights = layout.fold(mass_N[: len(layout.key_rows)].double().cpu().numpy())
    return weights / weights.sum()
