"""Several videos in one batch: for training (differentiable) and for a question to several cameras.

The result equals that of one video after another, except for rounding.

Legend: B samples, N key frames, Q query tokens, M memory tokens, D width, L tokens of the language model's input. Every
batch is padded on the right to its longest sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout
from afterview.model.base.errors import InputMismatch
from afterview.model.base.grouping import consecutive
from afterview.model.language.prompt import IGNORED_LABEL, Prompt
from afterview.model.language.visual_attention import VisualAttention
from afterview.model.language.visual_dropout import Spans
from afterview.model.memaug.memaug import EvidenceRequest
from afterview.model.memaug.splice import QueryPlan, TokenLayout, join_queries, plan_queries, splice
from afterview.model.video_language import (
    TOKENS_PER_CHUNK,
    Features,
    FrameLayout,
    VideoInputs,
    VideoLanguageModel,
    evidence_weights,
    visual_spans,
)

# Most memory tokens, padding included, that MemAug handles in one batch. For more, one video at a time is faster (tests/bench, CPU),
# and keys and values of only one video exist at a time.
MEMORY_TOGETHER = 2048


@dataclass(frozen=True)
class Sample:
    """One video or set of images, with its conversation."""

    features: (
        Features  # [R, P, Dv] with a layout of frames (VideoLayout, ClipLayout); projected tokens [T, D] with any other
    )
    layout: TokenLayout
    prompt: Prompt
    labels: NDArray[np.int64] | None = None  # [n + m] of the text, IGNORED_LABEL where not supervised
    text_only: bool = False  # the image is blank: it keeps every parameter in the graph, its rows are dropped


@dataclass(frozen=True)
class Batch:
    """The language model's input."""

    inputs_embeds: Tensor  # [B, L, D]
    labels: Tensor  # int64 [B, L]
    frame_mass: Tensor | None  # float32 [B, N]: attention mass of the question's rows per key frame; differentiable
    lengths: list[int]  # L of each, without padding
    visual: list[Spans]  # where the visual tokens of each are

    def cut(self, length: int) -> "Batch":
        """The first `length` tokens of each sample, as the published training code cuts samples that are too long."""
        if self.inputs_embeds.shape[1] <= length:
            return self
        spans: list[Spans] = [
            tuple((start, min(count, length - start)) for start, count in own if start < length) for own in self.visual
        ]
        lengths = [min(own, length) for own in self.lengths]
        return Batch(self.inputs_embeds[:, :length], self.labels[:, :length], self.frame_mass, lengths, spans)


def assemble(
    model: VideoLanguageModel,
    samples: Sequence[Sample],
    *,
    want_evidence: bool = False,
    tokens_at_once: int | None = None,
) -> Batch:
    """Everything up to the language model, with gradients.

    want_evidence: report frame_mass; all samples must be videos with the same number of memory tokens per frame,
    otherwise InputMismatch. tokens_at_once: memory tokens per video that are projected at a time, which bounds memory.
    None: all of them, which gradients require.
    """
    plans = [plan_queries(s.layout.query_position_ids(), s.prompt, s.layout.query_groups()) for s in samples]
    texts = [(model.language.embed(s.prompt.before), model.language.embed(s.prompt.after)) for s in samples]
    tokens = [_Tokens(model, sample) for sample in samples]
    visual = [own.queries().split(plan.visual_lengths) for own, plan in zip(tokens, plans, strict=True)]
    mass_BN = None
    if model.use_memaug:
        queries = [
            join_queries(before, seen, after, sample.prompt)
            for (before, after), seen, sample in zip(texts, visual, samples, strict=True)
        ]
        lengths = [own.memory_tokens for own in tokens]
        kept = model.memaug.remember(
            _memory_chunks(model, tokens, tokens_at_once or max(lengths)), max(lengths), _valid(lengths, model.like)
        )
        augmented_BQD, mass_BN = model.memaug(
            _pad(queries),
            _pad([model.positions(plan.positions) for plan in plans]),
            kept,
            valid_BQ=_valid([len(row) for row in queries], model.like),
            evidence=_evidence_request(model, samples, plans) if want_evidence else None,
        )
        visual = [tuple(rows[part] for part in plan.visual) for rows, plan in zip(augmented_BQD, plans, strict=True)]
        texts = [
            (before, model.asked(after, rows, plan, sample.prompt))
            for (before, after), rows, plan, sample in zip(texts, augmented_BQD, plans, samples, strict=True)
        ]
    spans = [
        () if sample.text_only else visual_spans(sample.prompt, plan)
        for sample, plan in zip(samples, plans, strict=True)
    ]
    spliced = [
        splice(before, [part[: 0 if sample.text_only else None] for part in seen], after, sample.prompt)
        for (before, after), seen, sample in zip(texts, visual, samples, strict=True)
    ]
    labels = [_labels(sample, own, len(row)) for sample, own, row in zip(samples, spans, spliced, strict=True)]
    embeds_BLD = _pad(spliced)
    return Batch(
        embeds_BLD,
        pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL).to(embeds_BLD.device),
        mass_BN,
        [len(row) for row in spliced],
        spans,
    )


