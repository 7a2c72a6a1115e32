"""The towers: equal to those of transformers, pooled and normalised as published."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel, Siglip2VisionConfig, Siglip2VisionModel, SiglipVisionConfig, SiglipVisionModel

from afterview.model.base.errors import CheckpointError, InputMismatch, TokenizerMissing
from afterview.model.checkpoint.weights import slots_of
from afterview.model.vision.index_encoder import IndexEncoder, canonical
from afterview.model.vision.preprocess import to_square
from afterview.model.vision.tower import VisionEncoder, build_tower, pixels, pool
from tests.support.presets import small_model

GEOMETRY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}


def encoder_of(whole: PreTrainedModel) -> VisionEncoder:
    """Our tower with the weights of a transformers model."""
    tower = build_tower(whole.config.to_dict())
    stored = whole.state_dict()
    for name, slot in slots_of(tower).items():
        slot.put(stored[name])
    return VisionEncoder(tower, name="tower", weights="sha256:0")


def frames_of(side: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_the_feature_is_what_leaves_the_layer_before_the_last() -> None:
    whole = SiglipVisionModel(SiglipVisionConfig(**GEOMETRY, image_size=40, patch_size=4)).eval()
    encoder = encoder_of(whole)
    frames = frames_of(40)
    with torch.inference_mode():
        states = whole(pixels(frames, torch.empty(0)), output_hidden_states=True).hidden_states
        got = encoder.patches(frames)
    torch.testing.assert_close(got, states[-2])
    assert encoder.encode(frames).shape == (3, 64, 32)
    np.testing.assert_allclose(encoder.encode(frames), pool(states[-2], 8).numpy(), rtol=1e-3, atol=1e-3)
    assert encoder.encode(frames).dtype == np.float16


def test_siglip2_without_a_fixed_resolution() -> None:
    whole = Siglip2VisionModel(Siglip2VisionConfig(**GEOMETRY, num_patches=81, patch_size=4)).eval()
    encoder = encoder_of(whole)
    assert encoder.spec.resolution == 36
    frames = frames_of(36, 2)
    values = pixels(frames, torch.empty(0)).permute(0, 2, 3, 1)  # patches as the processor of transformers cuts them
    patches = values.reshape(2, 9, 4, 9, 4, 3).swapaxes(2, 3).reshape(2, 81, 48)
    with torch.inference_mode():
        states = whole(
            patches,
            pixel_attention_mask=torch.ones(2, 81, dtype=torch.long),
            spatial_shapes=torch.tensor([[9, 9]] * 2),
            output_hidden_states=True,
        ).hidden_states
        torch.testing.assert_close(encoder.patches(frames), states[-2])


def test_pooling_is_bilinear_and_leaves_an_8x8_grid_alone() -> None:
    grid = torch.arange(729.0).view(1, 729, 1)
    pooled = pool(grid, 8)
    assert pooled.shape == (1, 64, 1)
    # the centre of the first cell is at (27 / 8 - 1) / 2 = 1.1875 on both axes
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor(1.1875 * 27 + 1.1875))
    exact = torch.randn(1, 64, 5, generator=torch.Generator().manual_seed(0))
    assert pool(exact, 8) is exact
    with pytest.raises(InputMismatch, match="63 patches do not form a square grid"):
        pool(exact[:, 1:], 8)


def test_pixels_are_centred_on_zero() -> None:
    values = pixels(np.array([[[[0, 255, 51]]]], dtype=np.uint8), torch.empty(0))
    torch.testing.assert_close(values.flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_a_frame_is_squashed_whatever_its_shape() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (36, 64, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(picture).resize((24, 24), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(to_square(picture, 24), expected)
    square = picture[:, :36]
    assert to_square(square, 36) is square


def test_frames_of_another_size_are_refused_with_both_shapes() -> None:
    encoders = small_model().encoders
    with pytest.raises(InputMismatch, match=r"\(3, 40, 40, 3\).*\[B, 64, 64, 3\]"):
        encoders.vision.encode(frames_of(40))
    with pytest.raises(InputMismatch, match=r"\(3, 40, 40, 3\).*\[B, 64, 64, 3\]"):
        encoders.index.encode_images(frames_of(40))


def test_towers_that_are_not_siglip_are_refused() -> None:
    with pytest.raises(CheckpointError, match="'clip_vision_model' is not supported"):
        build_tower({"model_type": "clip_vision_model", **GEOMETRY})
    with pytest.raises(CheckpointError, match="1 layer"):
        build_tower({"model_type": "siglip_vision_model", **GEOMETRY, "num_hidden_layers": 1})


def test_index_embeddings_are_unit_vectors_that_do_not_depend_on_the_batch() -> None:
    index = small_model().encoders.index
    frames, texts = frames_of(64), ["a red circle", "a white digit on the left", "x" * 500]
    images, words = index.encode_images(frames), index.encode_texts(texts)
    assert images.shape == words.shape == (3, 96)
    for rows in (images, words):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(index.encode_images(frames[1:2]), images[1:2], atol=1e-5)
    np.testing.assert_allclose(index.encode_texts(texts[2:]), words[2:], atol=1e-5)


def test_texts_are_canonical_before_they_are_embedded() -> None:
    assert canonical("  A RED\n circle, please! ") == "a red circle please"
    index = small_model().encoders.index
    np.testing.assert_array_equal(index.encode_texts(["A red circle!"]), index.encode_texts(["a red circle"]))


def test_an_index_without_tokenizer_says_so() -> None:
    index = small_model().encoders.index
    bare = IndexEncoder(index.model, None, name="bare", weights="sha256:0")
    with pytest.raises(TokenizerMissing, match="'bare' has no tokenizer"):
        bare.encode_texts(["a"])


def test_an_index_counts_the_tokens_that_it_does_not_read() -> None:
    index = small_model().encoders.index
    most = index.longest_text - 1  # and the end token
    assert (index.surplus_tokens("x" * most), index.surplus_tokens("x" * (most + 7))) == (0, 7)
    np.testing.assert_array_equal(index.encode_texts(["x" * most]), index.encode_texts(["x" * (most + 7)]))
    assert IndexEncoder(index.model, None, name="bare", weights="sha256:0").surplus_tokens("x" * 5000) == 0
