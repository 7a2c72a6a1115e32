"""Lettered options in the text of a question: `A. red` or `(A) red`, one a line from A on, as benchmarks and people write them. Pure."""

import re
from typing import Final

LETTERS: Final = "ABCDEFGH"
_OPTION = re.compile(r"^[ \t]*\(?([A-H])[.):][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"(?:^|\n)[ \t]*(?:options?|choices)[ \t]*:\s*$", re.IGNORECASE)


def options_in(text: str) -> dict[str, str]:
    """The options of a question, by letter. Of several lists the last counts. `A. red` alone is one only under a heading, `Options:`."""
    return {found[1]: found[2] for found in _listed(text)}


def without_options(text: str) -> str:
    """What a question says before its options and their heading; all of it where it has none, or nothing before them."""
    if not (listed := _listed(text)):
        return text
    return _HEADING.sub("", text[: listed[0].start()]).strip() or text


def _listed(text: str) -> list[re.Match[str]]:
    found: list[re.Match[str]] = []
    for option in _OPTION.finditer(text):
        if option[1] == "A":
            found = [option]
        elif found and len(found) < len(LETTERS) and option[1] == LETTERS[len(found)]:
            found.append(option)
    return found if len(found) > 1 or (found and _HEADING.search(text[: found[0].start()])) else []
