"""Training batches equal one sample after another, and gradients reach everything."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.errors import InputMismatch
from afterview.model.batch import Sample, assemble
from afterview.model.language.prompt import Prompt, from_ids
from afterview.model.video_language import VideoLanguageModel
from tests.support.presets import small_model

SMALL = ForgettingConfig(spatial="uniform", min_frames=2, max_frames=4)


@pytest.fixture
def model() -> VideoLanguageModel:
    loaded = small_model().video_language
    return loaded.requires_grad_(True)


def features(frames: int) -> Tensor:
    return torch.randn(frames, 64, 96, generator=torch.Generator().manual_seed(frames))


def sample(frames: int, words: int, **extra: Any) -> Sample:
    prompt = Prompt(np.arange(3), np.arange(10, 10 + words), slice(0, 2))
    return Sample(features(frames), plan_layout(frames, config=SMALL), prompt, **extra)


def test_a_padded_batch_equals_its_samples(model: VideoLanguageModel) -> None:
    samples = [sample(9, 4), sample(17, 7), sample(13, 5)]
    batch = assemble(model, samples, want_evidence=True)
    assert batch.frame_mass is not None
    for row, one in enumerate(samples):
        alone = model.inputs_embeds(one.features, one.layout, one.prompt)
        length = len(alone.inputs_embeds)
        torch.testing.assert_close(
            batch.inputs_embeds[row, :length].detach(), alone.inputs_embeds, rtol=1e-4, atol=1e-5
        )
        assert batch.lengths[row] == length
        mass = batch.frame_mass[row].detach().double().numpy()
        frames = len(one.layout.key_rows)
        assert not mass[frames:].any()
        np.testing.assert_allclose(one.layout.fold(mass[:frames]), alone.frame_weights, rtol=1e-4)


def test_gradients_reach_every_parameter_and_the_features(model: VideoLanguageModel) -> None:
    one = sample(20, 6, labels=np.array([-100] * 5 + [60, 61, 62, 63]))
    one.features.requires_grad_()
    batch = assemble(model, [one, sample(9, 3)])
    hidden, labels = model.language.learn(batch.inputs_embeds, batch.lengths, batch.labels, batch.visual)
    logits = model.language.logits(hidden)[:, :-1].flatten(0, 1)
    torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=-100).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert without == []
    assert (one.features.grad.abs().sum((1, 2)) > 0).all()  # also invisible frames: through the memory


def test_labels_stand_where_their_tokens_do(model: VideoLanguageModel) -> None:
    labels = np.array([-100, 1, 2, -100, 3, 4, 5])
    batch = assemble(model, [sample(9, 4, labels=labels)])
    visual = batch.labels.shape[1] - 7
    assert batch.labels[0, :3].tolist() == [-100, 1, 2]
    assert (batch.labels[0, 3 : 3 + visual] == -100).all()
    assert batch.labels[0, -4:].tolist() == [-100, 3, 4, 5]
    with pytest.raises(InputMismatch, match="7 text tokens but 3 labels"):
        assemble(model, [sample(9, 4, labels=labels[:3])])


def test_answers_do_not_leak_into_the_video(model: VideoLanguageModel) -> None:
    """Supervised tokens are not among MemAug's queries, so the visual rows cannot depend on the answer."""
    ids = np.array([5, -200, 6, 7, 8])
    labels = np.array([-100, -100, -100, 7, 8])
    other = np.where(labels == 8, 99, ids)
    layout = plan_layout(9, config=SMALL)
    rows = [
        assemble(model, [Sample(features(9), layout, from_ids(i, labels))]).inputs_embeds[0, :-3] for i in (ids, other)
    ]
    assert torch.equal(rows[0], rows[1])
    free = [assemble(model, [Sample(features(9), layout, from_ids(i))]).inputs_embeds[0, :-3] for i in (ids, other)]
    assert not torch.equal(free[0], free[1])


def test_evidence_of_unlike_layouts_is_refused(model: VideoLanguageModel) -> None:
    thin = SMALL.model_copy(update={"repository_scale": 0.05})
    odd = Sample(features(9), plan_layout(9, config=thin), Prompt(np.arange(2), np.arange(2)))
    with pytest.raises(InputMismatch, match="same number of memory tokens per frame"):
        assemble(model, [sample(9, 4), odd], want_evidence=True)
