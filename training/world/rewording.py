"""Questions in other words of the same meaning: `What color did the large ring have?` for `Which colour did the big ring have?`

Written wordings teach sentences, and a small model knows no English besides: asked with another word for the same thing, it takes the
question for one of another kind. So expressions are swapped for others of their set, each by lot, which makes thousands of wordings of
some hundred. What comes out as a held-out wording is put back: those stay unseen.
"""

import re
from functools import cache
from random import Random
from typing import Final

from afterview.training.world.phrasing import HELD_OUT, PHRASINGS

USUAL: Final = 0.35  # share of expressions that are swapped

# Each line: expressions of one meaning, any of which may stand for any other.
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
    """.strip().splitlines()
)
TAILS: Final = (" in the video", " in this recording", " in the footage", " on this camera", " please", ", please")
_SET_OF: Final = {expression: same for same in reversed(_SAME) for expression in same}
# Longest first, so that "right now" is one expression. A number of times is no number on a card, and "now then" tells no time.
_FOUND: Final = re.compile(
    r"\b(?<!then )(?:"
    + "|".join(sorted(map(re.escape, _SET_OF), key=len, reverse=True))
    + r")\b(?! of times)(?! then)",
    re.IGNORECASE,
)


def reworded(text: str, rng: Random, share: float = USUAL) -> str:
    """The question with each expression that has others of its meaning swapped for one of them in `share` of the cases."""

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
    """Every held-out wording, whatever fills its slots."""
    texts = {text for texts in PHRASINGS.values() for text in texts[-HELD_OUT:]}
    return re.compile("|".join(re.sub(r"\\{\w+\\}", ".*", re.escape(text)) for text in sorted(texts)), re.IGNORECASE)
