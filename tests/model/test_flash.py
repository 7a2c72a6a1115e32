"""VideoChat-Flash as a whole: its prompt, pictures, leftover frames, cached answers, and batches that equal their videos."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from afterview.memory.plans.clips import ClipLayout
from afterview.model.base.errors import InputMismatch
from afterview.model.batch import Sample, assemble
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.conversation import build, place_media, time_sentence
from afterview.model.language.prompt import VIDEOCHAT_FLASH_TIME, Prompt, from_ids
from afterview.model.vision.clip_encoder import ClipEncoder, see_clips, whole_clips
from afterview.model.vision.merged_pictures import MEAN_COLOUR, see_merged
from afterview.model.vision.tiles import Tiling
from afterview.model.vision.umt import UmtGeometry, UmtTower, position_table
from tests.support.checkpoints import copied
from tests.support.flash import TIED

TOKENIZER = Path(__file__).parents[1] / "golden" / "prompts" / "tokenizer"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    """With a tokenizer, and with visual dropout as its config.json says."""
    place = copied(TIED, tmp_path_factory.mktemp("flash"), config={"mm_llm_compress": True})
    for file in TOKENIZER.iterdir():
        shutil.copy(file, place)
    return load_pretrained(place, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def vision(model: AfterviewModel) -> ClipEncoder:
    assert isinstance(model.vision, ClipEncoder)
    return model.vision


def frames_of(count: int, seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)


def rows_of(frames: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((frames, 16, 96), dtype=np.float32)


def videos_of(*frames: int) -> list[tuple[NDArray[np.float32], ClipLayout, Prompt]]:
    prompts = [from_ids(np.array([5, 6, -200, *range(7, 7 + number)])) for number in range(3, 3 + len(frames))]
    return [
        (rows_of(count, count), ClipLayout(count, 16), prompt) for count, prompt in zip(frames, prompts, strict=True)
    ]


def test_the_prompt_is_the_published_one(model: AfterviewModel) -> None:
    prompt = model.prompt("Is it red?", frames=8, seconds=12.5)
    assert model.tokenizer is not None
    assert model.tokenizer.decode(prompt.before) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    )
    assert model.tokenizer.decode(prompt.after) == (
        "\nThe video lasts for 12.50 seconds, and 8 frames are uniformly sampled from it. Is it red?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert model.tokenizer.decode(prompt.after[prompt.question]).startswith("Is it red?")
    untimed = build(model.tokenizer, "Is it red?")
    assert model.tokenizer.decode(untimed.after).startswith("\nIs it red?<|im_end|>")


def test_in_training_the_sentence_stands_after_the_video_and_the_text_after_a_blank() -> None:
    sentence = time_sentence(8, 12.5, VIDEOCHAT_FLASH_TIME)
    placed = place_media(
        [("user", "<image>\nIs it red?"), ("assistant", "No.")], media=1, time=sentence, gap=VIDEOCHAT_FLASH_TIME.gap
    )
    assert placed.turns[0].pieces == ("", f"\n{sentence} \nIs it red?")
    assert placed.turns[0].pieces[1][placed.lead :] == "Is it red?"


@torch.inference_mode()
def test_clips_do_not_depend_on_what_is_encoded_with_them(vision: ClipEncoder) -> None:
    frames = frames_of(24)
    whole = vision.features(frames)
    assert whole.shape == (24, 16, 96)
    alone = torch.cat([vision.features(frames[start : start + 4]) for start in range(0, 24, 4)])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vision.clips(frames).reshape(24, 16, 96), whole)
    stored = vision.encode(frames)
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored, whole.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 3])
@torch.inference_mode()
def test_a_short_clip_keeps_16_tokens_of_each_of_its_frames(vision: ClipEncoder, frames: int) -> None:
    taken = frames_of(4 + frames)
    rows = vision.features(taken)
    assert rows.shape == (4 + frames, 16, 96)
    torch.testing.assert_close(rows[4:], vision.features(taken[4:]), rtol=1e-4, atol=1e-5)
    assert not torch.isnan(rows).any()
    torch.testing.assert_close(rows[:4], vision.features(taken[:4]), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_video_of_any_length_is_completed_with_its_last_frame(
    vision: ClipEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    frames = frames_of(6)
    with caplog.at_level("INFO", logger="afterview"):
        rows, layout = see_clips(frames, vision)
    assert "6 frames make no whole clips of 4; the last one is repeated 2 times" in caplog.text
    assert layout == ClipLayout(8, 16)
    completed = np.concatenate([frames, frames[-1:], frames[-1:]])
    torch.testing.assert_close(rows, vision.features(completed))
    caplog.clear()
    assert whole_clips(frames[:4]) is not None
    assert not caplog.records
    with pytest.raises(InputMismatch, match="a video without frames"):
        whole_clips(frames[:0])


def test_what_the_tower_cannot_take_is_named(vision: ClipEncoder) -> None:
    with pytest.raises(
        InputMismatch, match="6 frames do not make whole clips of 4; give a multiple of 4, or repeat the last"
    ):
        vision.clips(frames_of(6))
    with pytest.raises(InputMismatch, match=r"\(4, 112, 224, 3\) were given to a tower that takes \[B, 224, 224, 3\]"):
        vision.encode(frames_of(4)[:, :112])
    for frames in (2, 3, 8):
        with pytest.raises(
            InputMismatch, match=f"{frames} frames of 224 pixels were given to a tower that takes clips of 4"
        ):
            vision.tower(torch.zeros(1, 3, frames, 224, 224))


def test_positions_of_an_image_are_those_of_the_first_frame() -> None:
    small, large = (position_table(UmtGeometry(32, 1, image_size=size)) for size in (224, 448))
    assert small.shape == (4 * 196, 32)
    assert large.shape == (4 * 784, 32)
    torch.testing.assert_close(small[197, :2], torch.tensor([np.sin(197.0), np.cos(197.0)], dtype=torch.float32))


@torch.inference_mode()
def test_pictures_are_asked_through_the_same_door(model: AfterviewModel, vision: ClipEncoder) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (60, 130, 3), dtype=np.uint8)
    one = model.picture_inputs("What is it?", [wide])
    views = one.visual[0][1] // 64
    assert len(one.visual) == 1
    assert views > 1
    several = model.picture_inputs("Compare.", [wide, wide[:, :60]])
    assert [count for _, count in several.visual] == [64, 64]
    tokens, _ = see_merged([wide, wide[:, :60]], vision, model.video_language.projector, Tiling())
    padded = np.full((130, 130, 3), MEAN_COLOUR, dtype=np.uint8)
    padded[35:95] = wide
    alone, _ = see_merged([padded, padded], vision, model.video_language.projector, Tiling())
    torch.testing.assert_close(tokens[:64], alone[:64], rtol=1e-4, atol=1e-5)
    assert "".join(model.answer(one, max_new_tokens=3)) == "".join(model.answer(one, max_new_tokens=3))


def test_pictures_are_asked_with_an_added_memaug() -> None:
    model = load_pretrained(TIED, device="cpu", init_memaug=True)
    assert isinstance(model.vision, ClipEncoder)
    pictures = [np.full((50, 60, 3), shade, dtype=np.uint8) for shade in (0, 200)]
    with torch.inference_mode():
        tokens, layout = see_merged(pictures, model.vision, model.video_language.projector, Tiling())
    prompt = from_ids(np.array([5, -200, 6, -200, 7]), media=2)
    seen = model.video_language.image_inputs(tokens, layout, prompt)
    assert seen.inputs_embeds.shape == (3 + 128, 96)
    assert not torch.allclose(seen.inputs_embeds[1:65], tokens[:64])


@torch.inference_mode()
def test_a_cached_answer_with_dropout_equals_a_recomputation_without_cache(model: AfterviewModel) -> None:
    """Each token again from all tokens before it, in one pass that drops what the last token of the prompt decides."""
    language = model.video_language.language
    assert language.dropping is not None
    for inputs in model.video_inputs(videos_of(12, 20)):
        generated = list(language.generate(inputs.inputs_embeds, visual=inputs.visual, max_new_tokens=8))
        assert generated
        again: list[int] = []
        for _ in generated:
            words = language.embed(np.array(again, dtype=np.int64))
            embeds_1LD = torch.cat([inputs.inputs_embeds, words])[None]
            end = [len(inputs.inputs_embeds) - 1]
            out = language.dropping.forward(embeds_1LD, [inputs.visual], prompt_ends=end)
            again.append(int(language.logits(out.hidden[0, -1]).argmax()))
        assert again == generated
        assert out.layer_lengths[-1] < out.layer_lengths[0]


@torch.inference_mode()
def test_several_videos_equal_each_alone(model: AfterviewModel) -> None:
    videos = videos_of(4, 20, 12, 8)
    together = model.video_inputs(videos)
    alone = [model.video_inputs([video])[0] for video in videos]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.inputs_embeds, other.inputs_embeds)
        assert one.visual == other.visual
        assert one.frame_weights is None
    answers: list[list[int]] = [[] for _ in videos]
    for row, token in model.video_language.generate_several(together, max_new_tokens=8):
        answers[row] += [] if token is None else [token]
    assert answers == [list(model.video_language.generate(own, max_new_tokens=8)) for own in alone]


def test_a_batch_for_training_equals_its_videos_and_has_gradients(model: AfterviewModel) -> None:
    videos = videos_of(8, 4)
    batch = assemble(model.video_language, [Sample(*video) for video in videos])
    for row, own in enumerate(model.video_inputs(videos)):
        torch.testing.assert_close(batch.inputs_embeds[row, : batch.lengths[row]].detach(), own.inputs_embeds)
        assert batch.visual[row] == own.visual


def test_the_tower_learns_with_and_without_checkpointing() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = UmtTower(UmtGeometry(32, 2, image_size=224))
    tower.positions = position_table(tower.config)
    pixels = torch.randn(1, 3, 4, 224, 224, generator=torch.Generator().manual_seed(1))

    def gradient() -> Tensor:
        tower.zero_grad()
        tower(pixels).square().mean().backward()
        return tower.encoder.patch_embed.proj.weight.grad.clone()

    plain = gradient()
    tower.activation_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(gradient(), plain)
    assert plain.abs().sum() > 0
