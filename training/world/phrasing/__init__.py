"""The wordings of each kind of question. The last HELD_OUT wordings of a kind are never trained on.

things, course   the kinds that the shipped model was trained on, a dozen wordings each, held-out ones last
training_only    about a hundred more of each of these kinds, placed before the held-out ones
additions        the kinds of `twist_facts` and `camera_questions`, held-out ones last

A wording is identified by its number; a test fixes which ones are trained on and which are held out. Slots: {the} a
definite reference ("the red circle"), {a} an indefinite one, {one}, {two} and {three} definite ones, {scene},
{qualifier} ("" or " in the forest scene"); for additions also {attribute} "colour" or "size", {camera}, and {question},
an ordinary question.
"""

from typing import Final

from afterview.training.world.phrasing.additions import ADDITIONS
from afterview.training.world.phrasing.course import COURSE
from afterview.training.world.phrasing.things import THINGS
from afterview.training.world.phrasing.training_only import more_wordings

HELD_OUT: Final = 3  # wordings per kind that only validation and test use

PHRASINGS: Final = {
    kind: (*dict.fromkeys((*texts[:-HELD_OUT], *more_wordings(kind))), *texts[-HELD_OUT:])
    for kind, texts in (THINGS | COURSE | ADDITIONS).items()
}


def word(kind: str, number: int, slots: dict[str, str]) -> str:
    """The question of a kind in wording `number`, capitalised."""
    text = PHRASINGS[kind][number].format(**slots)
    return text[0].upper() + text[1:]


def wordings(kind: str, *, held_out: bool) -> range:
    """The numbers of a kind's trained wordings, or of its held-out ones."""
    every = len(PHRASINGS[kind])
    return range(every - HELD_OUT, every) if held_out else range(every - HELD_OUT)
