"""Golden numbers: results of the published implementations, compared case by case in float32.

`GOLDEN_DIR=<dir> pytest tests/test_golden.py` runs the cases in that directory (default tests/golden), so further cases
need no code. A case's type follows from its place: hour_llava/NAME/, images/NAME.safetensors, memaug/NAME.safetensors,
prompts/NAME.json with prompts/tokenizer/, sampling/NAME.json, videochat_flash/*.safetensors, videochat_flash/model_NAME/.
"""

import json
import os
import shutil
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.published_sampling import extraction_frames, feature_rows, video_frames
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.batch import Sample, assemble
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.conversation import Turn, encode, time_sentence
from afterview.model.language.prompt import IMAGE_ID, SYSTEM, from_ids
from afterview.model.language.visual_dropout import DroppingDecoder, VisualDropoutConfig
from afterview.model.memaug.attention import Heads
from afterview.model.memaug.memaug import MemAug
from afterview.model.memaug.splice import plan_queries
from afterview.model.video_language import VideoInputs, VideoLanguageModel
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.merged_pictures import MergedPictures, see_merged
from afterview.model.vision.pictures import ImageLayout, see_pictures
from afterview.model.vision.preprocess import to_square
from afterview.model.vision.projector import Projector
from afterview.model.vision.tiles import Tiling
from afterview.model.vision.token_merging import ClipCompressor
from afterview.model.vision.tower import GRID
from afterview.training.data.conversations import Annotation, read_conversation

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "golden"))


class Case(NamedTuple):
    """Tensors and metadata of one golden file."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self.metadata["config"])

    def weights(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose name starts with a prefix, named without it."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


class Embedding(nn.Module):
    """The part of a language model that MemAug's cases have."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def embed(self, ids: np.ndarray) -> Tensor:
        return self.weight[torch.from_numpy(ids)]


