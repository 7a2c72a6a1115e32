"""The small VideoChat-Flash as a checkpoint: in the published layout of a LLaVA without MemAug, with a preset that merges clips.

The published layout of VideoChat-Flash has a UMT-L for a tower; this model has the SigLIP of the small Hour-LLaVA. Tokens, prompt, visual
dropout and sampling are those of VideoChat-Flash (`sees_clips` of the preset).
"""

from pathlib import Path

import torch
import yaml

from afterview.memory.base.durable import write_file
from afterview.model.base.checkpoint_files import TOWER_DIRECTORY
from afterview.model.base.settings import FRAMES_PER_CLIP, TokenMergingConfig, VisualDropoutConfig
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import PRESET_FILE, ModelPreset
from afterview.model.checkpoint.published import NEWLINE, published_slots
from afterview.model.checkpoint.saving import INDEX_DIRECTORY, save_index_encoder, write_json, write_tensors
from afterview.model.video_language import VideoLanguageModel

_OF_HOUR_LLAVA = ("mm_resampler_type", "memaug_depth", "memory_marks", "augmented_question")


def save_flash(
    network: VideoLanguageModel,
    base: AfterviewModel,
    dropout: VisualDropoutConfig,
    *,
    name: str,
    notice: str,
    directory: Path,
) -> None:
    """Write the model, in float16. base: the model whose tower, index and tokenizer it has."""
    decoder = network.language.decoder.config
    changed = {
        "num_hidden_layers": decoder.num_hidden_layers,
        "hidden_size": decoder.hidden_size,
        "intermediate_size": decoder.intermediate_size,
        "num_attention_heads": decoder.num_attention_heads,
        "num_key_value_heads": decoder.num_key_value_heads,
        "mm_vision_tower": f"./{TOWER_DIRECTORY}",
    }
    config = {key: value for key, value in base.config.items() if key not in _OF_HOUR_LLAVA} | changed
    tensors = {
        n: slot.value.detach().half() for n, slot in published_slots(network, base.vision.tower, tied=False).items()
    }
    tensors[NEWLINE] = torch.zeros(network.language.width, dtype=torch.float16)  # of the layout; nothing reads it
    preset = ModelPreset(
        name=name,
        checkpoint=".",
        index_encoder=INDEX_DIRECTORY,
        use_memaug=False,
        token_merging=TokenMergingConfig(frames_per_clip=FRAMES_PER_CLIP),
        visual_dropout=dropout,
        notice=notice,
        scope=base.preset.scope,
        short_videos=base.preset.short_videos,
        max_new_tokens=base.preset.max_new_tokens,
    )
    write_tensors(directory, tensors)
    write_json(directory / TOWER_DIRECTORY / "config.json", base.tower_config)
    save_index_encoder(base.encoders.index, directory / INDEX_DIRECTORY)
    if base.tokenizer is not None:
        base.tokenizer.save_pretrained(directory)
    document = preset.model_dump(mode="json", exclude_defaults=True)
    write_file(directory / PRESET_FILE, yaml.safe_dump(document, sort_keys=False).encode())
    write_json(directory / "config.json", config)
