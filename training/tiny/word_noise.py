"""Adds unknown words to questions, as people use them.

A dozen wordings of a kind are not English. So a word without meaning is sometimes replaced by a made-up one, and the
model learns to use the words that carry the meaning.
"""

import re
from random import Random
from typing import Final

from afterview.training.world.vocabulary import COLOURS, MOTIONS, PLACES, SCENES, SHAPES, SIZES, WORDS

# Words that distinguish kinds of questions, or name a thing: never replaced.
_TELLING: Final = """
    colour shape big small size large where place part way move moved went go direction left right up down scene background landscape
    camera view behind digit numeral card word sign say written read times often count number when time moment last latest recently first
    earlier earliest second third previous order sort put before preceded after followed next just long seconds stay stayed visible
    between passed apart later
    now present right this change still not or and object nothing at in did was there is has have see seen
"""
_SYLLABLES: Final = """
    ba co de fi gu ha jo ka lu me no pi qua ro su ti ver wan xe yo zu ther ing tion ent
"""
_OPENERS: Final = (
    "Please:",
    "So,",
    "Now then,",
    "Hey,",
    "Quick question:",
    "I wonder:",
    "One more thing:",
    "While I was away:",
    "When you can:",
    "Is it known:",
    "At last:",
    "If you know:",
)
_CARRIES: Final = frozenset(_TELLING.split()) | {
    word for text in (*COLOURS, *SHAPES, *SIZES, *PLACES, *MOTIONS, *SCENES, *WORDS) for word in text.lower().split()
}


def add_word_noise(text: str, rng: Random) -> str:
    """The question with one meaningless word replaced, or with an opening before it. Its meaning does not change."""
    if rng.random() < 0.25:
        return f"{rng.choice(_OPENERS)} {text[0].lower()}{text[1:]}"
    words = text.split(" ")
    empty = [n for n, word in enumerate(words) if _bare(word) and _bare(word) not in _CARRIES]
    if not empty:
        return text
    place = rng.choice(empty)
    made_up = "".join(rng.choice(_SYLLABLES.split()) for _ in range(rng.randint(1, 3)))
    words[place] = re.sub(r"[A-Za-z]+", made_up, words[place], count=1)
    return " ".join(words)


def _bare(word: str) -> str:
    found = re.match(r"[A-Za-z]+", word)
    return found.group().lower() if found else ""
