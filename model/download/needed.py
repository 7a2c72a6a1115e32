"""Which models of the hub a preset needs, which of their files, and which of them are here. Reads local files only."""

import json
import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from afterview.model.base.checkpoint_files import (
    ADAPTER_CONFIG,
    ADAPTER_FILE,
    ADAPTER_TORCH_FILE,
    CONFIG_FILE,
    GENERATION_FILE,
    OTHER_TRAINED,
    RAW_FILE,
    SINGLE_FILE,
    TOKENIZER_FILES,
    TOWER_DIRECTORY,
    WEIGHTS,
)
from afterview.model.base.errors import NotPulled
from afterview.model.checkpoint.pair import tower_shards
from afterview.model.checkpoint.preset import ModelPreset, chosen_index, find_preset, is_hub_id
from afterview.model.download.cache import CachedModel, cache_directory

Part = Literal["checkpoint", "adapter", "encoder", "tower", "decoder", "index encoder"]

_PARTIAL = ("encoder", "tower")  # parts of which not everything is read
_SMALLEST_WEIGHTS = 4096  # bytes; a file of less holds no model
_SHARD = r"{stem}-\d{{5}}-of-\d{{5}}\.{kind}"


@dataclass(frozen=True)
class NeededModel:
    """A model of the hub that a preset needs: owner/name, or owner/name@revision. part: what for."""

    name: str
    part: Part


def needed_models(
    preset: ModelPreset, index: str | None = None, recorded: str | None = None, *, with_index: bool = True
) -> list[NeededModel]:
    """The models of the hub that a preset needs; directories are none. index, recorded: see `chosen_index`."""
    parts: list[tuple[str | None, Part]] = [
        (preset.checkpoint, "checkpoint"),
        (preset.adapter, "adapter"),
        (preset.encoder, "tower" if preset.tower is not None else "encoder"),
        (preset.decoder, "decoder"),
        (chosen_index(preset, index, recorded) if with_index else None, "index encoder"),
    ]
    found: dict[str, NeededModel] = {}
    for place, part in parts:
        if place is None or not is_hub_id(place) or os.path.exists(place):
            continue
        if place not in found or found[place].part in _PARTIAL:  # of what serves twice, all is needed
            found[place] = NeededModel(place, part)
    return list(found.values())


def wanted_files(names: Collection[str], part: Part) -> list[str]:
    """Of the files that a model has, those that are read for this part: configuration, tokenizer, and the weights in one format only.

    With shards, all that the name of their index allows; the index decides in the end.
    """
    if part == "tower":
        return [name for name in (RAW_FILE, SINGLE_FILE) if name in names][:1]
    weights = next((name for name in WEIGHTS if name in names), None)
    adapter = next((name for name in (ADAPTER_FILE, ADAPTER_TORCH_FILE) if name in names), None)
    fixed = [CONFIG_FILE] if part == "encoder" else [CONFIG_FILE, GENERATION_FILE, *TOKENIZER_FILES]
    if part == "checkpoint":
        fixed.append(f"{TOWER_DIRECTORY}/{CONFIG_FILE}")
    if part == "adapter" or (weights is None and ADAPTER_CONFIG in names):
        fixed += [ADAPTER_CONFIG, OTHER_TRAINED, *((adapter,) if adapter else ())]
        weights = None
    wanted = [name for name in fixed if name in names]
    if weights is not None:
        wanted += [weights, *(shards_by_name(names, weights) if weights.endswith(".json") else ())]
    return wanted


def optional_files(part: Part) -> tuple[str, ...]:
    """Files that a model of this part may lack: after a pull it is known which it does."""
    if part == "tower":
        return (RAW_FILE, SINGLE_FILE)
    return (CONFIG_FILE, GENERATION_FILE, *TOKENIZER_FILES, *WEIGHTS, ADAPTER_CONFIG, ADAPTER_FILE, OTHER_TRAINED)


def shards_by_name(names: Iterable[str], index: str) -> list[str]:
    """The shards that belong to an index, by their names."""
    stem, kind = index.removesuffix(".index.json").rsplit(".", 1)
    pattern = re.compile(_SHARD.format(stem=re.escape(stem), kind=kind))
    return sorted(name for name in names if pattern.fullmatch(name))


