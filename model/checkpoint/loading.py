"""Loads whole models, or only their encoders.

A model comes from a checkpoint in the published layout, from a SigLIP and a Qwen checkpoint with a newly initialised
MemAug, or from a seed: see model.checkpoint.sources. Modules are built on the meta device and filled tensor by tensor.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import PreTrainedConfig

from afterview.model.base.errors import BackendUnavailable, CheckpointError, HubUnreachable, explained
from afterview.model.checkpoint import init
from afterview.model.checkpoint.generation import end_tokens, generation_settings
from afterview.model.checkpoint.hub import locate
from afterview.model.checkpoint.models import AfterviewModel, Encoders
from afterview.model.checkpoint.other_adapters import merge_with_peft
from afterview.model.checkpoint.preset import ModelPreset, chosen_index, find_preset
from afterview.model.checkpoint.published import (
    EMBEDDING,
    HEAD,
    VIDEOCHAT_FLASH,
    decoder_settings,
    missing_decoder_keys,
    published_slots,
    read_config,
)
from afterview.model.checkpoint.sources import Sources, architecture_tokenizer, find_sources
from afterview.model.checkpoint.tensor_check import check
from afterview.model.checkpoint.tokenizer_files import find_tokenizer, require_room, stop_ids
from afterview.model.checkpoint.weights import Slot, Target, TensorSource, digest, fill, open_tensors, slots_of
from afterview.model.language.decoder import LanguageModel, build_decoder
from afterview.model.memaug.attention import Heads
from afterview.model.memaug.memaug import MemAug
from afterview.model.memaug.token_embeddings import TokenEmbeddings
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.index_encoder import IndexEncoder, build_index_model
from afterview.model.vision.no_index import NoIndex
from afterview.model.vision.no_tokens import NoTokens
from afterview.model.vision.projector import Projector
from afterview.model.vision.tower import Tower, VisionEncoder, build_tower
from afterview.model.vision.umt import UmtTower

__all__ = [
    "build_network",
    "choose_target",
    "load_encoders",
    "load_index_encoder",
    "load_pretrained",
]

_LOGGER = logging.getLogger(__name__)

_INDEX_REMEDY = (
    "give --index-encoder with the directory or hub id of a SigLIP with both towers, or index_encoder in a preset file"
)
SEED_NOTICE = "All weights are drawn from a seed: answers mean nothing until they are trained."


class Network(NamedTuple):
    """The modules of a whole model, and its parameters by their published names."""

    video_language: VideoLanguageModel
    tower: Tower
    slots: dict[str, Slot]


def load_pretrained(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    init_memaug: bool = False,
    index_encoder: str | None = None,
    recorded_index: str | None = None,
    changes: Mapping[str, object] | None = None,
) -> AfterviewModel:
    """Load a whole model.

    name_or_path: a preset, a preset file, a directory in the published layout, or a hub id. device: default the first
    CUDA device, otherwise the CPU. dtype: default bfloat16 on CUDA, float32 on the CPU. init_memaug: accept a LLaVA
    checkpoint without MemAug and initialise one from the preset's seed. index_encoder: a SigLIP checkpoint with both
    towers, instead of the preset's. recorded_index: the one that a memory was recorded with; it is used if the preset names none.
    changes: other keys of the preset to replace.

    Raises ModelNotFound, HubUnreachable, CheckpointError and its subclasses, BackendUnavailable, and NoLanguageModel for a model that only
    finds frames (`load_for_questions` loads those, too).
    """
    preset = _adjusted(find_preset(name_or_path), init_memaug, index_encoder, recorded_index)
    preset = preset.model_copy(update=dict(changes or {}))
    target = choose_target(device, dtype)
    sources = find_sources(preset)
    preset = preset.model_copy(update=dict(sources.implied))
    tokenizer = sources.read_tokenizer()
    stops = stop_ids(tokenizer, sources.config.eos_token_id, end_tokens(sources.generation))
    with explained(sources.where):
        network = build_network(sources, preset, stops)
    decoder = network.video_language.language.decoder
    require_room(tokenizer, int(decoder.config.vocab_size), where=sources.where)
    _say(sources, decoder.config)
    tensors = sources.complete(network.slots)
    if sources.untied_head is not None:
        _warn_if_untied(tensors, sources.where)
        del tensors[HEAD]
    check(network.slots, tensors, where=sources.where)
    fingerprint = fill(network.slots, tensors, target)
    _finish(network, sources, target)
    if sources.adapter is not None and sources.adapter.merged_by_peft:
        fingerprint += f"+{merge_with_peft(decoder, sources.adapter)}"
    config = {**sources.raw_config, **_keep_first_blocks(network, preset)}
    return AfterviewModel(
        preset=_honest(preset, sources),
        video_language=network.video_language,
        vision=_vision_encoder(network.tower, sources, tensors, preset),
        tokenizer=tokenizer,
        weights_hash=fingerprint,
        config=config,
        tower_config=sources.tower_config,
        load_index=lambda: load_index_encoder(preset, target),
        generation=generation_settings(sources.generation, preset, where=sources.where),
        time_instruction=sources.config.time_instruction,
    )


def load_encoders(
    name_or_path: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    index_encoder: str | None = None,
    recorded_index: str | None = None,
    with_index: bool = True,
) -> Encoders:
    """Load only the encoders. Of a sharded checkpoint, only the shards with the vision tower are opened.

    The arguments are those of `load_pretrained`. with_index: False loads no index encoder; then features can be made, but not searched.
    """
    found = find_preset(name_or_path)
    preset = _adjusted(found, found.init_memaug or found.encoder is None, index_encoder, recorded_index)
    target = choose_target(device, dtype)
    if preset.finds_only and with_index:
        index = load_index_encoder(preset, target)
        return Encoders(NoTokens(index.spec.resolution), index, preset)
    sources = find_sources(preset)
    if sources.family is VIDEOCHAT_FLASH and not found.init_memaug:  # it needs no MemAug
        sources = replace(sources, drawn=())
    preset, prefix = preset.model_copy(update=dict(sources.implied)), sources.family.tower
    with explained(sources.tower_name or sources.where):
        tower = build_tower(sources.tower_config)
    slots = slots_of(tower, prefix)
    tensors = {name: source for name, source in sources.complete(slots).items() if name.startswith(prefix)}
    check(slots, tensors, where=sources.where)
    fill(slots, tensors, target)
    tower.to(target.device)
    index = load_index_encoder(preset, target) if with_index else NoIndex()
    return Encoders(_vision_encoder(tower, sources, tensors, preset), index, _honest(preset, sources))


def load_index_encoder(preset: ModelPreset, target: Target) -> IndexEncoder:
    """The index encoder of a preset: from its own checkpoint, or drawn from the seed. Errors name the model, the key and the remedy."""
    if preset.index_encoder is not None:
        with _for_index(preset):
            location = locate(preset.index_encoder)
            name, config, tokenizer = location.name, read_config(location), find_tokenizer(location)
            # older checkpoints also store these buffers
            stored = {n: s for n, s in open_tensors(location).items() if not n.endswith(".position_ids")}
    elif preset.architecture is not None:
        tokenizer = architecture_tokenizer(preset.architecture)
        name, config = f"{preset.name} index", init.index_config(preset.architecture, len(tokenizer))
        stored = {}
    else:
        raise CheckpointError(f"model '{preset.reference}': names no index_encoder; {_INDEX_REMEDY}")
    with explained(name):
        model = build_index_model(config)
    require_room(tokenizer, int(model.config.text_config.vocab_size), where=name)
    slots = slots_of(model)
    tensors = stored or {n: init.seeded(f"index.{n}", slot, preset.seed, tower=True) for n, slot in slots.items()}
    check(slots, tensors, where=name)
    fill(slots, tensors, target)
    # The vision half only: frame embeddings depend on it. Retraining the text tower then needs no re-embedding.
    weights = digest((n, tensors[n]) for n in sorted(slots) if n.startswith("vision_model."))
    return IndexEncoder(model.to(target.device), tokenizer, name=name, weights=weights)


def build_network(sources: Sources, preset: ModelPreset, stops: frozenset[int] = frozenset()) -> Network:
    """All modules of a model with parameters on the meta device, and the slots of the parameters by published name."""
    config, tensors = sources.config, sources.tensors
    vocabulary = tensors[EMBEDDING].shape()[0] if EMBEDDING in tensors else int(sources.raw_config["vocab_size"])
    decoder = build_decoder(
        decoder_settings(sources.raw_config, vocabulary), qwen3=any(name.endswith("q_norm.weight") for name in tensors)
    )
    tower = build_tower(sources.tower_config)
    # One source for both: transformers has defaults of its own for keys that config.json lacks.
    used = decoder.config
    heads = Heads(config.hidden_size, config.num_attention_heads, int(used.num_key_value_heads))
    _require_blocks(preset, config.memaug_depth)
    with torch.device("meta"):
        video_language = VideoLanguageModel(
            Projector(int(tower.config.hidden_size), config.hidden_size),
            MemAug(heads, depth=config.memaug_depth, rope_theta=rotary_base(used)),
            nn.Parameter(torch.empty(config.hidden_size)) if sources.has_newline else None,
            LanguageModel(decoder, stops, preset.visual_dropout),
            preset.evidence_blocks,
            token_embeddings=TokenEmbeddings(
                config.memory_marks,
                tokens_per_frame=preset.tokens_per_frame,
                vision_width=int(tower.config.hidden_size),
                width=config.hidden_size,
            ),
            augmented_question=config.augmented_question,
            use_memaug=preset.use_memaug,
            rotary=preset.rotary,
        ).eval()
    return Network(video_language, tower, published_slots(video_language, tower, tied=config.tie_word_embeddings))


def rotary_base(config: PreTrainedConfig) -> float:
    """The base of the decoder's rotary wavelengths; MemAug has the same."""
    return float(config.rope_parameters["rope_theta"])


