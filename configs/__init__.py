"""Presets (YAML) and the strict loader that reads them. Each schema lives with its owner."""

from afterview.configs.errors import AfterviewError, ConfigError, ExitStatus, UsageError
from afterview.configs.extras import missing_extra
from afterview.configs.loader import Schema, load, load_mapping, preset_names, preset_path, read_yaml
from afterview.configs.wording import first_problem, kind_of, why_unreadable

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