def shards_of(index: Path, part: Part = "checkpoint") -> list[str] | None:
    """The shards that an index names and that this part reads, sorted; None if it cannot be read."""
    try:
        named = {
            str(name): str(file) for name, file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].items()
        }
        return sorted((part == "encoder" and tower_shards(named)) or set(named.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def lacking(model: CachedModel, part: Part) -> list[str]:
    """The files without which this part of a model cannot be loaded and that are not here; empty if it is here."""
    if part == "tower":
        return [] if any(model.find(name) for name in (RAW_FILE, SINGLE_FILE)) else [RAW_FILE]
    weights = next((name for name in WEIGHTS if model.find(name)), None)
    if weights is None and model.find(ADAPTER_CONFIG):
        return [] if model.find(ADAPTER_FILE) or model.find(ADAPTER_TORCH_FILE) else [ADAPTER_FILE]
    if weights is None:
        return [CONFIG_FILE, "its weights"] if model.find(CONFIG_FILE) is None else ["its weights"]
    lacks = [] if model.find(CONFIG_FILE) else [CONFIG_FILE]
    if weights.endswith(".json") and (index := model.find(weights)) is not None:
        shards = shards_of(index, part)
        lacks += [weights] if shards is None else [shard for shard in shards if model.find(shard) is None]
    return lacks


def base_of_adapter(model: CachedModel) -> str | None:
    """The model of the hub that an adapter in the cache changes, if it is one that has no weights of its own."""
    path = model.find(ADAPTER_CONFIG)
    if path is None or any(model.find(name) for name in WEIGHTS):
        return None
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return named if isinstance(named, str) and is_hub_id(named) else None


def with_base(model: CachedModel, known: Iterable[NeededModel]) -> list[NeededModel]:
    """The base of an adapter in the cache as one more model that is needed, unless it is known."""
    base = base_of_adapter(model)
    return [] if base is None or any(base == one.name for one in known) else [NeededModel(base, "checkpoint")]


@dataclass(frozen=True)
class Lack:
    """A model of the hub of which files are not here."""

    needed: NeededModel
    files: Sequence[str]


def what_lacks(
    preset: ModelPreset, index: str | None = None, recorded: str | None = None, *, with_index: bool = True
) -> list[Lack]:
    """The models of the hub that a preset needs and that are not here whole."""
    root, found = cache_directory(), []
    todo = needed_models(preset, index, recorded, with_index=with_index)
    for needed in todo:
        model = CachedModel(needed.name, root)
        if files := lacking(model, needed.part):
            found.append(Lack(needed, files))
        elif needed.part == "checkpoint" and preset.adapter is None:
            todo += with_base(model, todo)
    return found


def without_weights(preset: ModelPreset) -> list[tuple[str, str]]:
    """The parts of a pair, and the index encoder, that are directories without config.json or weights: (part, directory)."""
    parts = {
        "encoder": None if preset.tower else preset.encoder,
        "decoder": preset.decoder,
        "index encoder": preset.index_encoder,
    }
    places = [(part, Path(place)) for part, place in parts.items() if place is not None and os.path.isdir(place)]
    return [
        (part, str(place))
        for part, place in places
        if not (place / CONFIG_FILE).is_file() or not any((place / name).is_file() for name in WEIGHTS)
    ]


def require_pulled(
    name: str, index: str | None = None, recorded: str | None = None, *, with_index: bool = True
) -> None:
    """Raise NotPulled, with the command, if weights that this model needs are not on this machine. Asks no network.

    Raises ModelNotFound or ConfigError for a model that there is not.
    """
    preset = find_preset(name)
    lacks = what_lacks(preset, index, recorded, with_index=with_index)
    if not lacks:
        return
    own = {needed.name for needed in needed_models(preset)}
    local = preset.checkpoint is not None and os.path.isdir(preset.checkpoint)
    if (
        local
        and all(lack.needed.part == "index encoder" for lack in lacks)
        and not _is_plausible(Path(preset.checkpoint or ""))
    ):
        return  # the directory itself is wrong: loading it says what
    other = next((f" --index-encoder {lack.needed.name}" for lack in lacks if lack.needed.name not in own), "")
    shown = "; ".join(_describe(lack, preset) for lack in lacks)
    instead = ""
    if any(lack.needed.part == "index encoder" for lack in lacks) and local:
        instead = "; or give --index-encoder, or index_encoder in a preset file"
    them = "it" if len(lacks) == 1 else "them"
    raise NotPulled(
        f"model '{name}': weights are not on this machine: {shown}; `afterview models pull {name}{other}` fetches {them} into "
        f"{cache_directory()}{instead}"
    )


def _describe(lack: Lack, preset: ModelPreset) -> str:
    """For people: what is missing; some of the shards, or everything."""
    if lack.needed.part == "index encoder":
        default = "" if "index_encoder" in preset.model_fields_set else ", the default"
        return f"index_encoder ({lack.needed.name}{default})"
    shards = [file for file in lack.files if "-of-" in file]
    return f"{lack.needed.part} ({lack.needed.name}{f', {len(shards)} of its shards' if shards else ''})"


def _is_plausible(checkpoint: Path) -> bool:
    """Whether a directory looks like a checkpoint, as far as that can be told at a glance."""
    try:
        config = json.loads((checkpoint / CONFIG_FILE).read_text(encoding="utf-8"))
        tower, width = config["mm_vision_tower"], config["hidden_size"]
        sizes = [(checkpoint / name).stat().st_size for name in WEIGHTS if (checkpoint / name).is_file()]
        whole = not tower.startswith(".") or (checkpoint / tower).is_dir()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return whole and isinstance(width, int) and width > 0 and max(sizes, default=0) > _SMALLEST_WEIGHTS
