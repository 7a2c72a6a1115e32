"""Subtitles of a recording, as further text of a question: read from a file, or from a text that a client sends.

Read are SubRip (.srt), WebVTT (.vtt), and both shapes of LongVideoBench's JSON ({timestamp: [start, end], text}; {start, end, line}).
Times count from the beginning of the recording. What cannot be read is counted, never dropped in silence. What of it a question shows:
stream.ask.shown_subtitles.
"""

import codecs
import html
import json
import math
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError, why_unreadable
from afterview.configs.system_errors import reason

LARGEST_FILE: Final = 32 << 20  # bytes
LONGEST_SENT: Final = 500_000  # characters that come with a request: some seven hours of talk as .srt
FORMS: Final = ".srt, .vtt and the JSON of LongVideoBench are read"

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[,.](\d{1,6}))?"
_ARROW = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}")
_CLOCK = re.compile(rf"^\s*{_TIME}\s*$")
_WHOLE_TIME = r"\d{1,4}:\d{1,2}:\d{1,2}(?:[,.]\d{1,6})?"
_TIMES = re.compile(
    rf"^\s*{_WHOLE_TIME}\s*[-=>\u2013\u2014\u2192]{{1,4}}\s*{_WHOLE_TIME}\s*$"
)  # with a wrong arrow; `10:30 - 11:45` is text
_NO_ENTRY = ("WEBVTT", "NOTE", "STYLE", "REGION")  # blocks of WebVTT
# Of HTML, of SubStation Alpha, which .srt files hold, too, and the times of words in WebVTT.
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.,]*>|\{\\[^{}]*\}")


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
    return parse_subtitles(read_text(path), str(path), begins_s=begins_s, ends_s=ends_s)


def read_text(path: Path) -> str:
    """What a file holds: UTF-8, or UTF-16 where it says so. Raises UsageError."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise UsageError(f"{path}: is no file; name a file of subtitles")
        if state.st_size > LARGEST_FILE:
            raise UsageError(f"{path}: has more than {LARGEST_FILE >> 20} MB; subtitles are smaller")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "no file has such a name"
        raise UsageError(f"{path}: cannot be read ({why}); name a file of subtitles") from None
    utf_16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        return data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: is not {'UTF-16' if utf_16 else 'UTF-8'} (byte {error.start}); convert it: iconv -f windows-1252 -t utf-8 OLD > NEW"
        ) from None


def parse_subtitles(text: str, name: str, *, begins_s: float = 0.0, ends_s: float = math.inf) -> SubtitleFile:
    """The same of a text. name: what errors call it, which never quote the text."""
    text = text.lstrip("\ufeff")
    found = _from_json(text, name, begins_s + ends_s) if is_json(text) else _from_text(text)
    if not found.lines:
        raise UsageError(f"{name}: holds no subtitles; {FORMS}")
    own = [line.moved(-begins_s) for line in found.lines if line.end >= begins_s]
    return SubtitleFile(tuple(sorted(own, key=lambda line: (line.start, line.end))), found.unreadable)


def is_json(text: str) -> bool:
    """Whether a text can only be JSON: SubRip begins with a number or a time, WebVTT with its name."""
    return text.lstrip()[:1] in ("[", "{")


def clock_seconds(text: object) -> float | None:
    """`01:02:03,5`, `02:03.5`, or a number, in seconds. None if it is no time."""
    if isinstance(text, bool):
        return None
    found = _CLOCK.match(text) if isinstance(text, str) else None
    if found is not None:
        return _seconds(found.groups())
    try:
        value = float(text) if isinstance(text, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")


def _from_text(text: str) -> SubtitleFile:
    """SubRip and WebVTT. Times begin an entry, and what follows is its text: up to an empty line, or to the next times where that line was
    forgotten. What belongs to no entry with times that can be read counts as unreadable: as the text of the line before it, a line of later
    would be shown too early."""
    rows = re.sub(r"\r*\n|\r", "\n", text).split("\n")
    reader = _TextReader(webvtt=rows[0].startswith("WEBVTT"))
    for row in rows:
        reader.read(row)
    reader.read("")
    lines = [Subtitle(start, end, _plain(" ".join(words))) for start, end, words in reader.entries]
    return SubtitleFile(tuple(lines), reader.unreadable)


class _TextReader:
    """Rows, one after the other. entries: start, end, rows of text. block: rows since the last empty one that follow no times."""

    def __init__(self, *, webvtt: bool) -> None:
        self.entries: list[tuple[float, float, list[str]]] = []
        self.unreadable = 0
        self._webvtt = webvtt
        self._block: list[str] = []
        self._words: list[str] | None = None  # of the entry whose text is being read, which may be one without times
        self._empty = False  # the last entry has no text so far

    def read(self, row: str) -> None:
        if _TIMES.match(row) or "-->" in row:
            self._begin(row)
        elif not row.strip():
            self._end_block()
            self._empty = self._words == [] or (self._empty and self._words is None)
            self._words = None
        elif self._words is not None:
            self._words.append(row)
        else:
            self._block.append(row)

    def _begin(self, row: str) -> None:
        """Times. The row before them may be the entry's number, or its name (WebVTT)."""
        before = self._block if self._words is None else self._words
        named = self._webvtt and before is self._block
        if before and (named or (before[-1].strip().isdecimal() and (before is self._block or len(before) > 1))):
            before.pop()
        self._end_block()
        found = _ARROW.match(row)
        start, end = (_seconds(found.groups()[:4]), _seconds(found.groups()[4:])) if found else (0.0, -1.0)
        self._words, self._empty = [], False
        if end < start:
            self.unreadable += 1
        else:
            self.entries.append((start, end, self._words))

    def _end_block(self) -> None:
        """What stood between empty lines without times: the text of an entry whose first row was empty; else it belongs to none."""
        block, self._block = self._block, []
        if not block or (self._webvtt and block[0].startswith(_NO_ENTRY)):
            return
        if self._empty and self.entries and not block[0].strip().isdecimal():
            self.entries[-1][2].extend(block)
            self._empty = False
        else:
            self.unreadable += 1


def _from_json(text: str, name: str, end_s: float) -> SubtitleFile:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: cannot be read ({why_unreadable(error)})") from None
    if not isinstance(entries, list):
        raise UsageError(f"{name}: is no list of subtitles; {FORMS}")
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
    """Without tags, in one line, and without halves of surrogate pairs, which are no text."""
    words = re.sub(r"\s+", " ", html.unescape(_TAG.sub("", text))).strip()
    return words.encode(errors="replace").decode()
