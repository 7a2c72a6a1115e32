"""The argument parser of every command: options in full, and errors that name what was probably meant. Loads only argparse."""

import argparse
import itertools
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from afterview.configs.suggestions import did_you_mean

_WORDS = {
    r"invalid int value: (.*)": r"\1 is not a whole number",
    r"invalid float value: (.*)": r"\1 is not a number",
    r"expected one argument": "needs a value (write one that begins with '-' after '=')",
}


class WrongArguments(Exception):
    """The command line cannot be parsed. The text is one line: the mistake, and the remedy."""


class HelpText(argparse.HelpFormatter):
    """Wraps paragraphs to the terminal, without breaking names at hyphens. One with an indented line (examples, tables) stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = text.strip().split("\n\n")
        return "\n\n".join(part if "\n " in part else "\n".join(self._split_lines(part, width)) for part in parts)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def add_argument(self, action: argparse.Action) -> None:
        """As argparse does; it forgets that the names of commands are indented once more."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            longest = max(map(len, action.choices)) + self._current_indent + self._indent_increment
            self._action_max_length = max(self._action_max_length, longest + self._indent_increment)


class Parser(argparse.ArgumentParser):
    """Accepts no abbreviated options: an option that a later version adds would change what a script means."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": HelpText, **values})

    def add_argument(self, *names: Any, **values: Any) -> argparse.Action:
        """As argparse does; a number is called N."""
        if values.get("type") in (int, float):
            values.setdefault("metavar", "N")
        return super().add_argument(*names, **values)

    def error(self, message: str) -> NoReturn:
        """Raise WrongArguments. message: by argparse, in its words."""
        text = message.removeprefix("argument ").replace("the following arguments are required:", "missing:")
        for found, words in _WORDS.items():
            text = re.sub(found, words, text)
        raise WrongArguments(f"{text} (`{self.prog} --help` explains it)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but unknown options are errors of the command that has them, before missing arguments are."""
        if args is not None:
            leading = itertools.takewhile(lambda text: text.startswith("-"), args)
            self._require_known(args if self._subparsers is None else list(leading))
        chosen, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._require_known(unknown)
            self.error(f"too many arguments: {' '.join(unknown)}")
        return chosen, unknown

    def _require_known(self, arguments: Sequence[str]) -> None:
        """Raise WrongArguments for an option that this command does not have."""
        for text in arguments:
            if text == "--":
                return
            name = text.partition("=")[0] if text.startswith("--") else text[:2]
            if re.match(r"--|-[^\d.]", name) and " " not in text and name not in self._option_string_actions:
                known = [option for option in self._option_string_actions if option.startswith("--")]
                late = "" if self._subparsers is None else "; the options of a command come after it"
                self.error(f"unknown option '{name}'{did_you_mean(name, known) or late}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A choice that does not exist: name the similar ones, and all of them."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), known) or f"; there are: {', '.join(known)}"
        if isinstance(action, argparse._SubParsersAction):
            what = "command" if self.prog.count(" ") == 0 else "action"
            raise argparse.ArgumentError(None, f"unknown {what} '{value}'{hint}")
        raise argparse.ArgumentError(action, f"unknown choice '{value}'; there are: {', '.join(known)}")
