"""The generation_config.json of a checkpoint: which tokens end an answer, and how its tokens are chosen."""

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from afterview.configs import first_problem
from afterview.model.base.checkpoint_files import GENERATION_FILE
from afterview.model.base.errors import CheckpointError
from afterview.model.base.generation import GenerationSettings
from afterview.model.checkpoint.hub import Location, find_optional
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.weights import read_json

_LOGGER = logging.getLogger(__name__)

_SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}  # and the values of transformers where the file lacks them
_READ = {"do_sample", "eos_token_id", "repetition_penalty", "max_new_tokens", "stop_strings", *_SAMPLING}
# Keys that say nothing about which tokens come out, or that the caller's loop has no use for.
_SILENT = {"bos_token_id", "pad_token_id", "transformers_version", "use_cache", "_from_model_config", "cache_implementation"}  # fmt: skip
_NEUTRAL: tuple[object, ...] = (None, False, 0, 1, "", [], {})  # values that switch a setting of transformers off


def read_generation(location: Location) -> dict[str, Any]:
    """generation_config.json, or nothing. Instruction-tuned models keep it beside config.json."""
    path = find_optional(location, GENERATION_FILE).get(GENERATION_FILE)
    return {} if path is None else read_json(path)


def end_tokens(raw: Mapping[str, Any]) -> tuple[int, ...]:
    """Tokens that end an answer."""
    stops = raw.get("eos_token_id")
    return tuple(stops) if isinstance(stops, list) else (stops,) if stops is not None else ()


def generation_settings(raw: Mapping[str, Any], preset: ModelPreset, *, where: str) -> GenerationSettings:
    """How answers are generated: as the file says, and greedy unless its do_sample is true. What is ignored is logged by name.

    A max_new_tokens of the preset takes precedence. Raises CheckpointError for values that are out of range.
    """
    sampled = bool(raw.get("do_sample"))
    given = {key: raw[key] for key in ("repetition_penalty", "max_new_tokens") if raw.get(key) is not None}
    if sampled:
        given |= {key: default if raw.get(key) is None else raw[key] for key, default in _SAMPLING.items()}
    stops = raw.get("stop_strings") or ()
    given["stop"] = (stops,) if isinstance(stops, str) else stops
    if "max_new_tokens" in preset.model_fields_set or "max_new_tokens" not in given:
        given["max_new_tokens"] = preset.max_new_tokens
    _log_ignored(raw, where, sampled=sampled)
    try:
        return GenerationSettings.model_validate(given)
    except ValidationError as error:
        raise CheckpointError(f"{where}: {GENERATION_FILE}: {first_problem(error)}; correct it") from None


def generation_document(
    settings: GenerationSettings, stops: frozenset[int], preset: ModelPreset
) -> dict[str, Any] | None:
    """The file that gives these settings and end tokens again; None if none is needed."""
    document: dict[str, Any] = {"do_sample": settings.sampled}
    if stops:
        document["eos_token_id"] = sorted(stops)
    if settings.sampled:
        document |= {key: getattr(settings, key) for key in _SAMPLING}
    if settings.repetition_penalty != 1:
        document["repetition_penalty"] = settings.repetition_penalty
    if settings.max_new_tokens != preset.max_new_tokens:
        document["max_new_tokens"] = settings.max_new_tokens
    if settings.stop:
        document["stop_strings"] = list(settings.stop)
    return document if len(document) > 1 or settings.sampled else None


def _log_ignored(raw: Mapping[str, Any], where: str, *, sampled: bool) -> None:
    unknown = [f"{key}: {raw[key]}" for key in raw if key not in _READ | _SILENT and raw[key] not in _NEUTRAL]
    if unknown:
        _LOGGER.warning("%s: %s: ignored, not implemented: %s", where, GENERATION_FILE, ", ".join(unknown))
    idle = [f"{key} {raw[key]}" for key in _SAMPLING if not sampled and raw.get(key) not in (None, _SAMPLING[key])]
    if idle:
        _LOGGER.info("%s: %s: %s not used, because do_sample is not true", where, GENERATION_FILE, ", ".join(idle))
