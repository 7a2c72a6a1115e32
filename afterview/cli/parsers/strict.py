"""Values of options, checked while they are parsed: numbers are numbers, texts are not empty, and no text is given twice.

argparse alone accepts `nan`, digits of any script and an empty text (an unset shell variable), and of two values it takes the last without
a word. Loads only argparse.
"""

import argparse
import re
from collections.abc import Sequence
from typing import Any

LONGEST = 4096  # characters of one value; the longest path of Linux
_MOST_DIGITS = 19  # of a whole number: those of the largest seed, 2^63 - 1
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
# `inf` is for the commands to refuse: they know the limit of the value, and what to give instead.
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf)", re.ASCII | re.IGNORECASE)
_SHOWN = 40  # characters of a wrong value that a message quotes
_GIVEN = "_given"  # attribute of the namespace: values of the options by name, as far as they are parsed


def strict(parser: argparse.ArgumentParser) -> None:
    """Make a parser check its values. Call it before the arguments are added."""
    parser.register("type", float, _number)
    parser.register("type", int, _whole)
    for name in (None, "store"):
        parser.register("action", name, _Store)
    parser.register("action", "append", _Append)


def shorten(text: str) -> str:
    """A wrong value as a message quotes it."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise argparse.ArgumentTypeError(f"'{shorten(text)}' is not a number, such as 2 or 0.5")
    return float(text)


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise argparse.ArgumentTypeError(f"'{shorten(text)}' is not a whole number, such as 2")
    if len(text.strip()) > _MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"'{shorten(text)}' is too large")
    return int(text)


class _Store(argparse.Action):
    """Stores one value. A second, different text is an error: it names another memory, camera or time. Of numbers the last one wins."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Called by the parser."""
        _require_sense(self, values)
        if self.option_strings and isinstance(values, str) and self.choices is None:
            given = namespace.__dict__.setdefault(_GIVEN, {})
            if given.setdefault(self.dest, values) != values:
                first = shorten(str(given[self.dest]))
                raise argparse.ArgumentError(
                    self, f"is given twice, as '{first}' and '{shorten(str(values))}'; give it once"
                )
        setattr(namespace, self.dest, values)


class _Append(argparse.Action):
    """Collects the values of an option that may be repeated. The same value twice is an error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Called by the parser."""
        _require_sense(self, values)
        before = list(getattr(namespace, self.dest) or [])
        if values in before:
            raise argparse.ArgumentError(self, f"'{shorten(str(values))}' is given twice")
        setattr(namespace, self.dest, [*before, values])


def _require_sense(action: argparse.Action, values: object) -> None:
    """Raise ArgumentError for a text that no option takes. Commands check their positional arguments for emptiness themselves."""
    for value in values if isinstance(values, list) else [values]:
        if not isinstance(value, str):
            continue
        if action.option_strings and not value.strip():
            raise argparse.ArgumentError(action, "is empty; give a value, or leave the option out")
        if "\0" in value:
            raise argparse.ArgumentError(action, "holds a NUL character")
        if len(value) > LONGEST:
            raise argparse.ArgumentError(action, f"has {len(value)} characters; at most {LONGEST} are taken")
