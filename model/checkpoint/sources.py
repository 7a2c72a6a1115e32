"""Sources of a model's tensors, by published name: a checkpoint, two checkpoints plus a new MemAug, or a seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from afterview.model.base.errors import CheckpointError, explained
from afterview.model.base.settings import NewPart
from afterview.model.checkpoint import init
from afterview.model.checkpoint.adapters import Adapter, merged
from afterview.model.checkpoint.base_of_adapter import Place, find_places
from afterview.model.checkpoint.config_keys import VIDEOCHAT_FLASH as FLASH_KEYS
from afterview.model.checkpoint.config_keys import notes, refuse_unimplemented, with_implemented
from afterview.model.checkpoint.finding import require_answers
from afterview.model.checkpoint.flash import (
    flash_notes,
    implied,
    is_flash,
    require_projector,
    tower_size,
    umt_config,
    with_tower,
)
from afterview.model.checkpoint.generation import read_generation
from afterview.model.checkpoint.hub import locate
from afterview.model.checkpoint.pair_files import (
    decoder_of,
    decoder_tensors,
    decoder_tokenizer,
    encoder_of,
    encoder_tensors,
    require_language_model,
)
from afterview.model.checkpoint.preset import Architecture, ModelPreset
from afterview.model.checkpoint.published import (
    HEAD,
    HOUR_LLAVA,
    MEMAUG_PREFIX,
    NEWLINE,
    PROJECTOR_PREFIX,
    TOWER_PREFIX,
    VIDEOCHAT_FLASH,
    Family,
    PublishedConfig,
    instead_of,
    parse_config,
)
from afterview.model.checkpoint.raw_tower import read_raw_tower
from afterview.model.checkpoint.tokenizer_files import find_tokenizer
from afterview.model.checkpoint.towers import tower_config
from afterview.model.checkpoint.weights import Slot, TensorSource, open_tensors, slots_of
from afterview.model.language.tokenizer import byte_tokenizer
from afterview.model.vision.tiles import Tiling
from afterview.model.vision.tower import build_tower


@dataclass(frozen=True)
class Sources:
    """Everything needed to build one model."""

    where: str  # for error messages
    raw_config: Mapping[str, Any]  # config.json in the published layout
    config: PublishedConfig
    tower_config: Mapping[str, Any]
    tensors: Mapping[str, TensorSource]  # by published name
    drawn: tuple[str, ...]  # prefixes of parameters drawn from the seed
    seed: int
    read_tokenizer: Callable[[], PreTrainedTokenizerBase | None]
    generation: Mapping[str, Any] = field(default_factory=dict)  # generation_config.json
    notes: tuple[str, ...] = ()  # what is assumed, replaced or ignored, in words
    adapter: Adapter | None = None  # already in `tensors` if it is merged here
    family: Family = HOUR_LLAVA
    implied: Mapping[str, object] = field(default_factory=dict)  # keys of the preset that the checkpoint decides
    # Prefixes of drawn parameters that are initialised to keep the variance; see model.checkpoint.init.
    keeps_variance: tuple[str, ...] = (TOWER_PREFIX,)

    def complete(self, slots: Mapping[str, Slot]) -> dict[str, TensorSource]:
        """The stored tensors, plus those that must be drawn for these slots."""
        new = {
            name: init.seeded(name, slot, self.seed, tower=name.startswith(self.keeps_variance))
            for name, slot in slots.items()
            if name.startswith(self.drawn)
        }
        return {**self.tensors, **new}

    @property
    def tower_name(self) -> str:
        """Name of the vision tower for people: its hub id or directory."""
        named = self.config.mm_vision_tower or ""
        return f"{self.where}/{named.removeprefix('./')}" if named.startswith(".") else named

    @property
    def new_parts(self) -> tuple[NewPart, ...]:
        """The parts that are drawn. A newline alone is none: a new MemAug learns around it."""
        places: dict[NewPart, str] = {"projector": self.family.projector, "memaug": MEMAUG_PREFIX}
        return tuple(part for part, prefix in places.items() if prefix in self.drawn)

    @property
    def has_newline(self) -> bool:
        """Whether frames end with a newline token: in every Hour-LLaVA, and in any model with MemAug."""
        return self.family is HOUR_LLAVA or self.config.memaug_depth > 0

    @property
    def untied_head(self) -> TensorSource | None:
        """A stored lm_head although the configuration ties it to the embedding."""
        return self.tensors.get(HEAD) if self.config.tie_word_embeddings else None


def find_sources(preset: ModelPreset) -> Sources:
    """The sources that a preset names. Raises HubUnreachable, NoLanguageModel, or CheckpointError and its subclasses."""
    require_answers(preset)
    if preset.architecture is not None:
        return _seed(preset, preset.architecture)
    if preset.encoder is not None and preset.decoder is not None:
        if preset.tower is not None:
            return _flash_pair(preset, preset.encoder, preset.decoder)
        return _pair(preset, preset.encoder, preset.decoder)
    assert preset.checkpoint is not None, "a preset has exactly one source"
    return _checkpoint(preset, preset.checkpoint)


def _checkpoint(preset: ModelPreset, place: str) -> Sources:
    at = find_places(place, preset.adapter)
    raw = at.config()
    name = at.name
    if is_flash(raw, name=name):
        return _flash(preset, at, raw)
    needs_memaug = preset.use_memaug and not preset.init_memaug
    config = parse_config(raw, name=name, needs_memaug=needs_memaug, instead=instead_of(at.base))
    tensors = _tensors(at)
    lacks_memaug = not any(name.startswith(MEMAUG_PREFIX) for name in tensors)
    goes_without = lacks_memaug and not preset.use_memaug
    draws = lacks_memaug and preset.init_memaug and not goes_without
    replaced: list[str] = []
    if draws:
        raw, replaced = with_implemented(raw)
    said = [*(f"config.json, for the new MemAug: {change}" for change in replaced), *notes(raw)]
    refuse_unimplemented(raw, name=name)
    return Sources(
        where=name,
        raw_config=raw if goes_without else {**raw, "mm_resampler_type": init.MEMAUG},
        config=config.model_copy(update={"memaug_depth": 0}) if goes_without else config,
        tower_config=_tower(at, raw, config),
        tensors=tensors,
        drawn=(MEMAUG_PREFIX,) if draws else (),
        seed=preset.seed,
        read_tokenizer=lambda: _tokenizer(at),
        generation=_generation(at),
        notes=tuple(said),
        adapter=at.adapter,
    )


def _flash(preset: ModelPreset, at: Place, raw: Mapping[str, Any]) -> Sources:
    """A VideoChat-Flash: without MemAug, unless its tensors have one or the preset wants a new one."""
    name = at.name
    if preset.tower is not None:
        raw = with_tower(raw, preset.tower, name=name)
    refuse_unimplemented(raw, name=name, rules=FLASH_KEYS)
    parse_config({**raw, "mm_resampler_type": None}, name=name, needs_memaug=False)
    size, decided = tower_size(raw, name=name), implied(raw, preset, name=name)
    _require_tiles(raw, size, name)
    tensors = _tensors(at)  # only now: for a hub id they may have to be fetched
    stored = any(tensor.startswith(MEMAUG_PREFIX) for tensor in tensors)
    draws = not stored and preset.init_memaug and preset.use_memaug
    if not (stored or draws) and preset.use_memaug and "use_memaug" in preset.model_fields_set:
        raise CheckpointError(
            f"{name}: a VideoChat-Flash without MemAug, but the preset says use_memaug: true; remove the key, or set init_memaug: true to "
            "initialise an untrained one"
        )
    resampler = {"mm_resampler_type": init.MEMAUG} if stored or draws else {}
    config = parse_config({**raw, "mm_resampler_type": None, **resampler}, name=name, needs_memaug=False)
    require_projector(tensors, name=name)
    return Sources(
        where=name,
        raw_config={**raw, **resampler},
        config=config if resampler else config.model_copy(update={"memaug_depth": 0}),
        tower_config=umt_config(raw, tensors, size=size, name=name),
        tensors=tensors,
        drawn=(MEMAUG_PREFIX, NEWLINE) if draws else (),
        seed=preset.seed,
        read_tokenizer=lambda: _tokenizer(at),
        generation=_generation(at),
        notes=tuple(flash_notes(raw)),
        adapter=at.adapter,
        family=VIDEOCHAT_FLASH,
        implied=decided | {"use_memaug": bool(resampler) and preset.use_memaug},
    )


def _flash_pair(preset: ModelPreset, encoder: str, language: str) -> Sources:
    """A VideoChat-Flash before its training: a UMT-L alone and a Qwen, with a new projector; with `init_memaug` also a new MemAug."""
    decoder_place, decoder = decoder_of(language)
    tower = read_raw_tower(encoder)
    name = f"{encoder} with {decoder_place.name}"
    size = tower_size({"mm_vision_tower": preset.tower}, name=name)
    geometry = umt_config({"mm_vision_tower": preset.tower}, tower, size=size, name=encoder)
    keys = init.flash_keys(str(preset.tower), size, int(geometry["hidden_size"]))
    draws = preset.init_memaug and preset.use_memaug
    resampler = {"mm_resampler_type": init.MEMAUG, "memaug_depth": preset.memaug_depth} if draws else {}
    raw = {**decoder, **keys, **resampler}
    tensors = decoder_tensors(decoder_place)
    config = parse_config({"mm_resampler_type": None, **raw}, name=name, needs_memaug=False)
    return Sources(
        where=name,
        raw_config=raw,
        config=config if draws else config.model_copy(update={"memaug_depth": 0}),
        tower_config=geometry,
        tensors={**tensors, **tower},
        drawn=(VIDEOCHAT_FLASH.projector, *((MEMAUG_PREFIX, NEWLINE) if draws else ())),
        seed=preset.seed,
        read_tokenizer=lambda: find_tokenizer(decoder_place),
        generation=read_generation(decoder_place),
        notes=tuple(flash_notes(raw)),
        family=VIDEOCHAT_FLASH,
        implied=implied(raw, preset, name=name) | {"use_memaug": draws},
    )


def _tensors(at: Place) -> Mapping[str, TensorSource]:
    """The tensors of a checkpoint, with its adapter merged. Raises CheckpointError if they hold no language model."""
    tensors = open_tensors(at.base)
    if at.adapter is not None:
        tensors = merged(tensors, at.adapter, where=at.base.name)
    require_language_model(tensors, at.base.name)
    return tensors


def _tokenizer(at: Place) -> PreTrainedTokenizerBase | None:
    return next((found for one in at.all if (found := find_tokenizer(one)) is not None), None)


def _generation(at: Place) -> Mapping[str, Any]:
    return next((found for one in at.all if (found := read_generation(one))), {})


def _tower(at: Place, raw: Mapping[str, Any], config: PublishedConfig) -> Mapping[str, Any]:
    """Configuration of the vision tower. Raises CheckpointError if the grids of pictures do not fit it."""
    found = tower_config(at.all, config.mm_vision_tower or "")
    with explained(at.name):
        side = int((found.get("vision_config") or found).get("image_size") or 0)
    if side:
        _require_tiles(raw, side, at.name)
    return found


def _require_tiles(raw: Mapping[str, Any], side: int, name: str) -> None:
    try:
        Tiling.of(raw).sizes(side)
    except CheckpointError as error:
        raise CheckpointError(
            f"{name}: {error}; videos do not depend on it: correct it in a copy of config.json"
        ) from None


def _pair(preset: ModelPreset, encoder: str, language: str) -> Sources:
    """An Hour-LLaVA before its training: a SigLIP and a Qwen, with a new projector and newline, and a new MemAug unless it is not used."""
    tower_place, towers = encoder_of(encoder)
    decoder_place, decoder = decoder_of(language)
    with explained(tower_place.name):
        tower = build_tower(towers)
    draws = preset.use_memaug
    keys = init.memaug_keys(encoder, int(tower.config.hidden_size), preset.memaug_depth)
    raw = {**decoder, **keys, "architectures": init.ARCHITECTURES}
    if not draws:
        raw = {key: value for key, value in raw.items() if key not in ("mm_resampler_type", "memaug_depth")}
    config = parse_config(raw, name=decoder_place.name, needs_memaug=draws)
    return Sources(
        where=f"{tower_place.name} with {decoder_place.name}",
        raw_config=raw,
        config=config if draws else config.model_copy(update={"memaug_depth": 0}),
        tower_config=towers,
        tensors={**decoder_tensors(decoder_place), **encoder_tensors(tower_place, slots_of(tower))},
        drawn=(*((MEMAUG_PREFIX,) if draws else ()), PROJECTOR_PREFIX, NEWLINE),
        seed=preset.seed,
        read_tokenizer=lambda: decoder_tokenizer(decoder_place),
        generation=read_generation(decoder_place),
        notes=tuple(notes(raw)),
    )


def _seed(preset: ModelPreset, architecture: Architecture) -> Sources:
    tokenizer = architecture_tokenizer(architecture)
    raw = init.published_config(architecture, preset.memaug_depth, len(tokenizer))
    return Sources(
        where=preset.name,
        raw_config=raw,
        config=parse_config(raw, name=preset.name),
        tower_config=init.vision_config(architecture.vision, spare_layers=1),
        tensors={},
        drawn=("",),
        seed=preset.seed,
        read_tokenizer=lambda: tokenizer,
        # "model.": all but lm_head
        keeps_variance=("model.",) if architecture.memory_marks else (TOWER_PREFIX,),
    )


def architecture_tokenizer(architecture: Architecture) -> PreTrainedTokenizerBase:
    """The tokenizer of a model built from a seed: from its named directory, otherwise bytes. Raises CheckpointError if it is missing."""
    if architecture.tokenizer is None:
        return byte_tokenizer()
    found = find_tokenizer(locate(architecture.tokenizer))
    if found is None:
        raise CheckpointError(f"architecture.tokenizer: {architecture.tokenizer} holds no tokenizer.json")
    return found
