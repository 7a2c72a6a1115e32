"""Keys of config.json: what is not implemented is refused by name, what is missing or ignored is said, and decoder and MemAug agree."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from afterview.model.base.checkpoint_files import SINGLE_FILE
from afterview.model.base.errors import CheckpointError
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.sources import find_sources
from afterview.model.language.prompt import HOUR_LLAVA_TIME
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.model.vision.tower import KNOWN_TOWERS
from tests.support.checkpoints import TIED, UNTIED, copied, rewrite


def sources(place: Path, **preset: Any) -> Any:
    return find_sources(ModelPreset(name="x", checkpoint=str(place), **preset))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mm_newline_position", "one_token"),
        ("mm_newline_position", "frame"),
        ("mm_newline_position", "no_token"),
        ("mm_patch_merge_type", "flat"),
        ("mm_patch_merge_type", "spatial"),
        ("mm_patch_merge_type", "spatial_nopad"),
        ("mm_spatial_pool_mode", "average"),
        ("mm_spatial_pool_mode", "max"),
        ("mm_resampler_type", "qformer"),
        ("mm_resampler_type", "perceiver"),
        ("mm_projector_type", "mlp3x_gelu"),
        ("image_aspect_ratio", "pad"),
        ("image_aspect_ratio", "anyres_max"),
        ("add_faster_video", True),
        ("mm_use_im_start_end", True),
        ("mm_llm_compress", True),
        ("quantization_config", {"load_in_4bit": True}),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=rf"checkpoint: config\.json: {key} .*is not supported, only .*; "):
        sources(copied(TIED, tmp_path, config={key: value}))


@pytest.mark.parametrize("grids", [[[384, 500]], [[0, 384]], "anything", [[384, 768], [384]]])
def test_grids_that_no_tiles_fill_are_refused_with_checkpoint_and_key(tmp_path: Path, grids: object) -> None:
    with pytest.raises(
        CheckpointError, match=r"checkpoint: config\.json: image_grid_pinpoints .*; videos do not depend on it"
    ):
        sources(copied(TIED, tmp_path, config={"image_grid_pinpoints": grids}))


@pytest.mark.parametrize("grids", [[[384, 768], [768, 384], [768, 768]], "(1x1),...,(6x6)"])
def test_grids_that_tiles_fill_are_taken(tmp_path: Path, grids: object) -> None:
    change = {"image_grid_pinpoints": grids, "image_aspect_ratio": "anyres_max_4"}
    assert not sources(copied(TIED, tmp_path, config=change)).notes


def test_published_configurations_need_no_note() -> None:
    assert not sources(TIED).notes
    assert not sources(UNTIED).notes


def test_what_is_ignored_or_missing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change = {
        "use_pos_skipping": True, "attention_dropout": 0.1, "rope_scaling": {"type": "linear", "factor": 4.0}, "mm_novelty": 3,
        "add_time_instruction": None, "mm_newline_position": None, "rms_norm_eps": None,
    }  # fmt: skip
    load_pretrained(copied(TIED, tmp_path, config=change), device="cpu")
    for said in (
        "use_pos_skipping true acts only while training", "attention_dropout 0.1 acts only while training",
        "rope_scaling (linear) is ignored", "unknown keys are ignored: mm_novelty",
        "config.json lacks mm_newline_position (grid), add_time_instruction (true)", "config.json lacks rms_norm_eps (1e-06)",
    ):  # fmt: skip
        assert said in caplog.text


def test_scaled_positions_are_plain_ones_as_in_the_published_class(tmp_path: Path) -> None:
    plain = load_pretrained(TIED, device="cpu").video_language.language.decoder.model.rotary_emb.inv_freq
    change = {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}
    scaled = load_pretrained(copied(TIED, tmp_path, config=change), device="cpu")
    assert torch.equal(scaled.video_language.language.decoder.model.rotary_emb.inv_freq, plain)


@pytest.mark.parametrize(
    ("change", "base"),
    [
        ({"rope_theta": None}, 10_000.0),  # Qwen2Config of transformers, which both modules of the published code read
        ({"rope_theta": None, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5),
        ({"rope_theta": 3e5, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5),
        ({"rope_theta": 3e5, "rope_parameters": {"rope_type": "default"}}, 3e5),
        ({"rope_theta": 3e5, "rope_scaling": {"rope_theta": 7.0, "type": "linear", "factor": 2.0}}, 3e5),
    ],
)
def test_decoder_and_memaug_have_the_same_base(
    tmp_path: Path, change: dict[str, Any], base: float, caplog: pytest.LogCaptureFixture
) -> None:
    network = load_pretrained(copied(TIED, tmp_path, config=change), device="cpu").video_language
    assert network.memaug.rope_theta == base
    dims = 64 // 4
    expected = 1 / base ** (torch.arange(0, dims, 2).float() / dims)
    torch.testing.assert_close(network.language.decoder.model.rotary_emb.inv_freq, expected)
    assert ("lacks rope_theta (10000.0)" in caplog.text) == (base == 10_000.0)


def test_prompts_have_the_time_sentence_only_where_the_checkpoint_was_trained_with_it(tmp_path: Path) -> None:
    sentence = HOUR_LLAVA_TIME.form.format(seconds=9.0, frames=9)
    for number, (value, has) in enumerate(((True, True), (False, False), (None, True))):
        place = copied(TIED, tmp_path / str(number), config={"add_time_instruction": value})
        byte_tokenizer().save_pretrained(place)
        model = load_pretrained(place, device="cpu")
        assert model.tokenizer is not None
        text = model.tokenizer.decode(model.prompt("Where?", frames=9, seconds=9.0).after)
        assert text == (f"\n{sentence}" if has else "") + "\nWhere?<|im_end|>\n<|im_start|>assistant\n"


def test_a_new_memaug_is_trained_with_the_published_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The published training sets these keys from its arguments, whatever the LLaVA that it starts from was trained with."""
    place = copied(TIED, tmp_path, config={"mm_resampler_type": None, "mm_newline_position": "one_token"})
    rewrite(place, {name: None for name in load_file(place / SINGLE_FILE) if "vision_resampler" in name})
    with pytest.raises(CheckpointError, match="mm_newline_position 'one_token' is not supported"):
        sources(place, use_memaug=False)
    model = load_pretrained(place, device="cpu", init_memaug=True)
    assert model.config["mm_newline_position"] == "grid"
    assert "for the new MemAug: mm_newline_position: one_token, now grid" in caplog.text


