"""Which presets of the user's own were used on this machine: files, directories and hub ids. `models remove` keeps what they need.

A list in the user's cache. It only protects: where it cannot be read or written, nothing else fails.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from afterview.configs import UsageError, preset_names
from afterview.memory.base.durable import write_file
from afterview.memory.base.lock import file_lock
from afterview.model.checkpoint.preset import ModelPreset, find_preset, is_hub_id
from afterview.model.download.cache import user_cache
from afterview.model.download.needed import needed_models

_MOST = 1000  # entries; the oldest goes
_LOGGER = logging.getLogger(__name__)


def own_presets_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file of the list."""
    return user_cache(environment) / "own-presets.json"


def remember_preset(preset: ModelPreset) -> None:
    """Note that a preset was used, unless it is a shipped one, needs nothing of the hub, or is noted already."""
    reference = preset.reference
    if reference in preset_names() or not needed_models(preset) or reference in _read():
        return
    path = own_presets_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_name(".own-presets.lock"), patience_s=1.0):
            known = [one for one in _read() if one != reference and _is_there(one)]
            write_file(path, json.dumps([*known, reference][-_MOST:], indent=1).encode())
    except (OSError, TimeoutError) as error:
        _LOGGER.debug("%s cannot be written: %s", path, error)


def own_presets() -> Iterator[ModelPreset]:
    """Those of the list that are still there and can be read."""
    for reference in _read():
        if not _is_there(reference):
            continue
        try:
            yield find_preset(reference)
        except UsageError:
            continue  # it was changed, and is none any more


def _is_there(reference: str) -> bool:
    return os.path.exists(reference) if os.path.isabs(reference) else is_hub_id(reference)


def _read() -> list[str]:
    try:
        found = json.loads(own_presets_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
