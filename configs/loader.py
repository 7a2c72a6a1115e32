"""Reads a YAML file into a frozen pydantic schema. Unknown and repeated keys are fatal, and the nearest known key is named."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from afterview.configs.errors import ConfigError
from afterview.configs.suggestions import did_you_mean
from afterview.configs.wording import describe_problem, kind_of, place_of, why_unreadable

if TYPE_CHECKING:
    import yaml

PRESETS = Path(__file__).parent / "presets"
CATALOGUE = Path(__file__).parent / "catalogue.yaml"  # what the shipped presets are good for (model.catalogue)


class Schema(BaseModel):
    """Base of all configuration schemas: frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False, protected_namespaces=())


S = TypeVar("S", bound=Schema)
Place = Callable[[Sequence[str]], str]  # ", line 7" for a key, by its path


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
    values = read_yaml(Path(path))
    return load_mapping({} if values is None else values, schema, source=Path(path).name)


def read_yaml(path: Path) -> Any:
    """The values of a YAML file. Raises ConfigError naming the line, also for a key that is given twice."""
    import yaml  # late: commands that read no configuration must not wait for it

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {why_unreadable(error)}") from None
    try:
        return yaml.load(text, Loader=_strict_loader())  # a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.splitlines()
        there = lines[mark.line] if mark and mark.line < len(lines) else ""
        if mark and (error.problem or "").startswith("key '"):
            raise ConfigError(f"{path.name}: {error.problem}, again in line {mark.line + 1}") from None
        hint = "check colons, indentation, quotes and brackets there and in the line before"
        if "\t" in there[: len(there) - len(there.lstrip())]:
            hint = "indent by blanks, not by tabs"
        raise ConfigError(f"{path.name}: not valid YAML in line {mark.line + 1 if mark else 1}; {hint}") from None
    except (yaml.YAMLError, ValueError, RecursionError):  # a character that no text has, a date that does not exist
        raise ConfigError(
            f"{path.name}: not valid YAML; it is not text, or holds a value that YAML does not know"
        ) from None


@cache
def _strict_loader() -> "type[yaml.SafeLoader]":
    import yaml

    class Strict(yaml.SafeLoader):
        """YAML in which a key may be given once: otherwise the last value would win without a word."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """The mapping of a node. Raises ConstructorError for a repeated key."""
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(
                        problem=f"key '{key.value}' is given twice", problem_mark=key.start_mark
                    )
                if isinstance(key.value, str):
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Strict


def load_mapping(values: Any, schema: type[S], *, source: str, place: Place | None = None) -> S:
    """Check `values` against `schema`. source: the name of their origin in error messages. place: where a key stands in it, for them."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: must hold keys with values, such as `name: mine`; it holds {kind_of(values)}")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_describe(error, schema, source, place))) from None


def _describe(error: ValidationError, schema: type[BaseModel], source: str, place: Place | None) -> Iterator[str]:
    origin = source
    for problem in error.errors():
        location = place_of(problem) or [
            str(part) for part in problem["loc"][-1:]
        ]  # a key may read like a type: `none`
        name = ".".join(location)
        if place is not None:
            source = f"{origin}{place(location)}"
        hint = ""
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(location[-1]), _keys_at(schema, location[:-1]))
        yield (
            f"{source}: {name}: {describe_problem(problem)}{hint}" if name else f"{source}: {describe_problem(problem)}"
        )


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
