"""What the questions of one conversation are about: a question keeps the cameras and the span of those before it unless it names others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from afterview.configs import UsageError
from afterview.memory.base.errors import RepositoryError
from afterview.memory.directory import Memory
from afterview.stream.ask.cameras import MOST_CAMERAS
from afterview.stream.ask.question import Question


@dataclass(frozen=True)
class Dialogue:
    """The state between two questions. Values only.

    about: a question without text; its cameras, its span and its way of answering count for the next question.
    """

    about: Question

    def asked(self, memory: Memory, text: str) -> "tuple[Dialogue, Question]":
        """The next question, and the state in which it is asked. `hall, gate: Who came?` moves to these cameras.

        Raises UsageError for a text that names cameras and asks nothing.
        """
        head, colon, rest = text.partition(":")
        named = named_cameras(memory, head) if colon else ()
        if not named:
            return self, replace(self.about, text=text)
        if not rest.strip():
            raise UsageError(f'"{text}" asks nothing; to ask this camera from now on: /camera {head.strip()}')
        moved = Dialogue(replace(self.about, cameras=named))
        return moved, replace(moved.about, text=rest.strip())

    def answered(self, asked: Sequence[str], cameras: int) -> "Dialogue":
        """The state after an answer. asked: ids of the cameras that answered. cameras: how many the memory has.

        Where only those that are the most similar to a question were asked, the next question stays with them.
        """
        if self.about.cameras or cameras <= MOST_CAMERAS or not asked:
            return self
        return Dialogue(replace(self.about, cameras=tuple(asked)))


def named_cameras(memory: Memory, text: str) -> tuple[str, ...]:
    """The ids of the cameras that a text such as `hall, gate` names; none unless each of its names is one. A name may hold a comma."""
    for names in ([text], text.split(",")):
        try:
            return tuple(dict.fromkeys(memory.camera(name.strip()).info.id for name in names))
        except (RepositoryError, UsageError, OSError):
            continue
    return ()
