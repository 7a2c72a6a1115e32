"""Presets (YAML) and the strict loader that reads them. Each schema lives with its owner."""

from afterview.configs.errors import AfterviewError, ConfigError, ExitStatus, UsageError
from afterview.configs.extras import missing_extra
from afterview.configs.loader import Schema, load, load_mapping, preset_names, preset_path

__all__ = [
    "AfterviewError",
    "ConfigError",
    "ExitStatus",
    "Schema",
    "UsageError",
    "load",
    "load_mapping",
    "missing_extra",
    "preset_names",
    "preset_path",
]
