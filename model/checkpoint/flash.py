"""VideoChat-Flash checkpoints: how they are recognised, their vision tower, and what their configuration says of the model.

config.json has no geometry of the tower. The name in `mm_vision_tower` gives the size of pictures, the tensors give the
rest. `mm_projector_type` makes a checkpoint one of this family; `model_type` and the checkpoint's name say nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from afterview.configs import first_problem
from afterview.model.base.errors import CheckpointError, TensorMismatch
from afterview.model.base.settings import TowerName, VisualDropoutConfig
from afterview.model.checkpoint.config_keys import MEMAUG, MERGING_PROJECTOR, VIDEOCHAT_FLASH, notes
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.published import PROJECTOR_PREFIX
from afterview.model.checkpoint.published import VIDEOCHAT_FLASH as FAMILY
from afterview.model.checkpoint.weights import TensorSource
from afterview.model.vision.clip_encoder import MERGED
from afterview.model.vision.umt import HEADS, PATCH, UmtGeometry

SIZES = {"umt-hd": 448, "umt": 224}  # pixels, by the first of these that the tower's name contains
RELEASED_DROPOUT = "llm_compress_type attention, llm_compress_layer_list [24], llm_image_token_ratio_list [1, 0.5]"
_OTHER_TOWER = "internvideo2"
_PATCHES = f"{FAMILY.tower}encoder.patch_embed.proj.weight"
_ALL_TOWERS = "model.vision_tower."
_DROPOUT_KEYS = {
    "kind": "llm_compress_type",
    "layers": "llm_compress_layer_list",
    "ratios": "llm_image_token_ratio_list",
}
_PUBLISHED_WIDTH, _PUBLISHED_DEPTH = 1024, 24  # of UMT-L


def is_flash(raw: Mapping[str, Any], *, name: str) -> bool:
    """Whether config.json is that of a VideoChat-Flash. Raises CheckpointError for a projector and a tower that are not of one family."""
    projector, tower = str(raw.get("mm_projector_type")), str(raw.get("mm_vision_tower")).lower()
    merges = projector.startswith("tome")
    if merges or not ("umt" in tower or _OTHER_TOWER in tower):
        return merges
    raise CheckpointError(
        f"{name}: config.json: mm_projector_type is {_shown(raw.get('mm_projector_type'))}, but the tower '{raw['mm_vision_tower']}' is "
        f"one of VideoChat-Flash, whose projector is '{MERGING_PROJECTOR}'; correct the key if the checkpoint is one"
    )


def umt_config(raw: Mapping[str, Any], tensors: Mapping[str, TensorSource], *, size: int, name: str) -> dict[str, Any]:
    """The tower's configuration, from its tensors. size: from `tower_size`. Raises CheckpointError for another tower, with the remedy."""
    if _PATCHES not in tensors:
        found = sorted(n for n in tensors if n.startswith(_ALL_TOWERS))
        held = f"holds tensors of another one ({found[0]}, ...)" if found else "holds no tensors of a tower"
        raise TensorMismatch(
            f"{name}: config.json names the tower '{raw['mm_vision_tower']}', but the checkpoint {held} and no {_PATCHES}; "
            "download the checkpoint again, or correct mm_vision_tower"
        )
    shape = tensors[_PATCHES].shape()
    width = shape[0]
    if shape[1:] != (3, 1, PATCH, PATCH) or width % HEADS:
        raise TensorMismatch(
            f"{name}: {_PATCHES} is {list(shape)}; that of a UMT-L is [width, 3, 1, {PATCH}, {PATCH}] with a width that {HEADS} heads "
            "divide, so this is another tower; take a checkpoint with a UMT-L"
        )
    if raw.get("mm_hidden_size") not in (None, width):
        raise CheckpointError(
            f"{name}: config.json: mm_hidden_size is {raw['mm_hidden_size']}, but the stored tower has width {width}; "
            "download the checkpoint again, or correct mm_hidden_size"
        )
    depth = _depth(tensors)
    _require_whole(raw, width, depth, name)
    return UmtGeometry(width, depth, image_size=size).document()


def tower_size(raw: Mapping[str, Any], *, name: str) -> int:
    """Pixels per side of the pictures that the named tower takes. Raises CheckpointError for the name of another tower."""
    tower = str(raw["mm_vision_tower"])
    if _OTHER_TOWER in tower.lower():
        raise CheckpointError(
            f"{name}: config.json: mm_vision_tower '{tower}': the tower InternVideo2-1B is not built; it would need its blocks (layer "
            "scale, normalised queries and keys), its class token and its learnt positions beside those of UMT-L (model/vision/umt.py); "
            "take a checkpoint with umt-large or umt-hd-large, such as --model videochat-flash-7b"
        )
    for part, size in SIZES.items():
        if part in tower.lower():
            return size
    raise CheckpointError(
        f"{name}: config.json: mm_vision_tower '{tower}' is not supported with mm_projector_type '{MERGING_PROJECTOR}', only towers whose "
        "name contains umt (224 pixels) or umt-hd (448 pixels); correct the name if the checkpoint holds such a tower"
    )


def _depth(names: Iterable[str]) -> int:
    """Blocks that are stored. All of them run."""
    pattern = re.compile(rf"{re.escape(FAMILY.tower)}encoder\.blocks\.(\d+)\.")
    return 1 + max((int(match[1]) for name in names if (match := pattern.match(name))), default=-1)