@torch.inference_mode()
def several_inputs(model: VideoLanguageModel, samples: Sequence[Sample]) -> list[VideoInputs]:
    """The result of `VideoLanguageModel.inputs_embeds` for each of several videos. Videos with short memories share a batch."""
    inputs: list[VideoInputs] = []
    sizes = [len(sample.layout.key_tokens()) if model.use_memaug else MEMORY_TOGETHER for sample in samples]
    for first, end in consecutive(sizes, MEMORY_TOGETHER):
        inputs += _together(model, samples[first:end])
    return inputs


def _together(model: VideoLanguageModel, samples: Sequence[Sample]) -> list[VideoInputs]:
    if len(samples) == 1 and isinstance(layout := samples[0].layout, FrameLayout):
        return [model.inputs_embeds(samples[0].features, layout, samples[0].prompt)]
    batch = assemble(model, samples, want_evidence=True, tokens_at_once=TOKENS_PER_CHUNK)
    inputs = []
    for row, sample in enumerate(samples):
        weights = None
        if batch.frame_mass is not None and isinstance(sample.layout, VideoLayout):
            weights = evidence_weights(batch.frame_mass[row], sample.layout)
        note = VisualAttention() if isinstance(sample.layout, ClipLayout) else None
        inputs.append(VideoInputs(batch.inputs_embeds[row, : batch.lengths[row]], weights, batch.visual[row], note))
    return inputs


class _Tokens:
    """Reads the projected decayed tokens and memory tokens of one sample on request."""

    def __init__(self, model: VideoLanguageModel, sample: Sample) -> None:
        self._layout = sample.layout
        self._embedder = None
        if isinstance(sample.layout, FrameLayout):
            model.check(sample.features, sample.layout)
            self._read = model.feature_reader(sample.features)
            if isinstance(sample.layout, VideoLayout):
                self._embedder = model.embedder(sample.features, sample.layout)
        else:
            self._read = model.token_reader(model.tensor(sample.features))
        self._places, self.positions = sample.layout.key_tokens(), sample.layout.key_position_ids()

    @property
    def memory_tokens(self) -> int:
        return len(self._places)

    def queries(self) -> Tensor:
        seen = self._read(self._layout.query_tokens())
        return seen if self._embedder is None else self._embedder.queries(seen)

    def keys(self, start: int, end: int) -> Tensor:
        tokens = self._read(self._places[start:end])
        return tokens if self._embedder is None else self._embedder.keys(tokens, start)


def _memory_chunks(model: VideoLanguageModel, tokens: Sequence[_Tokens], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Memory tokens [B, m, D] and positions [B, m] in chunks, padded to the longest memory."""
    longest = max(own.memory_tokens for own in tokens)
    for start in range(0, longest, size):
        end = min(start + size, longest)
        yield (
            _pad_to([own.keys(start, end) for own in tokens], end - start),
            _pad_to([model.positions(own.positions[start:end]) for own in tokens], end - start),
        )


def _evidence_request(
    model: VideoLanguageModel, samples: Sequence[Sample], plans: Sequence[QueryPlan]
) -> EvidenceRequest:
    sizes = {s.layout.key_tokens_per_frame if isinstance(s.layout, VideoLayout) else None for s in samples}
    size = sizes.pop()
    if sizes or size is None:
        raise InputMismatch("evidence needs videos with the same number of memory tokens per frame, and no images")
    rows = [torch.from_numpy(plan.question).to(model.like.device) for plan in plans]
    return EvidenceRequest(_pad(rows), size, model.evidence_blocks, _valid([len(row) for row in rows], model.like))


def _labels(sample: Sample, spans: Spans, length: int) -> Tensor:
    """Labels of the spliced sequence. Visual tokens are never supervised."""
    labels = torch.full((length,), IGNORED_LABEL, dtype=torch.long)
    if sample.labels is not None:
        words = torch.ones(length, dtype=torch.bool)
        for start, count in spans:
            words[start : start + count] = False
        if len(sample.labels) != words.sum():
            raise InputMismatch(f"prompt has {words.sum()} text tokens but {len(sample.labels)} labels were given")
        labels[words] = torch.from_numpy(sample.labels)
    return labels


def _pad(rows: Sequence[Tensor]) -> Tensor:
    """Pad rows of different lengths with zeros on the right."""
    return pad_sequence(list(rows), batch_first=True)


def _pad_to(rows: Sequence[Tensor], length: int) -> Tensor:
    """The same, padded to `length`."""
    padded = _pad(rows)
    missing = length - padded.shape[1]
    return (
        padded if not missing else torch.cat([padded, padded.new_zeros(len(rows), missing, *padded.shape[2:])], dim=1)
    )


def _valid(lengths: Sequence[int], like: Tensor) -> Tensor | None:
    """bool [B, longest], False on padding. None without padding, so that unmasked kernels run."""
    longest = max(lengths)
    if min(lengths) == longest:
        return None
    return torch.arange(longest, device=like.device) < torch.tensor(lengths, device=like.device)[:, None]
