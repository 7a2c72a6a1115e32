"""What of its subtitles a question shows: the lines that had begun by the moment asked, and how many others there are.

Counted, because a reader of the answer must know what it rests on: an answer as of a moment may not know what was said later.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from afterview.configs import UsageError
from afterview.stream.ask.question import Question
from afterview.stream.ask.subtitles import Subtitle, SubtitleFile

if TYPE_CHECKING:
    from afterview.memory.reading.reader import CameraReader
    from afterview.memory.reading.snapshot import MemorySnapshot

MOST_CHARACTERS: Final = 60_000  # of the lines that one question shows: about 15,000 tokens of English
MOST_TOKENS: Final = 16_000  # of them and the question: scripts and tokenizers differ, and an answer to one question must not last for ever
# Before the lines, as Video-MME's prompt has it.
OPENING: Final = "This video's subtitles are listed below:"


@dataclass(frozen=True)
class ShownSubtitles:
    """lines: those that the model reads. until: the moment asked, Unix seconds. Beside them, lines that it does not read: later (they begin
    after that moment), earlier (they ended before the span), over_limit (too long together; those that are left are spread evenly), empty
    (without a text, such as `<i></i>`).

    unreadable: entries of the file that are no lines with times. All counts together are the entries of the file.

    Of lines by time (stream.ask.subtitle_places): form, where they stand; no_frame, not read because no frame was seen meanwhile;
    between, the texts around the parts of the video; parts, frames of each.
    """

    lines: tuple[Subtitle, ...]
    until: float
    later: int
    earlier: int
    over_limit: int
    unreadable: int
    empty: int = 0
    form: str = ""  # empty: before the question
    no_frame: int = 0
    between: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()

    @property
    def characters(self) -> int:
        """Of the lines, with their ends."""
        return _size(self.lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON, with the number of lines."""
        counts = {"later": self.later, "earlier": self.earlier, "over_limit": self.over_limit, "empty": self.empty}
        by_time = {"no_frame": self.no_frame, "form": self.form} if self.form else {}
        return {"used": len(self.lines), "until": self.until, **counts, "unreadable": self.unreadable, **by_time}


def shown_subtitles(
    question: Question, first: float, last: float, *, most: int = MOST_CHARACTERS
) -> ShownSubtitles | None:
    """Of a question whose span has frames from `first` to `last`; None without subtitles. most: characters.

    A line counts from its first moment, so none that begins after the moment asked is shown. What is too long together is thinned evenly; a
    line that alone takes more than half of the room is left out, rather than the others.
    """
    if not question.subtitles:
        return None
    until = last if question.at is None else max(last, question.at)
    lines = [line for line in question.subtitles if line.text]
    begun = [line for line in lines if line.start <= until]
    own = [line for line in begun if line.end >= first]
    kept = _thinned(own, most)
    return ShownSubtitles(
        tuple(kept), until, len(lines) - len(begun), len(begun) - len(own), len(own) - len(kept),
        question.subtitles_unreadable, len(question.subtitles) - len(lines),
    )  # fmt: skip


def before_question(lines: Sequence[Subtitle], question: str) -> str:
    """The question with the lines before it, one a line."""
    if not lines:
        return question
    return "\n".join([OPENING, *(line.text for line in lines), question])


def with_subtitles(question: Question, found: SubtitleFile, cameras: "Sequence[CameraReader]", name: str) -> Question:
    """The question with lines whose times count from the beginning of the only camera. name: what errors call the subtitles.

    Raises UsageError for several cameras: each would say the same words at another time.
    """
    if len(cameras) != 1:
        raise UsageError(f"{name}: subtitles belong to one recording, and {len(cameras)} are asked; name one camera")
    begins = recording_begins(cameras[0].snapshot())
    lines = tuple(line.moved(begins) for line in found.lines)
    return replace(question, subtitles=lines, subtitles_unreadable=found.unreadable)


def recording_begins(snapshot: "MemorySnapshot") -> float:
    """When a camera's first frame was, Unix seconds, also if it is no longer remembered; 0 if there was none."""
    times = [*map(float, snapshot.times[:1]), *(gone.start for gone in snapshot.removed)]
    return min(filter(math.isfinite, times), default=0.0)


def _thinned(lines: Sequence[Subtitle], most: int) -> list[Subtitle]:
    """As many as fit, evenly spread from the first to the last. One long line must not cost all others."""
    if _size(lines) <= most:
        return list(lines)
    fitting = [line for line in lines if _size([line]) <= most]
    lines = [line for line in fitting if _size([line]) <= most / 2] or fitting
    kept = list(lines)
    while (size := _size(kept)) > most:
        count = min(len(kept) - 1, len(kept) * most // size)
        step = (len(lines) - 1) / max(count - 1, 1)
        kept = [lines[round(number * step)] for number in range(count)]
    return kept


def _size(lines: Sequence[Subtitle]) -> int:
    """Characters, with the ends of lines."""
    return sum(len(line.text) + 1 for line in lines)
