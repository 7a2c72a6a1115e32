"""MemAug: fast paths equal plain ones, evidence is exact, and memory is bounded."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.visibility import ForgettingConfig, plan_repetition, plan_visible
from afterview.model import video_language
from afterview.model.base.errors import CheckpointError, InputMismatch
from afterview.model.kernels.attention import grouped_attention
from afterview.model.language.prompt import Prompt
from afterview.model.memaug import evidence
from afterview.model.memaug import memaug as memaug_module
from afterview.model.memaug.attention import Heads
from afterview.model.memaug.evidence import frame_attention
from afterview.model.memaug.memaug import KeysValues, MemAug, MemoryKeyValues
from afterview.model.memaug.rope import rotate, rotation
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.projector import Projector
from tests.support.live_bytes import LiveBytes

HEADS = Heads(width=64, query=4, key_value=2)
FRAMES = 40


class Words(nn.Module):
    """The part of a language model that embedding needs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(50, width, generator=torch.Generator().manual_seed(5)))

    def embed(self, ids: np.ndarray) -> Tensor:
        return self.table[torch.from_numpy(ids)]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(heads: Heads = HEADS, depth: int = 4, vision_width: int = 48) -> VideoLanguageModel:
    language: Any = Words(heads.width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VideoLanguageModel(
            Projector(vision_width, heads.width),
            MemAug(heads, depth=depth, rope_theta=1e6),
            nn.Parameter(torch.randn(heads.width)),
            language,
        )
    return model.eval()


def layout_of(frames: int = FRAMES, **settings: Any) -> VideoLayout:
    values = {"spatial": "uniform", "min_frames": 4, "max_frames": 8} | settings
    return plan_layout(frames, config=ForgettingConfig(**values))


PROMPT = Prompt(np.array([1, 2, 3]), np.array([4, 5, 6, 7, 8]), slice(1, 4))


def test_rotation_turns_the_first_half_of_a_head_only() -> None:
    x = randn(1, 3, 2, 16)
    turned = rotate(x, rotation(torch.tensor([[0.0, 1.0, 2.5]]), 16, 1e6))
    torch.testing.assert_close(turned[0, 0], x[0, 0])
    torch.testing.assert_close(turned[..., 8:], x[..., 8:])
    assert not torch.allclose(turned[0, 1, :, :8], x[0, 1, :, :8])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    angle = torch.tensor(2.5)  # the angle of the first pair is the position itself
    expected = x[0, 2, 0, 0] * angle.cos() - x[0, 2, 0, 4] * angle.sin()
    torch.testing.assert_close(turned[0, 2, 0, 0], expected)


def test_grouped_attention_equals_copied_heads() -> None:
    q, k, v = randn(2, 5, 6, 8), randn(2, 3, 9, 8, seed=1), randn(2, 3, 9, 8, seed=2)
    valid = torch.tensor([[True] * 9, [True] * 6 + [False] * 3])
    scores = torch.einsum("bqhd,bhmd->bhqm", q, k.repeat_interleave(2, 1)) / 8**0.5
    weights = scores.masked_fill(~valid[:, None, None], -torch.inf).softmax(-1)
    expected = torch.einsum("bhqm,bhmd->bqhd", weights, v.repeat_interleave(2, 1)).flatten(2)
    torch.testing.assert_close(grouped_attention(q, k, v, valid), expected)


@pytest.mark.parametrize("block", [1, 3, 256])
def test_evidence_equals_the_whole_attention_matrix(block: int) -> None:
    q, k = 3 * randn(1, 4, 6, 8), 3 * randn(1, 3, 7 * 5, 8, seed=1)
    scores = torch.einsum("bqhd,bhmd->bhqm", q, k.repeat_interleave(2, 1)) / 8**0.5
    expected = scores.softmax(-1).unflatten(-1, (7, 5)).sum(-1).mean((1, 2))
    torch.testing.assert_close(frame_attention(q, k, 5, frames_per_block=block), expected)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [Q, H, d] over keys [M, G, d]: the result [Q, H * d], and the whole matrix of weights [H, Q, M]."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    weights = (torch.einsum("qhd,mhd->hqm", q, k) / q.shape[-1] ** 0.5).softmax(-1)
    return torch.einsum("hqm,mhd->qhd", weights, v).flatten(1), weights


def plain_turn(x: Tensor, positions: Tensor, d: int) -> Tensor:
    return rotate(x.unflatten(-1, (-1, d))[None], rotation(positions[None], d, 1e6))[0]


@torch.inference_mode()
def plain_evidence(model: VideoLanguageModel, features: Tensor, layout: VideoLayout, prompt: Prompt) -> Tensor:
    """Frame weights [R], computed in the plain way from every weight of every block, frame by frame."""
    heads, cells = model.memaug.heads, layout.tokens_per_frame
    wide, d = heads.key_value_width, heads.dim
    tokens = model.projector(features)
    frames = range(len(layout.key_rows))
    memory = torch.cat([torch.cat([tokens[layout.key_rows[f]], model.newline[None]]) for f in frames])
    numbers = torch.from_numpy(layout.key_numbers).float().repeat_interleave(cells + 1) * (cells + 1)
    memory_at = numbers + torch.arange(cells + 1).repeat(len(frames))
    seen, seen_at = [], []
    for frame, kept in zip(layout.visible, layout.cells, strict=True):
        seen += [tokens[layout.key_rows[frame], cell] for cell in kept] + [model.newline]
        seen_at += [layout.key_numbers[frame] * (cells + 1) + place for place in [*kept, cells]]
    before, after = model.language.embed(prompt.before), model.language.embed(prompt.after)
    x = torch.cat([before, torch.stack(seen), after])
    at = [*range(len(before)), *(len(before) + place for place in seen_at)]
    at += [max(at) + 1 + number for number in range(len(after))]
    x_at = torch.tensor(at, dtype=torch.float32)
    asked = [len(before) + len(seen) + row for row in range(*prompt.question.indices(len(after)))]
    total = torch.zeros(len(features))
    for block in list(model.memaug.layers)[:-1]:
        q, k, v = block.self_attn.Wqkv(x).split([heads.width, wide, wide], -1)
        read, _ = plain_attention(plain_turn(q, x_at, d), plain_turn(k, x_at, d), v.unflatten(-1, (-1, d)))
        x = block.norm1(x + block.self_attn.Wo(read))
        k, v = block.cross_attn.Wkv(memory).split([wide, wide], -1)
        q = plain_turn(block.cross_attn.Wq(x), x_at, d)
        read, weights = plain_attention(q, plain_turn(k, memory_at, d), v.unflatten(-1, (-1, d)))
        for place, weight in enumerate(weights[:, asked].mean((0, 1))):
            total[layout.key_rows[place // (cells + 1)]] += weight
        x = block.norm2(x + block.cross_attn.Wo(read))
        x = block.norm3(x + block.mlp(x))
    return total / total.sum()


@pytest.mark.parametrize(
    ("frames", "recalled", "spatial"),
    [
        (40, None, "uniform"),
        (11, None, "random"),
        (60, [*range(0, 60, 7), 13, 59], "random"),
        (9, [0, 4, 8], "uniform"),
    ],
    ids=["every frame", "repeated frames", "bounded recall", "repeated and bounded"],
)
def test_evidence_equals_the_naive_computation_through_all_blocks(
    frames: int, recalled: list[int] | None, spatial: str
) -> None:
    model = built(Heads(width=64, query=4, key_value=2))
    for parameter in model.parameters():
        parameter.data *= 1.7  # sharper attention, so that a wrong row or head shows
    config = ForgettingConfig(spatial=spatial, min_frames=4, max_frames=6)
    visible = plan_visible(frames, config)
    shown = plan_repetition(frames, shortest=config.shortest)[visible]
    rows = None if recalled is None else np.union1d(recalled, shown)
    layout = plan_layout(frames, rows, visible, config=config, policy="interpolate", trained_frames=50)
    features = randn(layout.rows, 64, 48, seed=frames)
    weights = model.inputs_embeds(features, layout, PROMPT).frame_weights
    assert weights is not None
    assert len(weights) == (frames if rows is None else len(rows))
    expected = plain_evidence(model, features, layout, PROMPT).numpy()
    np.testing.assert_allclose(weights, expected, rtol=2e-4)
    assert expected.max() > 1.3 * expected.min()


@torch.inference_mode()
def test_the_materialising_backend_goes_a_few_rows_at_a_time() -> None:
    """With only the materialising backend: the same result, and never more memory than keys and values."""
    q, k, v = randn(1, 300, 16, 32), randn(1, 2, 2000, 32, seed=1), randn(1, 2, 2000, 32, seed=2)
    expected = grouped_attention(q, k, v)
    with sdpa_kernel(SDPBackend.MATH), LiveBytes() as bytes_:
        slow = grouped_attention(q, k, v)
    torch.testing.assert_close(slow, expected, rtol=1e-4, atol=1e-5)
    assert bytes_.peak < k.nbytes + v.nbytes + 4 * q.nbytes
    assert bytes_.peak < 16 * 300 * 2000 * 4 / 10  # the scores


@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("rows", [7, 600])
@pytest.mark.parametrize("long", [True, False])
def test_a_cpu_that_learns_in_16_bits_attends_as_in_32(heads: int, rows: int, *, long: bool) -> None:
    """The result and all three gradients, with and without shared key heads, over less than one block of rows and over several.

    Over many keys, and over few keys with a mask.
    """
    keys = 700 if long else 60
    valid = None if long else torch.arange(keys) < torch.tensor([[keys], [41]])
    parts = randn(2, rows, 4, 16), randn(2, heads, keys, 16, seed=1), randn(2, heads, keys, 16, seed=2)
    back = randn(2, rows, 64, seed=3)

    def learn(*, bits16: bool) -> list[Tensor]:
        q, k, v = leaves = [part.clone().requires_grad_() for part in parts]
        with torch.autocast("cpu", torch.bfloat16, enabled=bits16):
            read = grouped_attention(q, k, v, valid)
        graph = str(graph_of(read))
        assert ("_Blockwise" in graph) == (bits16 and long)
        assert ("ScaledDotProduct" in graph) == (not bits16)
        read.float().backward(back)
        return [read.detach().float(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    for rounded, exact in zip(learn(bits16=True), learn(bits16=False), strict=True):
        assert (rounded - exact).norm() < 0.01 * exact.norm()


def graph_of(x: Tensor) -> list[str]:
    """Names of the autograd steps behind x."""
    names, left = [], [x.grad_fn]
    while left:
        step = left.pop()
        if step is not None:
            names.append(step.name())
            left += [before for before, _ in step.next_functions]
    return names


def test_evidence_of_many_rows_is_computed_in_blocks_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = 3 * randn(2, 11, 6, 8), 3 * randn(2, 3, 7 * 5, 8, seed=1)
    valid = torch.tensor([[True] * 11, [False] * 4 + [True] * 2 + [False] * 5])
    expected = [frame_attention(q, k, 5, valid_Bn=given) for given in (None, valid)]
    monkeypatch.setattr(evidence, "ROWS_AT_ONCE", 4)
    for given, whole in zip((None, valid), expected, strict=True):
        torch.testing.assert_close(frame_attention(q, k, 5, valid_Bn=given), whole)


def test_evidence_survives_scores_that_overflow_a_plain_exponential() -> None:
    q, k = 200 * randn(1, 2, 2, 8), 200 * randn(1, 2, 12, 8, seed=1)
    mass = frame_attention(q, k, 3, frames_per_block=2)
    assert torch.isfinite(mass).all()
    torch.testing.assert_close(mass.sum(-1), torch.ones(1))


def test_evidence_comes_from_the_named_blocks() -> None:
    model = built()
    features, layout = randn(FRAMES, 64, 48), layout_of()
    default = model.inputs_embeds(features, layout, PROMPT).frame_weights
    per_block = []
    for block in range(4):
        model.evidence_blocks = (block,)
        per_block.append(model.inputs_embeds(features, layout, PROMPT).frame_weights)
    assert default is not None
    np.testing.assert_allclose(default, np.mean(per_block[:3], axis=0), rtol=1e-6)
    assert np.abs(per_block[0] - per_block[3]).max() > 1e-5


def test_evidence_finds_a_frame_that_the_question_points_at() -> None:
    """With keys that single out one frame, it has nearly all the weight; repeats of the frame are added up."""
    k = torch.zeros(1, 1, 6 * 3, 8)
    k[:, :, 2 * 3 : 4 * 3] = 10.0
    mass = frame_attention(torch.full((1, 2, 1, 8), 10.0), k, 3)
    torch.testing.assert_close(mass[0], torch.tensor([0, 0, 0.5, 0.5, 0, 0]))


def test_a_memory_made_in_chunks_equals_one_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built()
    features, layout = randn(FRAMES, 64, 48).numpy(), layout_of()
    whole = model.inputs_embeds(features, layout, PROMPT)
    monkeypatch.setattr(video_language, "TOKENS_PER_CHUNK", 77)
    monkeypatch.setattr(memaug_module, "MLP_ROWS", 11)
    chunked = model.inputs_embeds(features, layout, PROMPT)
    torch.testing.assert_close(chunked.inputs_embeds, whole.inputs_embeds)
    np.testing.assert_allclose(chunked.frame_weights, whole.frame_weights, rtol=1e-5)


def test_the_same_inputs_give_the_same_bits() -> None:
    model = built()
    features, layout = randn(FRAMES, 64, 48), layout_of()
    first, second = (model.inputs_embeds(features, layout, PROMPT) for _ in range(2))
    assert torch.equal(first.inputs_embeds, second.inputs_embeds)
    np.testing.assert_array_equal(first.frame_weights, second.frame_weights)


def test_a_memory_serves_several_questions() -> None:
    model = built()
    features, layout = randn(FRAMES, 64, 48), layout_of()
    key_values = model.remember(features, layout)
    for word in (4, 9):
        prompt = Prompt(np.array([1, 2]), np.array([word, 8]))
        reused = model.inputs_embeds(features, layout, prompt, key_values=key_values)
        assert torch.equal(reused.inputs_embeds, model.inputs_embeds(features, layout, prompt).inputs_embeds)


def test_what_is_not_visible_still_reaches_the_answer() -> None:
    model = built()
    features, layout = randn(FRAMES, 64, 48), layout_of()
    hidden = next(i for i in range(FRAMES) if i not in layout.key_rows[layout.visible])
    changed = features.clone()
    changed[hidden] += 5
    plain, other = (model.inputs_embeds(f, layout, PROMPT).inputs_embeds for f in (features, changed))
    assert (plain - other).abs().max() > 1e-4


def test_text_rows_enter_as_they_were_embedded() -> None:
    model = built()
    out = model.inputs_embeds(randn(FRAMES, 64, 48), layout_of(), PROMPT).inputs_embeds
    torch.testing.assert_close(out[:3], model.language.embed(PROMPT.before))
    torch.testing.assert_close(out[-5:], model.language.embed(PROMPT.after))
    assert len(out) == 3 + 8 * 17 + 5


def test_the_smallest_repository_runs() -> None:
    model = built()
    features, layout = randn(FRAMES, 64, 48), layout_of(repository_scale=0.06)
    inputs = model.inputs_embeds(features, layout, PROMPT)
    assert inputs.frame_weights is not None
    assert np.count_nonzero(inputs.frame_weights) == len(layout.visible)


def test_parts_that_do_not_fit_are_refused_with_both_numbers() -> None:
    model = built()
    with pytest.raises(InputMismatch, match=r"\(39, 64, 48\).*\(40, 64, 48\)"):
        model.inputs_embeds(randn(39, 64, 48), layout_of(), PROMPT)
    with pytest.raises(CheckpointError, match="64, 5 query heads"):
        Heads(64, 5, 5)


def test_peak_memory_is_bounded_by_keys_queries_and_outputs() -> None:
    """The 3B model's proportions with an hour of frames: at most 1.5 x (keys and values + queries + outputs), evidence included."""
    heads = Heads(width=64, query=16, key_value=2)
    model = built(heads)
    frames = 3600
    features = np.broadcast_to(randn(1, 64, 48).numpy().astype(np.float16), (frames, 64, 48))
    layout = plan_layout(frames, config=ForgettingConfig(spatial="uniform"))
    keys = frames * 65 * 2 * heads.key_value_width * 4 * 4  # keys and values of four blocks, float32
    rows = (len(layout.query_position_ids()) + 8) * heads.width * 4
    with torch.inference_mode(), LiveBytes() as bytes_:
        key_values = model.remember(features, layout)
        # attention over so many keys needs a GPU; one frame's queries reach every allocation per key
        small = plan_layout(frames, visible=np.array([0, 3599]), config=ForgettingConfig(spatial="uniform"))
        model.inputs_embeds(features, small, PROMPT, key_values=key_values)
    assert bytes_.peak <= 1.5 * (keys + 2 * rows)


def test_peak_memory_per_query_is_bounded() -> None:
    """Many queries over a small memory: the hidden width of 4D exists for a few rows at a time only."""
    memaug = built().memaug
    queries, positions = randn(1, 8804, 64), torch.arange(8804.0)[None]
    keys = KeysValues(randn(1, 2, 65, 16), randn(1, 2, 65, 16, seed=1))
    rows = queries.nbytes
    with torch.inference_mode(), LiveBytes() as bytes_:
        memaug(queries, positions, MemoryKeyValues([keys] * 4))
    assert bytes_.peak <= 9 * rows