def choose_target(device: str | torch.device | None, dtype: str | torch.dtype | None) -> Target:
    """Device and dtype from the caller's arguments. Raises BackendUnavailable for an unavailable one."""
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise BackendUnavailable(f"device '{device}' is not one that torch knows; use cpu or cuda") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable("device=cuda needs a CUDA device and there is none here; use device=cpu")
    if dtype is None:
        return Target(chosen, torch.bfloat16 if chosen.type == "cuda" else torch.float32)
    named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise BackendUnavailable(f"dtype '{dtype}' cannot hold weights; use float32, bfloat16 or float16")
    return Target(chosen, named)


def _require_blocks(preset: ModelPreset, depth: int) -> None:
    beyond = [block for block in preset.evidence_blocks or () if not 0 <= block < depth]
    if beyond:
        raise CheckpointError(
            f"{preset.name}: evidence_blocks names block {beyond[0]}, but MemAug has {depth} (from 0)"
        )


def _keep_first_blocks(network: Network, preset: ModelPreset) -> dict[str, int]:
    """Keep the first blocks of MemAug if the preset gives their number. Returns what changes in config.json."""
    memaug = network.video_language.memaug
    if (
        "memaug_depth" not in preset.model_fields_set
        or preset.memaug_depth == len(memaug.layers)
        or not len(memaug.layers)
    ):
        return {}
    if preset.memaug_depth > len(memaug.layers):
        raise CheckpointError(
            f"{preset.name}: memaug_depth is {preset.memaug_depth}, but the checkpoint's MemAug has {len(memaug.layers)} blocks; "
            "only a new one (init_memaug) can have more"
        )
    _require_blocks(preset, preset.memaug_depth)
    _LOGGER.info("%s: uses the first %d of %d blocks of MemAug", preset.name, preset.memaug_depth, len(memaug.layers))
    memaug.layers = memaug.layers[: preset.memaug_depth]
    return {"memaug_depth": preset.memaug_depth}


