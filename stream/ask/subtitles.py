"""Subtitles of a recording as further text of a question: read from a file, cut at the moment asked, put before the question.

Read are SubRip (.srt), WebVTT (.vtt), and both shapes of LongVideoBench's JSON ({timestamp: [start, end], text}; {start, end, line}).
Times count from the beginning of the recording. What cannot be read is counted, never dropped in silence.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError, why_unreadable
from afterview.configs.system_errors import reason

LARGEST_FILE: Final = 32 << 20  # bytes
MOST_CHARACTERS: Final = 60_000  # of the lines that one question shows: about 15,000 tokens
# Before the lines, as Video-MME's prompt has it.
OPENING: Final = "This video's subtitles are listed below:"

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,6}))?"
_ARROW = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
_CLOCK = re.compile(rf"^\s*{_TIME}\s*$")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}")  # of HTML and of SubStation Alpha, which .srt files hold, too


@dataclass(frozen=True)
class Subtitle:
    """One line. start, end: seconds; of a file from the beginning of the recording, of a Question Unix time."""

    start: float
    end: float
    text: str

    def moved(self, seconds: float) -> "Subtitle":
        """The same line later."""
        return Subtitle(self.start + seconds, self.end + seconds, self.text)


@dataclass(frozen=True)
class SubtitleFile:
    """The lines of a file in order of time. unreadable: how many entries of it are no lines with times."""

    lines: tuple[Subtitle, ...]
    unreadable: int = 0


def read_subtitles(path: Path, *, begins_s: float = 0.0, ends_s: float = math.inf) -> SubtitleFile:
    """Read a file. begins_s: the time of the file at which the recording begins; what ended before is left out. ends_s: stands for an
    end that is missing, seconds from the recording's beginning. Raises UsageError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path}: has more than {LARGEST_FILE >> 20} MB; subtitles are smaller")
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({reason(error)}); name a file of subtitles") from None
    found = _from_json(text, path, begins_s + ends_s) if path.suffix.lower() == ".json" else _from_text(text)
    if not found.lines:
        raise UsageError(f"{path}: holds no subtitles; .srt, .vtt and the JSON of LongVideoBench are read")
    own = [line.moved(-begins_s) for line in found.lines if line.end >= begins_s]
    return SubtitleFile(tuple(sorted(own, key=lambda line: (line.start, line.end))), found.unreadable)


def shown_lines(lines: Sequence[Subtitle], start: float, end: float) -> tuple[list[Subtitle], int]:
    """Those that were to be seen between start and end, and how many of them were left out for their length.

    A line counts from its first moment, so none that begins after `end` is shown. What is too long is thinned evenly.
    """
    own = [line for line in lines if line.start <= end and line.end >= start and line.text]
    size = sum(len(line.text) + 1 for line in own)
    if size <= MOST_CHARACTERS:
        return own, 0
    kept: list[Subtitle] = []
    room, step = MOST_CHARACTERS, size / MOST_CHARACTERS
    for number in range(math.ceil(len(own) / step)):
        line = own[min(len(own) - 1, int(number * step))]
        if len(line.text) + 1 > room:
            break
        kept.append(line)
        room -= len(line.text) + 1
    return kept, len(own) - len(kept)


def before_question(lines: Sequence[Subtitle], question: str) -> str:
    """The question with the lines before it, one a line."""
    if not lines:
        return question
    return "\n".join([OPENING, *(line.text for line in lines), question])


def clock_seconds(text: object) -> float | None:
    """`01:02:03,5`, `02:03.5`, or a number, in seconds. None if it is no time."""
    if isinstance(text, bool):
        return None
    if isinstance(text, int | float):
        return float(text) if math.isfinite(text) and text >= 0 else None
    found = _CLOCK.match(text) if isinstance(text, str) else None
    if found is not None:
        return _seconds(found.groups())
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")


def _from_text(text: str) -> SubtitleFile:
    """SubRip and WebVTT: whatever follows a line with an arrow, up to an empty line, is one subtitle."""
    lines: list[Subtitle] = []
    unreadable = 0
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        rows = block.split("\n")
        place = next((number for number, row in enumerate(rows) if "-->" in row), None)
        if place is None:
            continue  # a heading, a note, or nothing
        found = _ARROW.match(rows[place])
        start, end = (_seconds(found.groups()[:4]), _seconds(found.groups()[4:])) if found else (0.0, -1.0)
        if end < start:
            unreadable += 1
            continue
        lines.append(Subtitle(start, end, _plain(" ".join(rows[place + 1 :]))))
    return SubtitleFile(tuple(lines), unreadable)


def _from_json(text: str, path: Path, end_s: float) -> SubtitleFile:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read ({why_unreadable(error)})") from None
    if not isinstance(entries, list):
        raise UsageError(f"{path}: is no list of subtitles")
    lines = [line for entry in entries if (line := _of_entry(entry, end_s)) is not None]
    return SubtitleFile(tuple(lines), len(entries) - len(lines))


def _of_entry(entry: Any, end_s: float) -> Subtitle | None:
    if not isinstance(entry, dict):
        return None
    stamp = entry.get("timestamp")
    if stamp is None:
        stamp, words = [entry.get("start"), entry.get("end")], entry.get("line")
    else:
        words = entry.get("text")
    if not isinstance(stamp, list) or len(stamp) != 2 or not isinstance(words, str):
        return None
    start, end = clock_seconds(stamp[0]), end_s if stamp[1] is None else clock_seconds(stamp[1])
    return None if start is None or end is None or end < start else Subtitle(start, end, _plain(words))


def _plain(text: str) -> str:
    """Without tags, in one line."""
    return re.sub(r"\s+", " ", html.unescape(_TAG.sub("", text))).strip()
