"""Where a model's files lie: one checkpoint, or a PEFT adapter and the checkpoint that it changes."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterview.model.base.checkpoint_files import ADAPTER_CONFIG
from afterview.model.base.errors import CheckpointError, HubUnreachable
from afterview.model.checkpoint.adapters import Adapter, read_adapter, read_adapter_config
from afterview.model.checkpoint.hub import Directory, Location, find_optional, is_cached, locate
from afterview.model.checkpoint.published import read_config
from afterview.model.checkpoint.weights import read_json, weights_file

_LOGGER = logging.getLogger(__name__)

_BASE_KEY = "base_model_name_or_path"


@dataclass(frozen=True)
class Place:
    """A checkpoint, or an adapter with its base."""

    base: Location
    adapter: Adapter | None = None
    adapter_location: Location | None = None

    @property
    def name(self) -> str:
        """For people: the adapter's name if there is one."""
        return self.base.name if self.adapter is None else self.adapter.name

    @property
    def all(self) -> Sequence[Location]:
        """All places, the adapter's first: what was saved beside the adapter takes precedence."""
        return [self.base] if self.adapter_location is None else [self.adapter_location, self.base]

    def config(self) -> dict[str, Any]:
        """config.json: the one beside the adapter if it is that of a whole LLaVA, as in the published layout; otherwise the base's."""
        if self.adapter_location is not None and (
            path := find_optional(self.adapter_location, "config.json").get("config.json")
        ):
            own = read_json(path)
            if own.get("mm_vision_tower") is not None:
                return own
        return read_config(self.base)


def find_places(place: str, adapter: str | None) -> Place:
    """The files of checkpoint `place` with `adapter` on it. If `place` itself is an adapter, its base is the one that it names.

    Raises CheckpointError, which names adapter, key and remedy, if the base is not there; HubUnreachable.
    """
    location = locate(place)
    if adapter is not None:
        return _with_adapter(location, locate(adapter))
    weights = _weights_of(location)
    config = read_adapter_config(location) if isinstance(location, Directory) or weights is None else None
    if config is None:
        return Place(location)
    if weights is not None:
        _LOGGER.warning(
            "%s: holds whole weights and an adapter; the weights are taken, and the adapter is not applied (a preset file with "
            "`checkpoint` and `adapter` applies it)", location.name,
        )  # fmt: skip
        return Place(location)
    return _with_adapter(_base(location, config.base_model_name_or_path), location)


def _weights_of(location: Location) -> str | None:
    """`weights_file`, or None if the hub is unreachable but its cache has the adapter."""
    try:
        return weights_file(location)
    except HubUnreachable:
        if not is_cached(location, ADAPTER_CONFIG):
            raise
        return None


def _with_adapter(base: Location, location: Location) -> Place:
    config = read_adapter_config(location)
    if config is None:
        raise CheckpointError(
            f"{location.name}: no {ADAPTER_CONFIG}, so this is not a PEFT adapter; give the directory that holds one"
        )
    return Place(base, read_adapter(location, config), location)


def _base(adapter: Location, named: str | None) -> Location:
    """The base of an adapter: a directory (from the adapter's, or from here), or a hub id."""
    remedy = "write a preset file with `checkpoint: BASE` and `adapter: ADAPTER`, or correct the key"
    if not named:
        raise CheckpointError(f"{adapter.name}: {ADAPTER_CONFIG} names no {_BASE_KEY}; {remedy}")
    if isinstance(adapter, Directory) and (beside := adapter.path / Path(named).expanduser()).is_dir():
        return Directory(beside.resolve())
    try:
        if os.path.isabs(named) and not os.path.isdir(named):
            raise CheckpointError("is not there; mount it")
        base = locate(named)
        weights_file(base)  # asks the hub, so that an unreachable one is named together with the adapter
        return base
    except (CheckpointError, HubUnreachable) as error:
        raise type(error)(f"{adapter.name}: {ADAPTER_CONFIG}: {_BASE_KEY} '{named}' {error}; or {remedy}") from None
