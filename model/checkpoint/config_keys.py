"""The keys of a published config.json that need a decision: implemented, refused by name, or without effect and said.

VideoChat-Flash: the values in VIDEOCHAT_FLASH, which are those of the released models; model.checkpoint.flash reads the rest.
Hour-LLaVA: what each key does in the published code (github.com/jylins/hourllava, hour_llava_arch.py and train.py):

| key | here |
|---|---|
| mm_resampler_type | memaug; null: LLaVA without MemAug; others are refused |
| mm_projector_type, mm_spatial_pool_mode | mlp2x_gelu, bilinear; others are refused |
| mm_patch_merge_type | spatial_unpad; others have no image_newline, and `flat` cannot run in the published code |
| mm_newline_position | grid: one newline after each frame; the published code with MemAug refuses all others as well |
| image_aspect_ratio | anyres and anyres_max_N; others are refused. image_grid_pinpoints: model.vision.tiles |
| add_time_instruction | true or false: whether the prompt of a video has the sentence about its length |
| add_faster_video, mm_use_im_start_end, mm_llm_compress, quantization_config | not implemented; refused if they are on |
| rope_scaling | the published class sets it to null before it builds the decoder, so it is ignored, and that is said |
| use_pos_skipping, attention_dropout | act only while training; not implemented, said if they are on |
| force_sample | acts only together with a frame limit, which the published scripts do not set |
| tokenizer_model_max_length | the published code cuts longer inputs there without a word; here nothing is cut, and a longer input is said |

Without effect on a model with MemAug on a SigLIP tower: mm_spatial_pool_stride, mm_vision_select_*, mm_use_im_patch_token, use_mm_proj, s2,
delay_load, vision_tower_pretrained, tokenizer_padding_side, image_crop_resolution, tune_*, freeze_*, mm_tunable_parts, mm_*_lr, and the
keys of other resamplers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from afterview.model.base.errors import CheckpointError
from afterview.model.base.settings import FRAMES_PER_CLIP

MERGING_PROJECTOR = "tome16_mlp_hd64"  # mm_projector_type of VideoChat-Flash: 16 tokens a frame, then an MLP
MEMAUG = "memaug"  # mm_resampler_type of a checkpoint with MemAug
TIME_INSTRUCTION = "add_time_instruction"
_TILED = re.compile(r"anyres_max_\d+")  # image_aspect_ratio


@dataclass(frozen=True)
class KeyRules:
    """The keys of one family of checkpoints."""

    implemented: Mapping[str, tuple[Any, ...]]  # the first value is what a missing key (or null) stands for
    said_if_missing: tuple[str, ...]  # because the published code then does something else or nothing at all
    remedies: Mapping[str, str] = field(default_factory=dict)


_CONVERT = "convert the weights to bfloat16"
_VIDEOS_ALONE = "videos do not depend on it: to ask about videos alone, correct it in a copy of config.json"
_NO_NEWLINES = "such a checkpoint holds newline tokens; take one of the released layout"

HOUR_LLAVA: Final = KeyRules(
    implemented={
        "mm_resampler_type": (None, MEMAUG),
        "mm_projector_type": ("mlp2x_gelu",),
        "mm_spatial_pool_mode": ("bilinear",),
        "mm_patch_merge_type": ("spatial_unpad",),
        "mm_newline_position": ("grid",),
        "image_aspect_ratio": ("anyres_max_9", "anyres"),
        TIME_INSTRUCTION: (True, False),
        "add_faster_video": (False,),
        "mm_use_im_start_end": (False,),
        "mm_llm_compress": (False,),
        "quantization_config": (None,),
    },
    said_if_missing=(
        "mm_projector_type",
        "mm_patch_merge_type",
        "mm_newline_position",
        "mm_spatial_pool_mode",
        "image_aspect_ratio",
        TIME_INSTRUCTION,
    ),
    remedies={
        "image_aspect_ratio": _VIDEOS_ALONE,
        "mm_llm_compress": "use `visual_dropout` in a preset file, and set it to false in a copy of config.json",
        "quantization_config": _CONVERT,
    },
)
VIDEOCHAT_FLASH: Final = KeyRules(
    implemented={
        "mm_projector_type": (MERGING_PROJECTOR,),
        "vision_encode_type": ("video_image",),
        "mm_local_num_frames": (FRAMES_PER_CLIP,),
        "mm_patch_merge_type": ("spatial_nopad",),
        "mm_newline_position": ("nothing",),
        "image_aspect_ratio": ("anyres_nopad",),
        "frame_aspect_ratio": ("square",),
        TIME_INSTRUCTION: (True, False),
        "mm_use_im_start_end": (False,),
        "mm_llm_compress": (False, True),
        "quantization_config": (None,),
    },
    said_if_missing=(
        "vision_encode_type",
        "mm_local_num_frames",
        "mm_patch_merge_type",
        "mm_newline_position",
        "image_aspect_ratio",
    ),
    remedies={
        "mm_patch_merge_type": _NO_NEWLINES,
        "mm_newline_position": _NO_NEWLINES,
        "image_aspect_ratio": _VIDEOS_ALONE,
        "quantization_config": _CONVERT,
    },
)

# What a training of a new MemAug sets, whatever the checkpoint before it said (the published scripts pass all of them).
REPLACED_FOR_NEW_MEMAUG = ("mm_newline_position", "image_aspect_ratio", "mm_spatial_pool_mode")
_TRAINING_ONLY = ("use_pos_skipping", "attention_dropout")
_WITHOUT_EFFECT = re.compile(
    r"mm_(hidden_size|vision_tower|vision_select_\w+|spatial_pool_(mode|stride|out_channels)|resampler_type|use_im_patch_token|tunable_parts|\w+_lr"
    r"|mask_drop_\w+|perceiver_\w+|pos_num_frames|close_init|num_compress_\w+|local_num_frames|vision_resampler_\w+)"
)


def refuse_unimplemented(raw: Mapping[str, Any], *, name: str, rules: KeyRules = HOUR_LLAVA) -> None:
    """Raise CheckpointError, naming key, value and what is implemented, for a configuration of something that is not."""
    for key in rules.implemented:
        refuse_key(raw, key, name=name, rules=rules)


def refuse_key(raw: Mapping[str, Any], key: str, *, name: str, rules: KeyRules = HOUR_LLAVA) -> None:
    """The same for one key."""
    known, value = rules.implemented[key], raw.get(key)
    tiled = key == "image_aspect_ratio" and rules is HOUR_LLAVA and _TILED.fullmatch(str(value))
    if value is not None and value not in known and not tiled:
        shown = " or ".join("null" if one is None else _plain(one) for one in known)
        remedy = rules.remedies.get(key, "take a checkpoint that was trained so")
        raise CheckpointError(f"{name}: config.json: {key} {_shown(value)} is not supported, only {shown}; {remedy}")


def with_implemented(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration for a new MemAug, and what was replaced in it ('mm_newline_position: one_token, now grid')."""
    other = {
        key: known[0]
        for key, known in HOUR_LLAVA.implemented.items()
        if key in REPLACED_FOR_NEW_MEMAUG and raw.get(key) is not None and raw[key] not in known
    }
    return {**raw, **other}, [f"{key}: {raw[key]}, now {value}" for key, value in other.items()]


