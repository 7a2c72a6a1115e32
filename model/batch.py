"""Several videos at once, differentiable: what training runs. Equal to one after another, but for rounding.

Legend: B samples, N key frames, Q query tokens, M memory tokens, D width, L tokens of the language model's input; each padded on the
right to the longest of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from memory.positions import VideoLayout
from model.errors import InputMismatch
from model.memaug import EvidenceRequest
from model.prompt import IGNORED_LABEL, Prompt
from model.splice import Layout, QueryPlan, join_queries, plan_queries, splice
from model.video_language import Features, VideoLanguageModel


@dataclass(frozen=True)
class Sample:
    """One video or set of images with its conversation."""

    features: Features  # [R, P, Dv] with a VideoLayout; projected tokens [T, D] with any other
    layout: Layout
    prompt: Prompt
    labels: NDArray[np.int64] | None = None  # [n + m] of the text, IGNORED_LABEL where not supervised
    text_only: bool = False  # the image is a blank that keeps every parameter in the graph; its rows are dropped


@dataclass(frozen=True)
class Batch:
    """Input of the language model."""

    inputs_embeds: Tensor  # [B, L, D]
    attention_mask: Tensor  # bool [B, L]
    labels: Tensor  # int64 [B, L]
    frame_mass: (
        Tensor | None
    )  # float32 [B, N]: cross-attention mass per key frame from the question's rows, differentiable


def assemble(model: VideoLanguageModel, samples: Sequence[Sample], *, want_evidence: bool = False) -> Batch:
    """Everything up to the language model, with gradients. Evidence is for videos, all with as many memory tokens per frame."""
    plans = [plan_queries(sample.layout.query_position_ids(), sample.prompt) for sample in samples]
    texts = [(model.language.embed(s.prompt.before), model.language.embed(s.prompt.after)) for s in samples]
    visual, memory = zip(*(_visual_tokens(model, sample) for sample in samples), strict=True)
    queries = [
        join_queries(before, seen, after, sample.prompt)
        for (before, after), seen, sample in zip(texts, visual, samples, strict=True)
    ]
    kept = model.memaug.remember(
        [(_pad(memory), _pad([model.positions(s.layout.key_position_ids()) for s in samples]))],
        max(len(tokens) for tokens in memory),
        _valid(memory),
    )
    augmented_BQD, mass_BN = model.memaug(
        _pad(queries),
        _pad([model.positions(plan.positions) for plan in plans]),
        kept,
        valid_BQ=_valid(queries),
        evidence=_evidence_request(model, samples, plans) if want_evidence else None,
    )
    spliced = [
        splice(
            before,
            rows[plan.visual][: 0 if sample.text_only else None],
            model.asked(after, rows, plan, sample.prompt),
        )
        for (before, after), rows, plan, sample in zip(texts, augmented_BQD, plans, samples, strict=True)
    ]
    labels = [_labels(sample, len(row)) for sample, row in zip(samples, spliced, strict=True)]
    mask = _valid(spliced)
    embeds_BLD = _pad(spliced)
    return Batch(
        embeds_BLD,
        torch.ones(embeds_BLD.shape[:2], dtype=torch.bool, device=embeds_BLD.device) if mask is None else mask,
        pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL).to(embeds_BLD.device),
        mass_BN,
    )


def _visual_tokens(model: VideoLanguageModel, sample: Sample) -> tuple[Tensor, Tensor]:
    """The projected decayed tokens and memory tokens of one sample."""
    if isinstance(sample.layout, VideoLayout):
        model.check(sample.features, sample.layout)
        read, marker = model.feature_reader(sample.features), model.marker(sample.features, sample.layout)
        return marker.queries(read(sample.layout.query_tokens())), marker.keys(read(sample.layout.key_tokens()))
    read = model.token_reader(model.tensor(sample.features))
    return read(sample.layout.query_tokens()), read(sample.layout.key_tokens())


def _evidence_request(
    model: VideoLanguageModel, samples: Sequence[Sample], plans: Sequence[QueryPlan]
) -> EvidenceRequest:
    sizes = {s.layout.key_tokens_per_frame if isinstance(s.layout, VideoLayout) else None for s in samples}
    size = sizes.pop()
    if sizes or size is None:
        raise InputMismatch("evidence needs videos with as many memory tokens per frame; ask for it without images")
    rows = [torch.from_numpy(plan.question).to(model.newline.device) for plan in plans]
    return EvidenceRequest(_pad(rows), size, model.evidence_blocks, _valid(rows))


def _labels(sample: Sample, length: int) -> Tensor:
    """Labels of the spliced sequence; visual tokens are never supervised."""
    before, after = len(sample.prompt.before), len(sample.prompt.after)
    labels = torch.full((length,), IGNORED_LABEL, dtype=torch.long)
    if sample.labels is not None:
        if len(sample.labels) != before + after:
            raise InputMismatch(f"prompt has {before + after} text tokens but {len(sample.labels)} labels were given")
        text = torch.from_numpy(sample.labels)
        labels[:before], labels[length - after :] = text[:before], text[before:]
    return labels


def _pad(rows: Sequence[Tensor]) -> Tensor:
    """Rows of differing length to one tensor, zeros on the right."""
    return pad_sequence(list(rows), batch_first=True)


def _valid(rows: Sequence[Tensor]) -> Tensor | None:
    """bool [B, longest], False on padding; None when there is none, which keeps the unmasked kernels."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    longest = int(lengths.max())
    return None if bool((lengths == longest).all()) else torch.arange(longest, device=rows[0].device) < lengths[:, None]
