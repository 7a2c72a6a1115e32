"""Lettered options in the text of a question: `A. red` or `(A) red`, each in lines of its own from A on, as people write them.

An option may go on in the next lines. A text cannot say whether `A. ...` within an option is an option: who knows the options hands them on
(Question.options). Pure.
"""

import re
from itertools import pairwise, takewhile
from typing import Final

LETTERS: Final = "ABCDEFGH"
_OPTION = re.compile(r"^[ \t]*\(?([A-H])[.):][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
# What stands after the options and belongs to none: `Answer with the letter.`, `Best option: (`.
_INSTRUCTION = re.compile(
    r"(?:please|respond|reply|select|choose|pick|(?:the |your )?(?:(?:best|correct|final) (?:answer|option|choice)|answer))\b|.*[:(]$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(?:^|\n)[ \t]*(?:options?|choices)[ \t]*:\s*$", re.IGNORECASE)


def options_in(text: str) -> dict[str, str]:
    """The options of a question, by letter, each in one line. Of several lists the last counts. `A. red` alone is one only under a heading,
    `Options:`.

    Lines up to the next letter belong to the option before. An instruction may follow the last option, so this one goes on for as many
    lines as the longest before it, up to an empty line or an instruction.
    """
    listed = _listed(text)
    further = [text[one.end() : after.start()].split("\n") for one, after in pairwise(listed)]
    most = max((sum(bool(line.strip()) for line in lines) for lines in further), default=0)
    if listed:
        rest = [line.strip() for line in text[listed[-1].end() :].split("\n")[1 : most + 1]]
        further.append(list(takewhile(lambda line: bool(line) and not _INSTRUCTION.match(line), rest)))
    return {
        found[1]: " ".join(" ".join([found[2], *lines]).split()) for found, lines in zip(listed, further, strict=True)
    }


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
