"""The configuration of the vision tower that a checkpoint names with `mm_vision_tower`. The weights lie in the checkpoint itself."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afterview.model.base.checkpoint_files import CONFIG_FILE, TOWER_DIRECTORY
from afterview.model.base.errors import CheckpointError, HubUnreachable
from afterview.model.checkpoint.hub import Directory, HubModel, Location, locate
from afterview.model.checkpoint.published import read_config
from afterview.model.checkpoint.weights import read_json
from afterview.model.vision.tower import KNOWN_TOWERS

_LOGGER = logging.getLogger(__name__)

KEY = "mm_vision_tower"


def tower_config(locations: Sequence[Location], tower: str) -> Mapping[str, Any]:
    """Configuration of the vision tower: a directory in the checkpoint, a known tower, another directory, or a hub id.

    locations: the checkpoint, and the base of its adapter if it has one. A path that is not there is taken for the known tower of the same
    name, because a path of another machine is what trainings write, and only the geometry is read. Raises CheckpointError or
    HubUnreachable, which name checkpoint, key and remedy.
    """
    for location in locations:
        if isinstance(location, Directory) and not os.path.isabs(tower) and (location.path / tower).is_dir():
            return read_config(Directory(location.path / tower))
        own = f"{TOWER_DIRECTORY}/{CONFIG_FILE}" if tower == f"./{TOWER_DIRECTORY}" else None
        if isinstance(location, HubModel) and own and (path := location.find(own)) is not None:
            return read_json(path)
    checkpoint = locations[0].name
    if tower in KNOWN_TOWERS:
        return KNOWN_TOWERS[tower]
    if tower.startswith("."):
        raise CheckpointError(
            f"{checkpoint}: lacks the directory {tower} of its vision tower; copy the whole checkpoint"
        )
    if tower.startswith(("/", "~")) and not Path(tower).expanduser().is_dir():
        return _of_another_machine(checkpoint, tower)
    try:
        return read_config(locate(tower))
    except (CheckpointError, HubUnreachable) as error:
        raise type(error)(f"{checkpoint}: config.json: {KEY} '{tower}': {error}; {_remedy()}") from None


def _of_another_machine(checkpoint: str, tower: str) -> Mapping[str, Any]:
    named = Path(tower).name
    for known, config in KNOWN_TOWERS.items():
        if known.split("/")[-1] == named:
            _LOGGER.warning(
                "%s: config.json: %s '%s' is not there; its geometry is taken for that of %s, and the weights are in the checkpoint",
                checkpoint, KEY, tower, known,
            )  # fmt: skip
            return config
    raise CheckpointError(f"{checkpoint}: config.json: {KEY} '{tower}' is not there; mount it, or {_remedy()}")


def _remedy() -> str:
    return (
        f"set {KEY} in config.json to a directory that holds config.json of the tower, or to {' or '.join(KNOWN_TOWERS)} "
        "if it is that one (its weights are in the checkpoint)"
    )
