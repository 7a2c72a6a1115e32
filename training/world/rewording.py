"""Questions with synonyms: `What color did the large ring have?` for `Which colour did the big ring have?`

Fixed wordings teach sentences, and a small model knows no other English: a question with a synonym looks to it like
another kind. So expressions are randomly replaced by others of the same meaning. This makes thousands of wordings from
about a hundred. A result that equals a held-out wording is undone, so those stay unseen.
"""

import re
from functools import cache
from random import Random
from typing import Final

from afterview.training.world.phrasing import HELD_OUT, PHRASINGS

USUAL: Final = 0.35  # share of expressions that are replaced

# Each line: expressions of one meaning, which may replace each other.
_SAME: Final = tuple(
    tuple(part.strip() for part in line.split("|"))
    for line in """
    colour | color | hue
    shown | displayed | on display | visible | presented | seen
    appeared | turned up | showed up | came up | popped up | came into view
    appear | turn up | show up | come up | pop up | come into view
    picture | frame | image | screen
    now | right now | at the moment | at present | currently | at this moment | at this very moment
    up to now | until now | so far
    scene | landscape | background | backdrop | setting
    digit | number | numeral | figure
    word | text
    tell me | please tell me | let me know | please say | i want to know | i'd like to know | can you tell me | could you tell me | remind me
    see | spot | notice | observe
    saw | spotted | noticed | observed
    how many times | how often | on how many occasions | how frequently
    where | whereabouts | in what place | at which spot
    ever | at any time | at any point | at some point
    thing | object | item
    earlier | sooner
    big | large
    small | little
    purple | violet
    when was | at what time was | at which moment was
    when did | at what time did | at which moment did
    remember | recall
    which | what
    place | position | location | spot
    written | printed
    sign | banner
    stay | remain
    stayed | remained
    """.strip().splitlines()  # noqa: E501
)
TAILS: Final = (" in the video", " in this recording", " in the footage", " on this camera", " please", ", please")
_SET_OF: Final = {expression: same for same in reversed(_SAME) for expression in same}
# Longest first, so that "right now" is one expression. "number of times" is not a number on a card, and "now then" is not a time.
_FOUND: Final = re.compile(
    r"\b(?<!then )(?:"
    + "|".join(sorted(map(re.escape, _SET_OF), key=len, reverse=True))
    + r")\b(?! of times)(?! then)",
    re.IGNORECASE,
)


def reworded(text: str, rng: Random, share: float = USUAL) -> str:
    """The question with expressions replaced by synonyms, each with probability `share`."""

    def other(found: re.Match[str]) -> str:
        if rng.random() >= share:
            return found.group()
        replacement = rng.choice(_SET_OF[found.group().lower()])
        return f"{replacement[0].upper()}{replacement[1:]}" if found.group()[0].isupper() else replacement

    said = _FOUND.sub(other, text)
    if said != text and _held_out().fullmatch(said):
        said = text
    if rng.random() < share / 3 and said[-1] in ".?":
        said = f"{said[:-1]}{rng.choice(TAILS)}{said[-1]}"
    return said


@cache
def _held_out() -> re.Pattern[str]:
    """Matches every held-out wording, with any slot values."""
    texts = {text for texts in PHRASINGS.values() for text in texts[-HELD_OUT:]}
    return re.compile("|".join(re.sub(r"\\{\w+\\}", ".*", re.escape(text)) for text in sorted(texts)), re.IGNORECASE)
