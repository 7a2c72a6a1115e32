"""Reads a YAML file into a frozen pydantic schema. Unknown keys are fatal, and the nearest known key is named."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from afterview.configs.errors import ConfigError
from afterview.configs.suggestions import did_you_mean

PRESETS = Path(__file__).parent / "presets"


class Schema(BaseModel):
    """Base of all configuration schemas: frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=())


S = TypeVar("S", bound=Schema)


def preset_names() -> list[str]:
    """Names of the shipped presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_path(name: str) -> Path:
    """Path of a shipped preset. Raises ConfigError with the most similar preset name for an unknown one."""
    path = PRESETS / f"{name}.yaml"
    if path.is_file():
        return path
    known = preset_names()
    hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
    raise ConfigError(f"unknown preset '{name}'{hint}")


def load(path: str | Path, schema: type[S]) -> S:
    """Read the YAML file at `path` as `schema`. Raises ConfigError: `live.yaml: forgetting.strid: unknown key; did you mean 'stride'?`"""
    import yaml  # late: commands that read no configuration must not wait for it

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path.name}: not valid YAML{where}: {getattr(error, 'problem', None) or error}") from None
    return load_mapping({} if values is None else values, schema, source=path.name)


def load_mapping(values: Any, schema: type[S], *, source: str) -> S:
    """Check `values` against `schema`. source: the name of their origin in error messages."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: expected keys and values at the top, got {type(values).__name__}")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_describe(error, schema, source))) from None


def _describe(error: ValidationError, schema: type[BaseModel], source: str) -> Iterator[str]:
    for problem in error.errors():
        location = [part for part in problem["loc"] if not str(part).startswith("function-")]
        name = ".".join(str(part) for part in location)
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _keys_at(schema, location[:-1]))
            yield f"{source}: {name}: unknown key{hint}"
        elif problem["type"] == "missing":
            yield f"{source}: {name}: missing"
        else:
            got = problem.get("input")
            shown = f" (got {got!r})" if isinstance(got, str | int | float | bool | None) else ""
            yield f"{source}: {name or 'whole file'}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _keys_at(schema: type[BaseModel], location: list[Any]) -> list[str]:
    """Field names of the schema at `location` within `schema`."""
    here: type[BaseModel] | None = schema
    for part in location:
        field = here.model_fields.get(str(part)) if here else None
        if field is None:
            continue  # a list index, or the tag of a union
        candidates = (field.annotation, *get_args(field.annotation))
        here = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(here.model_fields) if here else []
