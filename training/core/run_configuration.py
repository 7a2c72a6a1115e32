"""The configuration of a training, stored beside it. Resuming under another configuration is refused."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from afterview.configs import Schema, UsageError, why_unreadable
from afterview.memory.base.durable import write_file

RUN_CONFIGURATION: Final = "config.json"
# These may change when a training is resumed: they do not affect what is learned.
_FREE: Final = frozenset(
    {"log_every", "save_every", "workers", "ahead", "gradient_checkpointing", "notice", "max_skipped", "bad_items"}
)


def read_configuration(directory: Path) -> dict[str, Any] | None:
    """The stored configuration of the training in `directory`; None if there is none. Raises UsageError if it cannot be read."""
    path = directory / RUN_CONFIGURATION
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot be read ({why_unreadable(error)}); delete it to continue without it"
        ) from None
    return saved if isinstance(saved, dict) else {}


def keep_configuration(config: Schema, directory: Path, *, free: Collection[str] = ()) -> None:
    """Store the configuration of the training in `directory`. Raises UsageError if the training started with another one.

    free: further keys that may differ. Keys that an earlier version did not store count as left out.
    """
    path, wanted = directory / RUN_CONFIGURATION, config.model_dump(mode="json")
    saved = read_configuration(directory)
    if saved is not None:
        if differences := list(_differences(_completed(saved, type(config)), wanted, free=_FREE.union(free))):
            more = f", and {len(differences) - 1} more" if len(differences) > 1 else ""
            raise UsageError(
                f"{directory}: started with {differences[0]}{more}; give the configuration that it started with, or another --out "
                f"(or delete {path} to continue with this one)"
            )
        return
    directory.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(wanted, indent=1).encode())


def _completed(saved: dict[str, Any], schema: type[Schema]) -> dict[str, Any]:
    """A stored configuration with the defaults of keys that it lacks. Unchanged if it does not fit the schema any more."""
    try:
        return schema.model_validate(saved).model_dump(mode="json")
    except ValidationError:
        return saved


def _differences(saved: Any, wanted: Any, name: str = "", *, free: Collection[str]) -> Iterator[str]:
    """`trainer.steps 3200, not 2400` for every value that differs."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*saved, *wanted]):
            if key not in free:
                yield from _differences(saved.get(key), wanted.get(key), f"{name}.{key}" if name else key, free=free)
    elif isinstance(saved, list) and isinstance(wanted, list) and len(saved) == len(wanted):
        for number, (one, other) in enumerate(zip(saved, wanted, strict=True)):
            yield from _differences(one, other, f"{name}.{number}", free=free)
    elif saved != wanted:
        yield f"{name} {_short(saved)}, not {_short(wanted)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