def _finish(network: Network, sources: Sources, target: Target) -> None:
    """After all slots are filled: tie the head, and move the few buffers to the device."""
    decoder = network.video_language.language.decoder
    if sources.config.tie_word_embeddings:
        decoder.lm_head.weight = decoder.model.embed_tokens.weight
    network.video_language.to(target.device)
    network.tower.to(target.device)


def _vision_encoder(
    tower: Tower, sources: Sources, tensors: Mapping[str, TensorSource], preset: ModelPreset
) -> VisionEncoder:
    prefix = sources.family.tower
    names = sorted(name for name in tensors if name.startswith(prefix))
    weights = digest((name.removeprefix(prefix), tensors[name]) for name in names)
    if isinstance(tower, UmtTower):
        return ClipEncoder(tower, name=sources.tower_name, weights=weights)
    return VisionEncoder(tower, name=sources.tower_name, weights=weights, merging=preset.token_merging)


@contextmanager
def _for_index(preset: ModelPreset) -> Iterator[None]:
    """Errors of finding the index encoder say whose it is, and how to give another one."""
    try:
        yield
    except (CheckpointError, HubUnreachable) as error:
        default = "" if "index_encoder" in preset.model_fields_set else ", the default"
        raise type(error)(
            f"model '{preset.reference}': its index_encoder ({preset.index_encoder}{default}): {error}; {_INDEX_REMEDY}"
        ) from None