def _require_whole(raw: Mapping[str, Any], width: int, depth: int, name: str) -> None:
    """Only of the published width is the number of blocks known: without it, missing ones could not be told from a smaller tower."""
    layer = raw.get("mm_vision_select_layer", -2)
    whole = _PUBLISHED_DEPTH + layer + 1 if isinstance(layer, int) and layer < 0 else None
    if not depth or (width == _PUBLISHED_WIDTH and whole is not None and depth != whole):
        raise TensorMismatch(
            f"{name}: its tower has {depth} blocks; a UMT-L with mm_vision_select_layer {layer} has {whole}; download the checkpoint again"
        )


def require_projector(names: Iterable[str], *, name: str) -> None:
    """Raise TensorMismatch if the stored projector is of another kind than config.json says."""
    stored = {n for n in names if n.startswith(PROJECTOR_PREFIX)}
    wanted = {f"{FAMILY.projector}{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
    if stored and not stored & wanted:
        raise TensorMismatch(
            f"{name}: config.json says mm_projector_type '{MERGING_PROJECTOR}', but the stored projector is of another kind "
            f"({min(stored)}, not {min(wanted)}); correct mm_projector_type, or download the checkpoint again"
        )


def dropout_of(raw: Mapping[str, Any], *, name: str) -> VisualDropoutConfig | None:
    """The visual dropout that config.json asks for; None if mm_llm_compress is not true.

    Raises CheckpointError for a missing list, and for lists that do not fit each other or the decoder.
    """
    if raw.get("mm_llm_compress") is not True:
        return None
    missing = [key for key in _DROPOUT_KEYS.values() if raw.get(key) is None]
    if missing:
        raise CheckpointError(
            f"{name}: config.json: mm_llm_compress is true, but it lacks {' and '.join(missing)}; "
            f"add what is missing (the published evaluations use {RELEASED_DROPOUT}), or set mm_llm_compress to false"
        )
    try:
        config = VisualDropoutConfig.model_validate({field: raw[key] for field, key in _DROPOUT_KEYS.items()})
    except ValidationError as error:
        raise CheckpointError(
            f"{name}: config.json: the llm_compress keys do not fit each other ({_in_their_words(first_problem(error))}); correct them, or "
            "set mm_llm_compress to false"
        ) from None
    layers = raw.get("num_hidden_layers")
    if isinstance(layers, int) and config.layers and config.layers[-1] >= layers:
        raise CheckpointError(
            f"{name}: config.json: llm_compress_layer_list drops after layer {config.layers[-1]} of a decoder of {layers} layers; name one "
            f"below {layers}, or set mm_llm_compress to false"
        )
    return config


def with_tower(raw: Mapping[str, Any], tower: TowerName, *, name: str) -> dict[str, Any]:
    """The configuration for the tower of another size of pictures, as the stage of high resolution begins with it: the same tensors.

    The grids of pictures grow with it. Raises CheckpointError if the present tower is none of VideoChat-Flash's.
    """
    before, after = tower_size(raw, name=name), tower_size({"mm_vision_tower": tower}, name=name)
    changed = {**raw, "mm_vision_tower": tower}
    if isinstance(grids := raw.get("image_grid_pinpoints"), list):
        changed["image_grid_pinpoints"] = [[side * after // before for side in grid] for grid in grids]
    return changed


def dropout_keys(config: VisualDropoutConfig) -> dict[str, Any]:
    """The keys of config.json that ask for a visual dropout; the reverse of `dropout_of`."""
    if not config.layers:
        return {"mm_llm_compress": False}
    kept = {
        key: list(value) if isinstance(value := getattr(config, field), tuple) else value
        for field, key in _DROPOUT_KEYS.items()
    }
    return {"mm_llm_compress": True, **kept}


def implied(raw: Mapping[str, Any], preset: ModelPreset, *, name: str) -> dict[str, object]:
    """The keys of the preset that config.json decides. A `visual_dropout` in the preset takes precedence."""
    if preset.token_merging not in (None, MERGED):
        raise CheckpointError(
            f"{preset.name}: token_merging: {name} merges clips of {MERGED.frames_per_clip} frames; remove the key"
        )
    update: dict[str, object] = {"token_merging": MERGED}
    configured = dropout_of(raw, name=name)
    if "visual_dropout" not in preset.model_fields_set:
        update["visual_dropout"] = configured
    return update


def flash_notes(raw: Mapping[str, Any]) -> list[str]:
    """What is assumed for missing keys, and which keys are ignored, in words."""
    said = notes(raw, VIDEOCHAT_FLASH)
    resampler = raw.get("mm_resampler_type")
    if resampler not in (None, MEMAUG):
        said.append(
            f"config.json: mm_resampler_type '{resampler}' has no effect in a VideoChat-Flash, as in the published code"
        )
    return said


def _in_their_words(problem: str) -> str:
    """A problem of VisualDropoutConfig that begins with the key of config.json."""
    place, found, rest = problem.partition(":")
    key = _DROPOUT_KEYS.get(place.split(".")[0])
    return f"{key}:{rest}" if found and key else problem


def _shown(value: object) -> str:
    return "missing" if value is None else f"'{value}'"
