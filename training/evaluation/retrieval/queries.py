"""A question as the index is asked it. SigLIP was trained with captions, so a caption finds more than a question does. Pure."""

import re
from collections.abc import Callable
from typing import Final

from afterview.stream.ask.captions import caption_of
from afterview.training.world import Script, WorldQuestion

AsQuery = Callable[[Script, WorldQuestion], str]  # what the index is asked for a question

_WORD = re.compile(r"\w+")


def as_question(script: Script, question: WorldQuestion) -> str:
    """The question as it is."""
    return question.text


def as_true_caption(script: Script, question: WorldQuestion) -> str:
    """A caption of the frames that prove the answer, from the world's truth, without the words of the answer: `a ring in the forest scene`.

    Only what the question names, too: a scene counts if the question names it.
    """
    event = script.events[question.events[0]]
    hidden = set(_WORD.findall(question.answer.lower()))
    words = [word for word in event.name.split() if word.lower() not in hidden] or ["thing"]
    scene = f" in the {event.scene} scene" if event.scene in question.text and event.scene not in hidden else ""
    return f"a {' '.join(words)}{scene}"


def by_rule(caption: Callable[[str], str]) -> AsQuery:
    """The question through a function from texts to captions, as `ask` uses one."""
    return lambda script, question: caption(question.text)


QUERIES: Final[dict[str, AsQuery]] = {
    "question": as_question,
    "rule": by_rule(lambda text: caption_of(text).text),
    "caption": as_true_caption,
}