def _adjusted(
    preset: ModelPreset, init_memaug: bool, index_encoder: str | None, recorded_index: str | None
) -> ModelPreset:
    """The preset with the caller's settings."""
    update: dict[str, object] = {"init_memaug": init_memaug or preset.init_memaug}
    index = chosen_index(preset, index_encoder, recorded_index)
    if index != preset.index_encoder or index_encoder is not None:  # a key that is set is not taken for the default
        update["index_encoder"] = index
    return preset.model_copy(update=update)


def _honest(preset: ModelPreset, sources: Sources) -> ModelPreset:
    """The preset with facts of the checkpoint: its spatial forgetting unless the preset sets one, and whether it is trained."""
    update: dict[str, object] = {}
    if "forgetting" not in preset.model_fields_set:
        update["forgetting"] = preset.forgetting.model_copy(update={"spatial": sources.config.spatial_sampling_type})
    if "" in sources.drawn:
        update |= {"trained": False, "notice": preset.notice or SEED_NOTICE}
    elif sources.drawn:
        new = [part for part in ("projector", "memaug") if part in (*preset.untrained, *sources.new_parts)]
        update |= {"trained": False, "untrained": tuple(new)}
    return preset.model_copy(update=update)


def _say(sources: Sources, config: PreTrainedConfig) -> None:
    """Log what is assumed, replaced or ignored, and which adapter was merged."""
    used = {**config.to_dict(), "rope_theta": rotary_base(config)}
    lacking = missing_decoder_keys(sources.raw_config, used)
    taken = (
        [f"config.json lacks {lacking}; in brackets the defaults of transformers, which are taken"] if lacking else []
    )
    for note in (*sources.notes, *taken):
        _LOGGER.warning("%s: %s", sources.where, note)
    if sources.adapter is not None:
        _LOGGER.info("%s: an adapter of type %s, merged into its base", sources.where, sources.adapter.config.peft_type)


def _warn_if_untied(tensors: Mapping[str, TensorSource], where: str) -> None:
    if EMBEDDING in tensors and not torch.equal(tensors[EMBEDDING].read(), tensors[HEAD].read()):
        warnings.warn(
            f"{where}: config.json says that {HEAD} is tied to {EMBEDDING}, but they differ; the embedding is used for both",
            stacklevel=3,
        )
