"""Takes the pictures out of an HTTP body: multipart of every dialect, or JPEGs one after the other. Pure: bytes in, pictures out.

Cameras disagree about multipart: the boundary may stand in the header with its dashes or without, in quotes or not at all; the first part
may have none; lines end in CRLF or LF; a part's length may be missing or wrong, and its type may be anything. So the content decides:
a part is a picture if its first bytes say so, and it ends where the picture ends, at the latest at the next boundary.
"""

from email.message import Message
from typing import NamedTuple

from afterview.stream.source.address.redact import redact
from afterview.stream.source.pictures.jpeg_end import SOI, Format, PictureEnd, format_of

MOST_BYTES = 64 << 20  # of one picture
MOST_HEADER_BYTES = 64 << 10  # of one part
_LONGEST_BOUNDARY = 100  # bytes; RFC 2046 allows 70
_SHORT = 4  # bytes; a boundary shorter than this counts at the beginning of a line only, as it may occur in a picture
_QUOTED = 80  # letters of a text that are shown
_MAYBE_PICTURES = ("image/", "application/octet-stream", "video/")  # types of parts in which a picture is looked for


class PartError(Exception):
    """The body cannot be read on; the text says why."""


class Found(NamedTuple):
    """A picture. at: when its first byte came, as `feed` was told. cut: the end is missing."""

    data: bytes
    kind: Format
    at: float
    cut: bool


def content_type(value: str) -> tuple[str, str]:
    """The type in a Content-Type header, in small letters, and its boundary ('' if there is none)."""
    message = Message()
    message["Content-Type"] = value
    kind = value.partition(";")[0].strip().lower()
    try:
        boundary = message.get_param("boundary", "")
    except (ValueError, IndexError, UnicodeError):
        boundary = ""
    return kind, boundary if isinstance(boundary, str) else ""


def _first_line(data: bytes) -> str:
    """Of a text, for people."""
    line = redact((data.decode("utf-8", "replace").strip().splitlines() or [""])[0])[:_QUOTED]
    return line if line.isprintable() else ""