def notes(raw: Mapping[str, Any], rules: KeyRules = HOUR_LLAVA) -> list[str]:
    """What is assumed for missing keys, and which keys are ignored, in words."""
    said = []
    missing = [f"{key} ({_plain(rules.implemented[key][0])})" for key in rules.said_if_missing if raw.get(key) is None]
    if missing:
        said.append(f"config.json lacks {', '.join(missing)}; in brackets what is taken")
    if scaled := _scaling(raw):
        said.append(f"config.json: {scaled} is ignored, as in the published code: positions are plain rotary ones")
    said += [
        f"config.json: {key} {_shown(raw[key])} acts only while training, and is not implemented: training goes without"
        for key in _TRAINING_ONLY
        if raw.get(key)
    ]
    unknown = [
        key
        for key in raw
        if key.startswith("mm_") and key not in rules.implemented and not _WITHOUT_EFFECT.fullmatch(key)
    ]
    if unknown:
        said.append(f"config.json: unknown keys are ignored: {', '.join(unknown)}")
    return said


def _scaling(raw: Mapping[str, Any]) -> str:
    """The key that asks for scaled rotary positions, with its type; empty if none does."""
    for key in ("rope_scaling", "rope_parameters"):
        values = raw.get(key)
        if isinstance(values, Mapping):
            kind = values.get("rope_type", values.get("type", "default"))
            if kind != "default":
                return f"{key} ({kind})"
    return ""


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else _plain(value)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
