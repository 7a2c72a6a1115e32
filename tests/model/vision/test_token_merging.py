"""Clip-level merging: the schedule, and a plain reference that merges one token at a time."""

import pytest
import torch

from afterview.model.base.errors import InputMismatch
from afterview.model.vision.token_merging import ClipCompressor, merge_schedule, merge_tokens


def test_schedule() -> None:
    assert merge_schedule(1024, 64) == [512, 256, 128, 64]
    assert merge_schedule(784, 64) == [392, 196, 98, 34]
    assert merge_schedule(64, 64) == []
    with pytest.raises(InputMismatch, match="50 tokens cannot be merged to 64"):
        merge_schedule(50, 64)


def plain_round(x: list[torch.Tensor], sizes: list[float], removed: int, heads: int) -> tuple[list, list]:
    metric = [row.view(heads, -1).mean(0) for row in x]
    unit = [m / m.norm() for m in metric]
    even, odd = range(0, len(x), 2), range(1, len(x), 2)
    best = {a: max(odd, key=lambda b, a=a: float(unit[a] @ unit[b])) for a in even}
    order = sorted(even, key=lambda a: -float(unit[a] @ unit[best[a]]))
    total = {b: x[b] * sizes[b] for b in odd}
    weight = {b: sizes[b] for b in odd}
    for a in order[:removed]:
        total[best[a]] = total[best[a]] + x[a] * sizes[a]
        weight[best[a]] += sizes[a]
    alone = order[removed:]
    return [x[a] for a in alone] + [total[b] / weight[b] for b in odd], [sizes[a] for a in alone] + list(
        weight.values()
    )


@pytest.mark.parametrize(("tokens", "target"), [(24, 6), (25, 9), (17, 16)])
def test_merging_equals_the_plain_loop(tokens: int, target: int) -> None:
    clips = torch.randn(2, tokens, 12, generator=torch.Generator().manual_seed(tokens), dtype=torch.float64)
    merged = merge_tokens(clips, target, heads=3)
    for clip, got in zip(clips, merged, strict=True):
        rows, sizes = list(clip), [1.0] * tokens
        for removed in merge_schedule(tokens, target):
            rows, sizes = plain_round(rows, sizes, removed, 3)
        torch.testing.assert_close(got, torch.stack(rows))


def test_merging_keeps_the_weighted_mean_and_lets_gradients_through() -> None:
    clips = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    same = torch.ones(1, 40, 8)
    torch.testing.assert_close(merge_tokens(same, 10, heads=2), torch.ones(1, 10, 8))
    merge_tokens(clips, 10, heads=2).sum().backward()
    assert clips.grad is not None
    assert (clips.grad != 0).all()


def test_clips_and_single_images() -> None:
    compressor = ClipCompressor(16, 24, heads=2)
    frames = torch.randn(8, 81, 16, generator=torch.Generator().manual_seed(1))
    assert compressor(frames).shape == (2, 64, 24)
    assert compressor(frames, frames_per_clip=1).shape == (8, 64, 24)
    with pytest.raises(InputMismatch, match="6 frames do not make whole clips of 4"):
        compressor(frames[:6])
