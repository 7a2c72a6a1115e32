"""Initial weights drawn from a seed, and the configurations of models built that way. Does not touch the global random state."""

import hashlib
import math
from typing import Any

import torch
from torch import Tensor

from afterview.model.base.settings import FRAMES_PER_CLIP
from afterview.model.checkpoint.config_keys import MEMAUG, MERGING_PROJECTOR, TIME_INSTRUCTION
from afterview.model.checkpoint.preset import Architecture, TowerGeometry
from afterview.model.checkpoint.weights import Slot, TensorSource
from afterview.model.language.tokenizer import BYTE_VOCABULARY

ARCHITECTURES = ["HourLlavaQwenForCausalLM"]  # of the published checkpoints
INITIAL_STD = 0.02  # for MemAug, projector and decoder (as in the published code)
TOWER_POSITION_STD = 1.0  # as large as the pixels: a token's value must show where something is
# In a model built from a seed, these are as large as what they are added to. Otherwise MemAug's first norm would suppress them.
UNIT_STD = ("memory_marks.place", "embed_tokens.weight")
# The last linear layers of MemAug's branches start small. After a norm, a full branch outweighs the row that it is added to; within four
# blocks all rows become equal (measured: cosine 0.99 between the rows of a question), and training did not undo it.
BRANCH_ENDS = (".self_attn.Wo.weight", ".cross_attn.Wo.weight", ".mlp.2.weight")
BRANCH_SCALE = 0.1  # no tower has layers of these names


def seeded(name: str, slot: Slot, seed: int, *, tower: bool) -> TensorSource:
    """A source that draws a parameter from the seed and its name only, in float32. It does not depend on what else is drawn.

    tower: keep the variance from layer to layer, as vision towers are initialised; also for MemAug if nothing around it
    is pretrained. Otherwise N(0, 0.02).
    """
    return TensorSource(
        shape=lambda: slot.shape, pieces=lambda: iter([_draw(name, slot.shape, seed, tower).reshape(-1)])
    )


def _draw(name: str, shape: tuple[int, ...], seed: int, tower: bool) -> Tensor:
    if name.endswith("logit_scale"):
        return torch.full(shape, math.log(10.0))  # SigLIP's initial values: temperature 10, bias -10
    if name.endswith("logit_bias"):
        return torch.full(shape, -10.0)
    if name.endswith("bias"):
        return torch.zeros(shape)
    if "norm" in name.split(".")[-2]:
        return torch.ones(shape)
    own_seed = int.from_bytes(hashlib.sha256(f"{seed}|{name}".encode()).digest()[:8], "big") >> 1
    return torch.randn(shape, generator=torch.Generator().manual_seed(own_seed)) * _std(name, shape, tower)


def _std(name: str, shape: tuple[int, ...], tower: bool) -> float:
    if name.endswith("image_newline"):
        return shape[0] ** -0.5
    if not tower:
        return INITIAL_STD
    if name.endswith(UNIT_STD):
        return 1.0
    if "position_embedding" in name:
        return TOWER_POSITION_STD
    return (BRANCH_SCALE if name.endswith(BRANCH_ENDS) else 1.0) * math.prod(shape[1:]) ** -0.5


def published_config(architecture: Architecture, depth: int, vocabulary: int = BYTE_VOCABULARY) -> dict[str, Any]:
    """config.json of a model built from a seed, in the published layout."""
    language = architecture.language
    switches: dict[str, Any] = {}
    if architecture.memory_marks:
        switches["memory_marks"] = list(architecture.memory_marks)
    if architecture.augmented_question:
        switches["augmented_question"] = True
    return {
        "architectures": ARCHITECTURES,
        "model_type": "qwen2",
        "vocab_size": vocabulary,
        "hidden_size": language.width,
        "intermediate_size": language.mlp_width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.heads,
        "num_key_value_heads": language.key_value_heads,
        "max_position_embeddings": language.positions,
        "rope_theta": language.rope_theta,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": architecture.tied,
        "hidden_act": "silu",
        **memaug_keys("./vision_tower", architecture.vision.width, depth),
        **switches,
    }


def memaug_keys(tower: str, tower_width: int, depth: int) -> dict[str, Any]:
    """The keys that turn a Qwen configuration into a Hour-LLaVA one."""
    return {
        "mm_vision_tower": tower,
        "mm_hidden_size": tower_width,
        "mm_projector_type": "mlp2x_gelu",
        "mm_resampler_type": MEMAUG,
        "memaug_depth": depth,
        "spatial_sampling_type": "random",
        "mm_spatial_pool_mode": "bilinear",
        "mm_patch_merge_type": "spatial_unpad",
        "mm_newline_position": "grid",
        "image_aspect_ratio": "anyres_max_9",
        TIME_INSTRUCTION: True,
    }


def flash_keys(tower: str, size: int, width: int) -> dict[str, Any]:
    """The keys that turn a Qwen configuration into one of VideoChat-Flash. size: pixels of its tower. width: of the tower."""
    return {
        "architectures": ["VideoChatFlashQwenForCausalLM"],
        "model_type": "videochat_flash_qwen",
        "mm_vision_tower": tower,
        "mm_hidden_size": width,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_projector_type": MERGING_PROJECTOR,
        "vision_encode_type": "video_image",
        "mm_local_num_frames": FRAMES_PER_CLIP,
        "mm_patch_merge_type": "spatial_nopad",
        "mm_newline_position": "nothing",
        "image_aspect_ratio": "anyres_nopad",
        "image_grid_pinpoints": [[size * wide, size * high] for wide in range(1, 7) for high in range(1, 7)],
        "frame_aspect_ratio": "square",
        "frame_grid_pinpoints": None,
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "mm_llm_compress": False,
    }


def vision_config(geometry: TowerGeometry, *, spare_layers: int) -> dict[str, Any]:
    """A SigLIP vision configuration. spare_layers: layers that are counted but never run."""
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": geometry.width,
        "intermediate_size": geometry.mlp_width,
        "num_hidden_layers": geometry.layers + spare_layers,
        "num_attention_heads": geometry.heads,
        "image_size": geometry.image_size,
        "patch_size": geometry.patch_size,
    }


def index_config(architecture: Architecture, vocabulary: int = BYTE_VOCABULARY) -> dict[str, Any]:
    """A SigLIP configuration with both towers."""
    text = architecture.index_text
    return {
        "model_type": "siglip",
        "vision_config": vision_config(architecture.index_vision, spare_layers=0),
        "text_config": {
            "model_type": "siglip_text_model",
            "vocab_size": vocabulary,
            "hidden_size": text.width,
            "projection_size": architecture.index_vision.width,
            "intermediate_size": text.mlp_width,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.positions,
            "bos_token_id": None,
            "eos_token_id": None,  # the tokenizer's is used; SigLIP's default is outside this vocabulary
        },
    }
