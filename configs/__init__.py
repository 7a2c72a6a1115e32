"""Presets (YAML) and the one strict loader that reads them. Each schema lives with its owner."""

from configs.errors import AfterimageError, ConfigError, UsageError
from configs.loader import Schema, load, load_mapping, preset_names, preset_path

__all__ = [
    "AfterimageError",
    "ConfigError",
    "Schema",
    "UsageError",
    "load",
    "load_mapping",
    "preset_names",
    "preset_path",
]