class PictureParts:
    """Of one body. closed: the final boundary came last.

    skipped: parts that were no pictures; skipped_type: the type of the latest; skipped_text: the latest short text among them, for people.
    empty_parts: those without data.
    """

    def __init__(self, boundary: str = "") -> None:
        """boundary: as the Content-Type states it; '' where it states none."""
        self.skipped, self.skipped_type, self.skipped_text = 0, "", ""
        self.closed, self.empty_parts = False, 0
        self._shortened = False  # of the part that is passed over, some bytes are gone
        # The boundary without the dashes before it. None: unknown.
        self._token: bytes | None = boundary.strip().strip('"').lstrip("-").encode("latin-1", "ignore") or None
        self._seen = False  # the boundary occurred in the body ...
        self._dashed = False  # ... with dashes before it, as it should
        self._data = bytearray()
        self._at = 0.0
        self._headers: dict[str, str] | None = None  # of the part that begins; None: before its boundary
        self._header_bytes = 0
        self._state = self._between
        self._begun: tuple[Format, float, PictureEnd] | None = None
        self._searched = 0
        self._rest = 0  # bytes of a part after its picture

    @property
    def inside(self) -> bool:
        """Whether a picture has begun and not ended."""
        return self._state == self._picture

    def feed(self, data: bytes, at: float) -> list[Found]:
        """Take the next bytes; the pictures that end in them. at: the time, in any unit. Raises PartError."""
        self._data += data
        self._at = at
        found: list[Found] = []
        while self._data and self._state(found):
            pass
        return found

    def end(self) -> list[Found]:
        """The body is over: the picture that was begun, if any."""
        found: list[Found] = []
        if self._state == self._picture:
            self._emit(found, len(self._data), cut=True)
        return found

    # --- each state returns whether it got on; it is called with at least one byte ---

    def _between(self, found: list[Found]) -> bool:
        """Boundaries, headers, and what stands around them."""
        data = self._data
        kind = format_of(data)
        if kind not in (None, "unknown"):
            self._state = self._body
            return True
        line_end = data.find(b"\n")
        start = data.find(SOI, 0, line_end if line_end >= 0 else len(data))
        if start > 0:
            del data[:start]
            return True
        if line_end < 0:
            if len(data) > MOST_HEADER_BYTES:
                del data[: -len(SOI)]  # no line: padding, or data of a picture that was broken
            return False
        if kind == "unknown":
            return False
        line = bytes(data[:line_end]).strip(b"\r\t ")
        del data[: line_end + 1]
        self._line(line)
        return True

    def _line(self, line: bytes) -> None:
        if not line:
            if self._headers:  # the blank line after the headers
                self._state = self._body
            return
        boundary = self._boundary(line)
        if boundary:
            self._headers, self._header_bytes, self.closed = {}, 0, boundary == "last"
            return
        self._header_bytes += len(line)
        if self._header_bytes > MOST_HEADER_BYTES:
            raise PartError(f"the headers of a part take more than {MOST_HEADER_BYTES >> 10} KiB")
        name, colon, value = line.partition(b":")
        if colon and name.strip() and b" " not in name.strip():
            self._headers = self._headers or {}
            self._headers[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()

    def _boundary(self, line: bytes) -> str:
        """Whether this line is a boundary: "next", "last" or ''. The first line that looks like one counts if no other is known."""
        bare = line.lstrip(b"-")
        if self._token is not None and bare in (self._token, self._token + b"--"):
            self._seen, self._dashed = True, line.startswith(b"--")
            return "next" if bare == self._token else "last"
        if not self._seen and line.startswith(b"--") and bare and len(line) <= _LONGEST_BOUNDARY:
            self._token, self._seen, self._dashed = bare, True, True
            return "next"
        return ""

    def _body(self, found: list[Found]) -> bool:
        """What is it?"""
        data = self._data
        blank = len(data) - len(data.lstrip(b"\r\n"))
        if blank:
            del data[:blank]
            return True
        if self._delimiter(0) == 0:
            self.empty_parts += 1
            return self._next_part()
        kind = format_of(data)
        if kind == "unknown":
            return False
        self._searched = 0
        if kind is None:
            self._state = self._other
            self.skipped += 1
            self.skipped_type, self._shortened = (self._headers or {}).get("content-type", ""), False
            self._rest = self._length()
            return True
        self._begun, self._state = (kind, self._at, PictureEnd(kind)), self._picture
        self._rest = self._length()
        self.closed = False
        return True

    def _picture(self, found: list[Found]) -> bool:
        assert self._begun is not None
        end = self._begun[2].find(self._data)
        boundary = self._boundary_outside(self._begun[2])
        if boundary is not None and boundary > len(self._data):
            return False  # a comment that is not complete holds a boundary, or the picture was cut in it
        if boundary is not None and (end is None or boundary < end.at):
            self._emit(found, boundary, cut=True)
            return self._next_part()
        if end is not None:
            self._rest = self._rest - end.at if self._seen and not end.cut else 0
            self._emit(found, end.at, cut=end.cut)
            self._headers, self._header_bytes = None, 0
            self._state = self._trailer if self._rest > 0 else self._between
            return True
        self._searched = max(0, len(self._data) - _LONGEST_BOUNDARY)
        if len(self._data) > MOST_BYTES:
            raise PartError(f"a picture of more than {MOST_BYTES >> 20} MiB")
        return False

    def _boundary_outside(self, picture: PictureEnd) -> int | None:
        """Where the next boundary begins that stands in no comment of the picture. Beyond the data: that cannot be told yet."""
        place = self._delimiter(self._searched)
        while place is not None and (past := picture.past_note(place)) is not None:
            if past >= len(self._data):
                return past + 1
            place = self._delimiter(past)
        return place

    def _emit(self, found: list[Found], end: int, *, cut: bool) -> None:
        assert self._begun is not None
        kind, at, _ = self._begun
        found.append(Found(bytes(self._data[:end]), kind, at, cut))
        del self._data[:end]
        self._begun, self._searched, self._state = None, 0, self._between

    def _trailer(self, found: list[Found]) -> bool:
        """What follows the picture in its part, by the stated length; that may be wrong."""
        boundary = self._delimiter(0)
        if boundary is not None:
            del self._data[:boundary]
            return self._next_part()
        gone = min(self._rest, max(0, len(self._data) - _LONGEST_BOUNDARY))
        if len(self._data) >= self._rest + _LONGEST_BOUNDARY:
            gone = self._rest
        del self._data[:gone]
        self._rest -= gone
        if self._rest == 0:
            return self._next_part()
        return False

    def _other(self, found: list[Found]) -> bool:
        """A part that is no picture: it is passed over."""
        data = self._data
        ends = [self._delimiter(0)]
        kind = (self._headers or {}).get("content-type", "image/").lower()
        if kind.startswith(_MAYBE_PICTURES):
            start = data.find(SOI)
            if start >= 0 and (ends[0] is None or start < ends[0]):
                self.skipped -= 1
                del data[:start]
                self._state = self._body
                return True
        if self._token is None:
            ends += [self._rest if 0 < self._rest <= len(data) else None]
            start = data.find(b"\n--")
            ends += [start + 1 if start >= 0 else None]
        end = min((end for end in ends if end is not None), default=None)
        if end is not None:
            if kind.startswith("text/") and not self._shortened:
                self.skipped_text = _first_line(bytes(data[:end]))
            del data[:end]
            return self._next_part()
        gone = max(0, len(data) - _LONGEST_BOUNDARY)
        self._shortened = self._shortened or gone > 0
        del data[:gone]
        self._rest -= gone
        return False

    def _next_part(self) -> bool:
        self._headers, self._header_bytes, self._state = None, 0, self._between
        return bool(self._data)

    def _length(self) -> int:
        text = (self._headers or {}).get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0

    def _delimiter(self, start: int) -> int | None:
        """Where a known boundary begins in the data, with its dashes."""
        if self._token is None:
            return None
        if self._data.startswith(b"--" + self._token):
            return 0
        if len(self._token) < _SHORT:
            return self._data.find(b"\n--" + self._token, start) + 1 or None
        place = self._data.find(b"--" + self._token, start)
        if place < 0 and not self._dashed:
            place = self._data.find(b"\n" + self._token, start) + 1 or -1
        return None if place < 0 else place