def read_case(path: Path) -> Case:
    with safe_open(path, framework="pt") as file:
        return Case({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118


def cases(pattern: str) -> list[Any]:
    found = sorted(GOLDEN.glob(pattern))
    return [pytest.param(path, id=path.stem) for path in found]


def close(got: Tensor | np.ndarray, expected: Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(got), expected, rtol=1e-3, atol=1e-4)


def test_the_directory_holds_cases() -> None:
    assert any(GOLDEN.glob("*/*")), f"no golden cases in {GOLDEN}"


@pytest.mark.parametrize("path", cases("memaug/*.safetensors"))
@torch.inference_mode()
def test_memaug(path: Path) -> None:
    case = read_case(path)
    config, frames = case.config, case.config["frames"]
    raw = np.random.default_rng(config["feature_seed"]).standard_normal(
        (frames, 8, 8, config["mm_hidden_size"]), dtype=np.float32
    )
    features = raw.reshape(frames, GRID * GRID, -1)
    prompt = from_ids(case.tensors["input_ids"].numpy(), _optional(case.tensors, "labels"))
    layout = plan_layout(frames, config=ForgettingConfig(spatial=config["spatial_sampling_type"]), policy="true")
    positions = plan_queries(layout.query_position_ids(), prompt).positions
    np.testing.assert_array_equal(positions, case.tensors["expected.query_position_ids"].numpy())
    assert layout.key_position_ids()[-1] == case.tensors["expected.last_key_position_id"].item()
    inputs = memaug_model(case).inputs_embeds(features, layout, prompt, want_evidence=True)
    close(inputs.inputs_embeds, case.tensors["expected.inputs_embeds"])
    assert inputs.frame_weights is not None
    assert inputs.frame_weights.shape == (frames,)
    assert inputs.frame_weights.sum() == pytest.approx(1)


def memaug_model(case: Case) -> VideoLanguageModel:
    config = case.config
    heads = Heads(config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"])
    projector = Projector(config["mm_hidden_size"], config["hidden_size"])
    memaug = MemAug(heads, depth=config["memaug_depth"], rope_theta=config["rope_theta"])
    projector.load_state_dict(case.weights("model.mm_projector."))
    memaug.load_state_dict(case.weights("model.vision_resampler."))
    newline = nn.Parameter(case.tensors["model.image_newline"])
    language: Any = Embedding(case.tensors["model.embed_tokens.weight"])
    return VideoLanguageModel(projector, memaug, newline, language)


@pytest.mark.parametrize("path", cases("images/*.safetensors"))
@torch.inference_mode()
def test_images(path: Path) -> None:
    case = read_case(path)
    labels = _optional(case.tensors, "labels")
    ids, network = case.tensors["input_ids"].numpy(), memaug_model(case)
    tokens, layout = see_case(case, network)
    np.testing.assert_array_equal(layout.key_position_ids(), case.tensors["expected.key_position_ids"].numpy())
    if "expected.grid_shape" in case.tensors:
        rows, columns = case.tensors["expected.grid_shape"].tolist()
        assert len(tokens) == 27 * 27 + rows * columns
        assert len(layout.key_tokens()) == 27 * 27 + rows * (columns + 1)
    prompt = from_ids(ids, labels, media=len(case.config["pictures"]))
    plan = plan_queries(layout.query_position_ids(), prompt, layout.query_groups())
    np.testing.assert_array_equal(plan.positions, case.tensors["expected.query_position_ids"].numpy())
    visual = np.zeros(len(plan.positions), dtype=bool)
    for rows in plan.visual:
        visual[rows] = True
    np.testing.assert_array_equal(visual, case.tensors["expected.query_is_visual"].numpy().astype(bool))
    inputs = network.image_inputs(tokens, layout, prompt)
    close(inputs.inputs_embeds, case.tensors["expected.inputs_embeds"])
    words = None if labels is None else labels[ids != IMAGE_ID]
    batch = assemble(network, [Sample(tokens, layout, prompt, words)])
    close(batch.inputs_embeds[0], case.tensors["expected.inputs_embeds"])
    assert batch.visual == [inputs.visual]
    if labels is not None:
        assert batch.labels[0].tolist() == case.tensors["expected.labels"].tolist()


def see_case(case: Case, network: VideoLanguageModel) -> tuple[Tensor, ImageLayout]:
    """Tokens and layout of the case's pictures. Only their sizes matter: the encoded patches are given."""
    config = case.config
    raw = np.random.default_rng(config["feature_seed"]).standard_normal(
        (config["tiles"], 27 * 27, config["mm_hidden_size"]), dtype=np.float32
    )

    def patches(frames: np.ndarray) -> Tensor:
        assert len(frames) == config["tiles"]
        return torch.from_numpy(raw)

    vision: Any = SimpleNamespace(spec=SimpleNamespace(resolution=384), patches=patches)
    pictures = [np.zeros((size["height"], size["width"], 3), np.uint8) for size in config["pictures"]]
    forgetting = ForgettingConfig(spatial=config["spatial_sampling_type"])
    return see_pictures(pictures, vision, network.projector, forgetting, Tiling.of(config))


@pytest.mark.parametrize("path", cases("prompts/*.json"))
@pytest.mark.parametrize("supervise_roles", [False, True], ids=["answers only", "roles"])
def test_prompts(path: Path, supervise_roles: bool) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(path.parent / "tokenizer")
    expected = case["expected"]
    annotation = Annotation.model_validate(case)
    frames, seconds = case["options"]["frames"], case["options"]["seconds"]
    timed = case["options"]["add_time_instruction"] and frames is not None
    placed = annotation.placed(time_sentence(frames, seconds) if timed else None)
    encoded = encode(tokenizer, placed, supervise_roles=supervise_roles)
    length = None if supervise_roles else -1  # answers only: without the newline after the last turn
    assert encoded.ids.tolist() == expected["input_ids"][:length]
    kind = "labels_supervise_roles" if supervise_roles else "labels_answers_only"
    assert encoded.labels.tolist() == expected[kind][:length]
    prompt, words = read_conversation(
        tokenizer, annotation, frames=frames, seconds=seconds or 0.0, supervise_roles=supervise_roles,
        add_time_instruction=case["options"]["add_time_instruction"],
    )  # fmt: skip
    text = encoded.ids[encoded.ids != IMAGE_ID]
    assert np.concatenate([prompt.before, prompt.after]).tolist() == text.tolist()
    assert words.tolist() == encoded.labels[encoded.ids != IMAGE_ID].tolist()
    assert prompt.places == max(1, placed.media)
    turns = [Turn("system", (SYSTEM,)), *placed.turns]
    shown = "".join(f"<|im_start|>{turn.role}\n{'<image>'.join(turn.pieces)}<|im_end|>\n" for turn in turns)
    assert shown == expected["text"]


@pytest.mark.parametrize("path", cases("sampling/*.json"))
def test_sampling(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    for row in case["rows"]:
        frames, fps, shortest = row["frames"], row["fps"], case["min_frames"]
        if row["kind"] == "features":
            indices, seconds = feature_rows(frames, row["duration"]), row["duration"]
        elif row["kind"] == "extraction":
            indices, seconds = extraction_frames(frames, fps, shortest=shortest), row["duration"]
        else:
            indices, seconds = video_frames(frames, fps, shortest=shortest, video_fps=case["video_fps"]), frames / fps
        assert indices.tolist() == row["indices"], row
        if row["stated_frames"] is not None:
            said = f"lasts for {row['stated_seconds']} seconds, and {row['stated_frames']} frames"
            assert said in time_sentence(len(indices), seconds)


def _optional(tensors: dict[str, Tensor], name: str) -> np.ndarray | None:
    return tensors[name].numpy() if name in tensors else None


@pytest.mark.parametrize("path", cases("hour_llava/*"))
def test_hour_llava(path: Path) -> None:
    case = read_case(path / "expected.safetensors")
    frames = int(case.metadata["frames"])
    model = load_pretrained(path, device="cpu", dtype="float32")
    noise = np.random.default_rng(int(case.metadata["frames_seed"]))
    coarse = noise.integers(0, 256, (frames, 24, 24, 3), dtype=np.uint8)
    with torch.inference_mode():
        parts = [
            model.vision.features(part.repeat(16, 1).repeat(16, 2)) for part in np.array_split(coarse, -(-frames // 8))
        ]
    features = torch.cat(parts)
    close(features, case.tensors["pooled_features"])
    layout = plan_layout(frames, config=model.preset.forgetting, policy="true")
    prompt = from_ids(case.tensors["input_ids"].numpy(), _optional(case.tensors, "labels"))
    inputs = model.video_language.inputs_embeds(features, layout, prompt)
    close(inputs.inputs_embeds, case.tensors["inputs_embeds"])
    close(model.video_language.first_token_logits(inputs), case.tensors["last_logits"])
    expected = case.tensors["greedy_tokens"].tolist()
    stream = model.video_language.generate(inputs, max_new_tokens=len(expected))
    assert list(islice(stream, len(expected))) == expected


@pytest.mark.parametrize("path", cases("videochat_flash/token_merge_*.safetensors"))
@torch.inference_mode()
def test_token_merge(path: Path) -> None:
    case = read_case(path)
    config = case.config
    compressor = ClipCompressor(config["mm_hidden_size"], config["hidden_size"], heads=config["merge_heads"])
    compressor.mlp.load_state_dict(case.weights("mlp."))
    close(compressor(case.tensors["input.features"], config["frames_per_clip"]), case.tensors["expected.tokens"])


@pytest.mark.parametrize("path", cases("videochat_flash/visual_dropout_*.safetensors"))
@torch.inference_mode()
def test_visual_dropout(path: Path) -> None:
    case = read_case(path)
    config = case.config
    settings = {key: value for key, value in config.items() if key in Qwen2Config().to_dict() or key == "rope_theta"}
    model = Qwen2Model(Qwen2Config(**settings)).eval()
    names = model.state_dict().keys()
    model.load_state_dict({name: tensor for name, tensor in case.tensors.items() if name in names})
    dropout = VisualDropoutConfig(
        kind=config["llm_compress_type"],
        layers=config["llm_compress_layer_list"],
        ratios=config["llm_image_token_ratio_list"],
    )
    spans = [[(config["first_visual_position"], config["visual_tokens"])]]
    out = DroppingDecoder(model, dropout).forward(case.tensors["input.embeds"], spans)
    assert out.layer_lengths == case.tensors["expected.sequence_lengths"].tolist()
    close(out.hidden, case.tensors["expected.last_hidden_state"])


class FlashCase(NamedTuple):
    """A whole VideoChat-Flash with its inputs."""

    case: Case
    model: AfterviewModel
    vision: ClipEncoder
    video: np.ndarray  # [T, S, S, 3]
    picture: np.ndarray  # [H, W, 3]


def read_flash(path: Path) -> FlashCase:
    case = read_case(path / "expected.safetensors")
    model = load_pretrained(path, device="cpu", dtype="float32")
    assert isinstance(model.vision, ClipEncoder)
    frames, repeat = int(case.metadata["frames"]), int(case.metadata["repeat"])
    shape = (frames + 1, *json.loads(case.metadata["grid"]), 3)
    coarse = np.random.default_rng(int(case.metadata["frames_seed"])).integers(0, 256, shape, dtype=np.uint8)
    pictures = coarse.repeat(repeat, 1).repeat(repeat, 2)
    assert list(pictures.shape[1:3]) == json.loads(case.metadata["frame_size"])
    squares = np.stack([to_square(rgb, model.vision.spec.resolution) for rgb in pictures[:frames]])
    return FlashCase(case, model, model.vision, squares, pictures[-1])


def tile_picture_of(flash: FlashCase) -> np.ndarray:
    """The picture for the tiled views, which the metadata describe in words."""
    words, frame = flash.case.metadata["tile_image"], flash.picture
    if "copy" not in words:
        assert words == "the frame itself"
        return frame
    copy = frame[:, ::-1] if "mirrored" in words else frame
    copy = copy[::-1] if "upside-down" in words else copy
    places = {"above": 0, "side by side": 1, "beside": 1}
    axis = next((axis for place, axis in places.items() if place in words), None)
    assert axis is not None, f"tile_image: {words}"
    return np.concatenate([frame, copy], axis=axis)


@pytest.mark.parametrize("path", cases("videochat_flash/model_*"))
@torch.inference_mode()
def test_flash_tower(path: Path) -> None:
    case, _, vision, video, picture = flash = read_flash(path)
    expected = case.tensors
    side, projector = vision.spec.resolution, flash.model.video_language.projector
    close(vision.pixels(video[:2])[:, :, ::7, ::7], expected["pixel_values_sample"])
    close(vision.tower(vision.pixels(video[:4]).transpose(0, 1)[None])[0], expected["tower.clip_features"])
    single = to_square(picture, side)[None]
    close(vision.patches(single)[0], expected["tower.image_features"])
    close(vision.clips(video), expected["merged.video"])
    close(vision.features(video).reshape(expected["merged.video"].shape), expected["merged.video"])
    close(projector(vision.clips(video)), expected["tokens.video"])
    close(projector(vision.images(single))[0], expected["tokens.image"])


@pytest.mark.parametrize("path", cases("videochat_flash/model_*"))
@torch.inference_mode()
def test_flash_video(path: Path, tmp_path: Path) -> None:
    case, model, vision, video, _ = read_flash(path)
    inputs = flash_inputs(model, vision.features(video), case)
    close(inputs.inputs_embeds, case.tensors["inputs_embeds"])
    check_answer(model, inputs, case, "")
    place = shutil.copytree(path, tmp_path / "compressing")
    config = json.loads((place / "config.json").read_text()) | {"mm_llm_compress": True}
    (place / "config.json").unlink()
    (place / "config.json").write_text(json.dumps(config))
    dropping = load_pretrained(place, device="cpu", dtype="float32")
    inputs = flash_inputs(dropping, vision.features(video), case)
    check_answer(dropping, inputs, case, "compress.")
    decoder = dropping.video_language.language.dropping
    assert decoder is not None
    out = decoder.forward(inputs.inputs_embeds[None], [inputs.visual])
    assert out.layer_lengths == case.tensors["compress.sequence_lengths"].tolist()


@pytest.mark.parametrize("path", cases("videochat_flash/model_*"))
@torch.inference_mode()
def test_flash_pictures(path: Path) -> None:
    case, model, vision, _, picture = flash = read_flash(path)
    network, prompt = model.video_language, from_ids(case.tensors["image_input_ids"].numpy())
    single = network.projector(vision.images(to_square(picture, vision.spec.resolution)[None]))[0]
    inputs = network.image_inputs(single, MergedPictures((len(single),)), prompt)
    close(inputs.inputs_embeds, case.tensors["image.inputs_embeds"])
    close(network.first_token_logits(inputs), case.tensors["image.last_logits"])
    tokens, layout = see_merged([tile_picture_of(flash)], vision, network.projector, Tiling.of(model.config))
    assert len(tokens) == 64 * int(case.metadata["tile_views"])
    tiled = network.image_inputs(tokens, layout, prompt)
    close(tiled.inputs_embeds, case.tensors["image_tiles.inputs_embeds"])


def flash_inputs(model: AfterviewModel, features: Tensor, case: Case) -> VideoInputs:
    prompt = from_ids(case.tensors["input_ids"].numpy())
    layout = ClipLayout(len(features), model.vision.spec.tokens_per_frame)
    (inputs,) = model.video_inputs([(features, layout, prompt)])
    return inputs


def check_answer(model: AfterviewModel, inputs: VideoInputs, case: Case, kind: str) -> None:
    """The scores of the first token, and the tokens of the answer, which the published code did not end."""
    close(model.video_language.first_token_logits(inputs), case.tensors[f"{kind}last_logits"])
    expected = case.tensors[f"{kind}greedy_tokens"].tolist()
    model.video_language.language.stop_ids = frozenset()
    assert list(model.video_language.generate(inputs, max_new_tokens=len(expected))) == expected
