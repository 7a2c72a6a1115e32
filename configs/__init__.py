"""Presets (YAML) and the strict loader that reads them. Each schema lives with its owner.

What loads pydantic is imported when it is first used: commands that read no configuration start without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from afterview.configs.errors import AfterviewError, ConfigError, ExitStatus, UsageError
from afterview.configs.extras import missing_extra
from afterview.configs.wording import first_problem, kind_of, why_unreadable

if TYPE_CHECKING:
    from afterview.configs.loader import Schema, load, load_mapping, preset_names, preset_path, read_yaml

__all__ = [
    "AfterviewError",
    "ConfigError",
    "ExitStatus",
    "Schema",
    "UsageError",
    "first_problem",
    "kind_of",
    "load",
    "load_mapping",
    "missing_extra",
    "preset_names",
    "preset_path",
    "read_yaml",
    "why_unreadable",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module("afterview.configs.loader"), name)
    return found
