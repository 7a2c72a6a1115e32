"""Saves a model in the published layout. Only this module of model/ writes files."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor

from afterview.configs.system_errors import reason
from afterview.memory.base.durable import replacing, write_file
from afterview.model.base.checkpoint_files import GENERATION_FILE, INDEX_FILE, SINGLE_FILE, TOWER_DIRECTORY
from afterview.model.base.errors import NotSaved
from afterview.model.checkpoint.flash import dropout_of
from afterview.model.checkpoint.generation import generation_document
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import PRESET_FILE, ModelPreset
from afterview.model.checkpoint.published import published_slots
from afterview.model.checkpoint.weights import slots_of
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.index_encoder import IndexEncoder
from afterview.model.vision.tower import KNOWN_TOWERS

INDEX_DIRECTORY = "index_encoder"
SHARD_SIZE = "5GB"
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter failed", "file write failed", "inline_container.cc", "iostream error")
_LITTLE_SPACE = 2**30  # bytes; a file of torch that did not fit may have been removed since


def save_pretrained(model: AfterviewModel, directory: str | Path) -> None:
    """Write config.json, safetensors and tokenizer as published, plus the preset, and the index encoder if it has no hub id.

    Tensors are written bit by bit in their present dtype. Each file appears under its name only when it is complete. While it saves, the
    directory has no config.json, so what an interrupted save leaves is not accepted as a checkpoint. Raises NotSaved, before anything is
    changed if the disk has not enough space.
    """
    root = Path(directory)
    with saved_in(root):
        root.mkdir(parents=True, exist_ok=True)
        _save(model, root)


def _save(model: AfterviewModel, root: Path) -> None:
    config = dict(model.config)
    slots = published_slots(model.video_language, model.vision.tower, tied=bool(config.get("tie_word_embeddings")))
    tensors = {name: slot.value.detach() for name, slot in slots.items()}
    own_index = _has_own_index(model.preset)
    index = model.encoders.index if own_index else None  # loaded before the directory changes: it may lie there
    _require_space(root, tensors)
    (root / "config.json").unlink(missing_ok=True)
    if config["mm_vision_tower"] not in KNOWN_TOWERS and not isinstance(model.vision, ClipEncoder):
        config["mm_vision_tower"] = f"./{TOWER_DIRECTORY}"
        write_json(root / TOWER_DIRECTORY / "config.json", model.tower_config)
    write_tensors(root, tensors)
    generation = generation_document(model.generation, model.video_language.language.stop_ids, model.preset)
    if generation is not None:
        write_json(root / GENERATION_FILE, generation)
    else:
        (root / GENERATION_FILE).unlink(missing_ok=True)  # left by an earlier save
    if model.tokenizer is not None:
        model.tokenizer.save_pretrained(root)
    if index is not None:
        save_index_encoder(index, root / INDEX_DIRECTORY)
    _write_preset(root, model, own_index)
    write_json(root / "config.json", config)  # last: without it, a directory is not accepted as a checkpoint


def save_index_encoder(index: IndexEncoder, directory: Path) -> None:
    """Write an index encoder as a SigLIP checkpoint with its tokenizer."""
    write_tensors(directory, {name: slot.value.detach() for name, slot in slots_of(index.model).items()})
    if index.tokenizer is not None:
        index.tokenizer.save_pretrained(directory)
    write_json(directory / "config.json", index.model.config.to_dict())


def write_tensors(directory: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to one safetensors file, or to shards with an index if they are large."""
    directory.mkdir(parents=True, exist_ok=True)
    plan = split_torch_state_dict_into_shards(
        dict(tensors), filename_pattern="model{suffix}.safetensors", max_shard_size=SHARD_SIZE
    )
    for file, names in plan.filename_to_tensors.items():
        part = {name: tensors[name].contiguous() for name in names}
        with replacing(directory / file) as partial:
            save_file(part, partial, metadata={"format": "pt"})
            partial.chmod(0o644)  # safetensors creates files that only their owner can read
    if plan.is_sharded:
        (directory / SINGLE_FILE).unlink(missing_ok=True)  # left by an earlier save; it would hide the shards
        write_json(directory / INDEX_FILE, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})
    else:
        (directory / INDEX_FILE).unlink(missing_ok=True)
    for shard in directory.glob("model-*-of-*.safetensors"):
        if shard.name not in plan.filename_to_tensors:
            shard.unlink()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, (json.dumps(dict(values), indent=1) + "\n").encode())


def as_os_error(error: Exception, place: Path) -> OSError | None:
    """The error of the system behind an error of safetensors, tokenizers or torch while they wrote below `place`; None if there is none.

    torch does not say what the system said, so the free space decides between a full disk and a broken one.
    """
    if isinstance(error, OSError):
        return error
    if match := re.search(r"os error (\d+)", str(error)):
        return OSError(int(match[1]), os.strerror(int(match[1])))
    if any(part in str(error) for part in _TORCH_CANNOT_WRITE):
        number = errno.ENOSPC if _free(place) < _LITTLE_SPACE else errno.EIO
        return OSError(number, os.strerror(number))
    return None


def _free(place: Path) -> int:
    return shutil.disk_usage(next(parent for parent in (place, *place.absolute().parents) if parent.exists())).free


@contextmanager
def saved_in(place: Path) -> Iterator[None]:
    """Raise NotSaved, which names the place, the reason and the remedy, for what the system refuses."""
    try:
        yield
    except Exception as error:
        refused = as_os_error(error, place)
        if refused is None:
            raise
        raise NotSaved(f"{place}: the checkpoint cannot be written: {reason(refused, action='written')}") from error


def _require_space(root: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise NotSaved, before anything is written, if the tensors do not fit. (Files of an earlier save are replaced one by one.)"""
    total = sum(tensor.nbytes for tensor in tensors.values())
    replaced = sum(file.stat().st_size for file in root.glob("model*.safetensors"))
    free = _free(root)
    if total - replaced > free:
        raise NotSaved(
            f"{root}: the checkpoint cannot be written: it needs {total / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; free some space, "
            "or name another directory"
        )


def _has_own_index(preset: ModelPreset) -> bool:
    """Whether the index encoder must be saved with the model, because it has no hub id."""
    if preset.index_encoder is None:
        return preset.architecture is not None
    return Path(preset.index_encoder).is_dir()


def _write_preset(root: Path, model: AfterviewModel, own_index: bool) -> None:
    """The preset of the saved model: the same, but with this directory as its source, and without what the checkpoint itself says."""
    source = {"encoder", "tower", "decoder", "adapter", "architecture", "init_memaug", "memaug_depth", "seed"}
    implied = _implied_keys(model)
    kept = model.preset.model_dump(mode="json", exclude_defaults=True, exclude=source | implied)
    if implied and "visual_dropout" not in implied and model.preset.visual_dropout is None:
        kept["visual_dropout"] = None  # switched off, whatever config.json says
    if model.preset.new_parts:
        kept["untrained"] = list(model.preset.new_parts)
    kept |= {"checkpoint": "."} | ({"index_encoder": INDEX_DIRECTORY} if own_index else {})
    write_file(root / PRESET_FILE, yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).encode())


def _implied_keys(model: AfterviewModel) -> set[str]:
    """Keys of the preset that a VideoChat-Flash checkpoint gives again when it is loaded."""
    if not isinstance(model.vision, ClipEncoder):
        return set()
    keys = {"token_merging"}
    if not len(model.video_language.memaug.layers):
        keys.add("use_memaug")
    if model.preset.visual_dropout == dropout_of(model.config, name=model.preset.name):
        keys.add("visual_dropout")
    return keys
