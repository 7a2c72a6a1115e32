"""Finds where a picture ends among the bytes of a stream. Pure.

A JPEG is read by its structure, so markers inside an embedded thumbnail (EXIF) do not end it.
"""

import re
from typing import Literal, NamedTuple

Decoded = Literal["mjpeg", "png", "webp"]  # names of FFmpeg's decoders
Format = Decoded | Literal["gif", "bmp", "tiff", "avif"]

WHOLE_FILES = ("gif", "bmp", "tiff", "avif")  # these are read by the file, where an answer is one picture

SOI = b"\xff\xd8\xff"  # a JPEG begins so
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
_RIFF, _WEBP = b"RIFF", b"WEBP"
_SNIFF = 12  # bytes that tell every format
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # what ends the data of a scan
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Segments that may follow a scan: tables, comments, application data and further scans. Others are damage.
_BETWEEN_SCANS = {0xC4, 0xCC, _SOS, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}


class End(NamedTuple):
    """at: the byte after the picture. cut: it ends before its own end marker."""

    at: int
    cut: bool = False


def format_of(data: bytes | bytearray) -> Format | Literal["unknown"] | None:
    """The format of the picture that begins here; None: it is none; "unknown": more bytes are needed."""
    head = bytes(data[:_SNIFF])
    if head.startswith(SOI):
        return "mjpeg"
    if head.startswith(_PNG):
        return "png"
    if head.startswith(_RIFF) and head[8:] == _WEBP:
        return "webp"
    partial = SOI.startswith(head) or _PNG.startswith(head)
    riff = _RIFF.startswith(head[:4]) and _WEBP.startswith(head[8:])
    return "unknown" if len(head) < _SNIFF and (partial or riff) else None


def file_format_of(data: bytes) -> Format | None:
    """The format of a whole picture file, of any that can be read."""
    kind = format_of(data)
    if kind is not None and kind != "unknown":
        return kind
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1"):
        return "avif"
    starts: tuple[tuple[bytes, Format], ...] = (
        (b"GIF8", "gif"), (b"BM", "bmp"), (b"II*\0", "tiff"), (b"MM\0*", "tiff"),
    )  # fmt: skip
    return next((kind for start, kind in starts if data.startswith(start)), None)


class PictureEnd:
    """Of one picture, whose bytes come piece by piece."""

    def __init__(self, kind: Format) -> None:
        self._kind = kind
        self._at = 2  # up to here the picture is known
        self._in_scan = False
        self._table_at: int | None = None  # a segment that cannot hold another picture, before _at
        self._note_at: int | None = None  # a comment or application data, which may hold anything, before _at
        self._notes: list[tuple[int, int]] = []  # such segments that a marker follows: they are whole

    def find(self, data: bytearray) -> End | None:
        """data: all bytes so far, from the picture's first one. None: more are needed."""
        if self._kind == "mjpeg":
            return self._jpeg(data)
        if self._kind == "webp":
            length = 8 + int.from_bytes(data[4:8], "little") if len(data) >= 8 else 0
            length += length % 2
            return End(length) if 8 <= length <= len(data) else None
        found = data.find(_PNG_END, max(0, self._at - len(_PNG_END)))
        self._at = len(data)
        return None if found < 0 else End(found + len(_PNG_END))

    def past_note(self, at: int) -> int | None:
        """Where the comment or application data ends that this byte lies in; that may be beyond the data so far. None: it lies in none."""
        if self._note_at is not None and self._note_at <= at < self._at:
            return self._at
        return next((end for begin, end in self._notes if begin <= at < end), None)

    def _jpeg(self, data: bytearray) -> End | None:
        while True:
            if self._in_scan:
                found = _MARKER.search(data, self._at)
                if found is None:
                    self._at = max(self._at, len(data) - 1)
                    return None
                self._at = found.start()
            if len(data) < self._at + 4 and not (len(data) >= self._at + 2 and data[self._at + 1] == _EOI):
                return None
            if self._table_at is not None:
                start = data.find(SOI, self._table_at, self._at + len(SOI))
                self._table_at = None
                if start >= 0:
                    return End(start, cut=True)
            marker = data[self._at + 1]
            if self._note_at is not None:
                if data[self._at] == 0xFF and marker not in (0x00, 0x01):
                    self._notes.append((self._note_at, self._at))
                self._note_at = None
            if data[self._at] == 0xFF and marker == _EOI:
                return End(self._at + 2)
            if data[self._at : self._at + 3] == SOI:
                return End(self._at, cut=True)  # the next picture begins before this one has ended
            self._step(data, marker)

    def _step(self, data: bytearray, marker: int) -> None:
        """Go past one marker, and the segment that it begins."""
        at, was_in_scan = self._at, self._in_scan
        if data[at] == 0xFF and marker == 0xFF:
            self._at += 1  # a fill byte
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        known = not was_in_scan or marker in _BETWEEN_SCANS
        if data[at] != 0xFF or not known or length < 2 or marker in (0x00, 0x01, _SOI) or 0xD0 <= marker <= 0xD7:
            self._at, self._in_scan = at + 2, True  # damage: the next marker may be sound
            return
        self._at, self._in_scan = at + 2 + length, marker == _SOS
        if marker == 0xFE or 0xE0 <= marker <= 0xEF:  # comments and application data may hold a thumbnail
            self._note_at = at + 4
        else:
            self._table_at = at + 4
