"""Reads the two checkpoints of a pair: the vision tower of a SigLIP, and a Qwen with its tokenizer. Errors name the part and its place."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedTokenizerBase

from afterview.model.base.errors import CheckpointError, HubUnreachable, TokenizerMissing
from afterview.model.checkpoint.hub import Location, locate
from afterview.model.checkpoint.pair import (
    DECODER,
    ENCODER,
    damaged,
    require_beside,
    require_decoder,
    require_encoder,
    tower_names,
)
from afterview.model.checkpoint.published import EMBEDDING, TOWER_PREFIX, read_config
from afterview.model.checkpoint.tokenizer_files import find_tokenizer
from afterview.model.checkpoint.weights import TensorSource, open_tensors
from afterview.model.language.prompt import require_tokenizer


def encoder_of(place: str) -> tuple[Location, dict[str, Any]]:
    """Where a SigLIP lies, and its config.json. Raises CheckpointError for anything else, HubUnreachable."""
    with _named(ENCODER):
        require_beside(place, ENCODER)
        location = locate(place)
        config = read_config(location)
    require_encoder(config, name=location.name)
    return location, config


def decoder_of(place: str) -> tuple[Location, dict[str, Any]]:
    """Where a Qwen lies, and its config.json. Raises CheckpointError for anything else, HubUnreachable."""
    with _named(DECODER):
        require_beside(place, DECODER)
        location = locate(place)
        config = read_config(location)
    require_decoder(config, name=location.name)
    return location, config


def encoder_tensors(location: Location, wanted: Collection[str]) -> dict[str, TensorSource]:
    """Those tensors of a vision tower that are wanted, by published name. Shards with the text tower alone stay shut."""
    with _named(ENCODER):
        stored = open_tensors(location)
    names = tower_names(stored)
    if not names:
        raise damaged(ENCODER, location.name, "has no vision tower among its tensors; download it again")
    return {f"{TOWER_PREFIX}{name}": stored[names[name]] for name in wanted if name in names}


def decoder_tensors(location: Location) -> dict[str, TensorSource]:
    """The tensors of a language model. Raises CheckpointError if there is none."""
    with _named(DECODER):
        tensors = open_tensors(location)
    require_language_model(tensors, f"{DECODER}: {location.name}")
    return tensors


def require_language_model(tensors: Mapping[str, TensorSource], name: str) -> None:
    """Raise CheckpointError if there is no embedding of words among the tensors."""
    if EMBEDDING not in tensors:
        raise CheckpointError(f"{name}: no {EMBEDDING} among its tensors, so it holds no language model")


def decoder_tokenizer(location: Location) -> PreTrainedTokenizerBase:
    """The tokenizer of a Qwen. Raises TokenizerMissing: nothing could be asked or trained without the words and marks of its turns."""
    try:
        return require_tokenizer(find_tokenizer(location))
    except TokenizerMissing as error:
        raise TokenizerMissing(f"{DECODER}: {location.name}: {error}") from None


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Errors of finding and reading say which key of the preset file they are about."""
    try:
        yield
    except (CheckpointError, HubUnreachable) as error:
        text = str(error)
        raise type(error)(text if text.startswith(f"{part}: ") else f"{part}: {text}") from None