def test_a_tokenizer_larger_than_the_embedding_is_refused_at_load(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([f"<extra_{n}>" for n in range(512 - 259)])
    fits = copied(TIED, tmp_path)
    tokenizer.save_pretrained(fits)
    assert load_pretrained(fits, device="cpu").tokenizer is not None
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(fits)
    with pytest.raises(
        CheckpointError, match=r"has 1 tokens beyond the 512 rows of its embedding, the first '<one more>' \(512\)"
    ):
        load_pretrained(fits, device="cpu")


# --- the vision tower's configuration ---


def test_a_tower_path_of_another_machine_is_the_known_tower_of_that_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = json.loads((TIED / "vision_tower" / "config.json").read_text())
    monkeypatch.setitem(KNOWN_TOWERS, "maker/small-tower", known)
    place = copied(TIED, tmp_path, config={"mm_vision_tower": "/mnt/models/small-tower"})
    shutil.rmtree(place / "vision_tower")
    model = load_pretrained(place, device="cpu")
    assert model.vision.spec.weights == load_pretrained(TIED, device="cpu").vision.spec.weights
    assert (
        "mm_vision_tower '/mnt/models/small-tower' is not there; its geometry is taken for that of maker/small-tower"
        in caplog.text
    )


def test_an_unmounted_tower_is_named_with_checkpoint_key_and_remedy(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path, config={"mm_vision_tower": "/mnt/models/own-tower"})
    with pytest.raises(CheckpointError) as caught:
        sources(place)
    for part in (
        str(place),
        "mm_vision_tower '/mnt/models/own-tower' is not there",
        "mount it",
        "set mm_vision_tower in config.json",
    ):
        assert part in str(caught.value)
