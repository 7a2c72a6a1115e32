"""Token embeddings: without them nothing changes; with them, place, time and neighbours can be read."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from afterview.configs import preset_path
from afterview.memory.plans.positions import NEWLINE, plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.errors import InputMismatch
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.published import TOKEN_EMBEDDINGS_PREFIX, published_slots
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.memaug.token_embeddings import (
    ORDER_FEATURES,
    TIME_FEATURES,
    TokenEmbeddings,
    order_features,
    time_features,
)

CONFIG = ForgettingConfig(spatial="uniform", max_frames=8, min_frames=2)


def embeddings(*names: str) -> TokenEmbeddings:
    """Token embeddings with known weights."""
    made = TokenEmbeddings(names, tokens_per_frame=4, vision_width=3, width=5)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw)
    return made


def test_without_switches_there_is_no_parameter_and_tokens_pass_unchanged() -> None:
    none = embeddings()
    tokens = torch.randn(6, 5)
    assert none.empty
    assert not list(none.parameters())
    assert torch.equal(
        none.add(tokens, torch.zeros(6, dtype=torch.long), torch.zeros(6, dtype=torch.long), None), tokens
    )


def test_place_depends_on_the_cell_alone_and_summary_reaches_only_newlines() -> None:
    both = embeddings("place", "summary")
    said = both.of_frames(torch.randn(2, 3), torch.tensor([0, 1]), torch.tensor([2]))
    frames, cells = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 4, 1, 4])
    added = both.add(torch.zeros(4, 5), frames, cells, said)
    assert torch.equal(added[0], added[2])
    assert torch.equal(added[0], both.place[1])
    assert not torch.equal(added[1], added[3])


def test_the_summary_sees_the_frame_before_and_the_frame_after() -> None:
    summary = embeddings("summary")
    means = torch.randn(4, 3)
    changed = means.clone()
    changed[1] += 1
    span = torch.tensor([4])
    one = summary.of_frames(means, torch.arange(4), span).summary
    two = summary.of_frames(changed, torch.arange(4), span).summary
    assert one is not None
    assert two is not None
    assert (one != two).any(1).tolist() == [True, True, True, False]


def test_time_is_encoded_as_clock_digits_and_age() -> None:
    signs = time_features(torch.tensor([0, 3723]), torch.tensor([3724]))
    assert signs.shape == (2, TIME_FEATURES)
    digits = [
        signs[1, start : start + size].argmax().item()
        for start, size in ((0, 10), (10, 10), (20, 6), (26, 10), (36, 6), (42, 10))
    ]
    assert digits == [0, 1, 0, 2, 0, 3]
    ages = signs[:, -36:].argmax(1)
    assert ages[1] == 0
    assert ages[0] == 23  # 2 * log2(3724), rounded down


def test_order_is_encoded_on_linear_scales() -> None:
    numbers = torch.tensor([[0, 10, 500, 999], [3, 4, 5, 6]])
    signs = order_features(numbers, torch.tensor([[1000], [7]]))
    assert signs.shape == (2, 4, ORDER_FEATURES)
    of_span, of_recalled = signs.unflatten(-1, (2, -1)).sum(-1).unbind(-1)
    torch.testing.assert_close(of_span, 48 * (numbers + 0.5) / torch.tensor([[1000.0], [7.0]]))
    torch.testing.assert_close(of_recalled, torch.tensor([6.0, 18.0, 30.0, 42.0]).expand(2, 4))


def test_order_is_added_to_every_token_of_a_frame_with_time_and_without() -> None:
    numbers, span, means = torch.tensor([2, 7]), torch.tensor([9]), torch.randn(2, 3)
    order, both = embeddings("order"), embeddings("time", "order")
    assert not order.empty
    said = order.of_frames(means, numbers, span).time
    torch.testing.assert_close(said, order.order(order_features(numbers, span)))
    together = both.of_frames(means, numbers, span).time
    torch.testing.assert_close(
        together, both.time(time_features(numbers, span)) + both.order(order_features(numbers, span))
    )
    frames, cells = torch.tensor([1, 1, 0]), torch.tensor([0, 4, 2])
    added = order.add(torch.zeros(3, 5), frames, cells, order.of_frames(means, numbers, span))
    torch.testing.assert_close(added, said[[1, 1, 0]])


def test_a_layout_has_the_number_of_every_frame_under_any_policy() -> None:
    layout = plan_layout(
        100, np.arange(0, 100, 3), np.array([0, 33, 66, 99]), config=CONFIG, policy="rank", trained_frames=50
    )
    assert layout.span_frames == 100
    assert np.array_equal(layout.key_frames, np.arange(0, 100, 3))
    assert not np.array_equal(layout.key_numbers, layout.key_frames)


def test_cells_of_places() -> None:
    assert embeddings("place").cells_of(np.array([0, 5, NEWLINE])).tolist() == [0, 1, 4]


def test_time_needs_a_layout_with_frame_numbers() -> None:
    from dataclasses import replace

    layout = replace(plan_layout(10, config=CONFIG, grid=2), key_frames=None)
    with pytest.raises(InputMismatch, match="plan_layout"):
        embeddings("time").of_layout(torch.zeros(10, 4, 3), layout)


def test_published_presets_have_no_token_embeddings_and_the_shipped_one_has_all(tmp_path: Path) -> None:
    for name in ("hour-llava-3b", "hour-llava-7b"):
        text = preset_path(name).read_text()
        assert "memory_marks" not in text
        assert "augmented_question" not in text
    shipped = load_pretrained("tiny", device="cpu")
    assert shipped.config["memory_marks"] == ["place", "time", "order", "summary"]
    assert shipped.video_language.augmented_question
    slots = published_slots(shipped.video_language, shipped.vision.tower, tied=False)
    assert {
        f"{TOKEN_EMBEDDINGS_PREFIX}place",
        f"{TOKEN_EMBEDDINGS_PREFIX}time.weight",
        f"{TOKEN_EMBEDDINGS_PREFIX}summary.0.weight",
    } <= slots.keys()
    save_pretrained(shipped, tmp_path)
    again = load_pretrained(tmp_path, device="cpu")
    assert torch.equal(again.video_language.token_embeddings.place, shipped.video_language.token_embeddings.place)


def test_the_shipped_preset_is_small_trained_and_honest() -> None:
    preset = yaml.safe_load(preset_path("tiny").read_text())
    assert preset["trained"] is True
    assert "synthetic world" in preset["notice"]
    files = (preset_path("tiny").parent / preset["checkpoint"]).rglob("*.safetensors")
    assert sum(path.stat().st_size for path in files) <= 25e6


def test_chunked_memory_has_the_embeddings_of_whole_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    layout = plan_layout(40, config=CONFIG)
    features = torch.randn(40, 64, 128, generator=torch.Generator().manual_seed(1))
    prompt = model.prompt("What colour was the ring?", frames=40, seconds=40.0)
    whole = model.video_language.inputs_embeds(features, layout, prompt)
    monkeypatch.setattr("afterview.model.video_language.TOKENS_PER_CHUNK", 7 * 65)
    parts = model.video_language.inputs_embeds(features, layout, prompt)
    torch.testing.assert_close(parts.inputs_embeds, whole.inputs_embeds, atol=1e-4, rtol=1e-4)
