"""A snapshot URL: every request gives one picture. It is asked for at the sampling rate."""

import threading
from collections.abc import Callable, Iterator

from afterview.stream.errors import SourceLost, SourceTimeout
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.pictures.http_session import HttpSession, NotUnderstood, Reply
from afterview.stream.source.pictures.jpeg_end import PictureEnd, format_of
from afterview.stream.source.pictures.parts import MOST_BYTES, Found

_UNCHANGED_S = 60.0  # of identical pictures until that is said

Wait = Callable[[float], object]


def take_picture(data: bytes, at: float) -> Found | None:
    """The picture that an answer's body holds; None if it is none."""
    kind = format_of(data)
    if kind is None or kind == "unknown":
        return None
    end = PictureEnd(kind).find(bytearray(data))
    return Found(data, kind, at, end is None or end.cut)


def read_body(
    reply: Reply, address: SourceAddress, limit_s: float, monotonic: Callable[[], float]
) -> tuple[bytes, float]:
    """The whole body, and when its first bytes came. Raises SourceError."""
    data, first, deadline = bytearray(), None, monotonic() + limit_s
    while True:
        more = reply.read(max(0.0, deadline - monotonic()))
        first = monotonic() if first is None else first
        if more is None:
            raise SourceTimeout(f"{address.redacted}: the picture did not come within {limit_s:g} s")
        if not more:
            return bytes(data), first
        data += more
        if len(data) > MOST_BYTES:
            raise SourceLost(f"{address.redacted}: the picture takes more than {MOST_BYTES >> 20} MiB")


class Snapshots:
    """The pictures of a snapshot URL. See PictureFeed.

    Request k is sent k periods after the first picture came. A server that is slower is asked again when the next request is due, so
    requests do not pile up. A picture that came cut off is asked for again at once, unless all of them are.
    """

    def __init__(
        self,
        address: SourceAddress,
        session: HttpSession,
        first: Found,
        *,
        fps: float,
        tag: str,
        read_timeout_s: float,
        stop: threading.Event,
        wait: Wait,
        monotonic: Callable[[], float],
    ) -> None:
        self._address, self._session, self._first, self._tag = address, session, first, tag
        self._period, self._timeout_s, self._stop = 1 / fps, read_timeout_s, stop
        self._wait, self._monotonic = wait, monotonic
        self.longest_step_s = self._period + read_timeout_s
        self.note = ""
        self.identical = 0  # pictures in a row that equal the one before
        self._changed_at = first.at

    def pictures(self) -> Iterator[Found]:
        """See PictureFeed."""
        yield self._first
        latest, began, number = self._first, self._first.at, 0
        whole, again = not self._first.cut, False  # one was whole; this request repeats the last
        while not self._stop.is_set():
            again = latest.cut and whole and not again
            if not again:
                number = max(number + 1, int((self._monotonic() - began) / self._period))
                self._wait(max(0.0, began + number * self._period - self._monotonic()))
            if self._stop.is_set():
                return
            found, tag = self._ask()
            self._compare(found, tag, latest)
            latest, self._tag = found, tag
            whole = whole or not found.cut
            yield found

    def _ask(self) -> tuple[Found, str]:
        try:
            reply = self._session.get(self._timeout_s)
        except NotUnderstood as error:
            raise SourceLost(f"{self._address.redacted}: the answer is not understood ({error})") from None
        try:
            data, at = read_body(reply, self._address, self._timeout_s, self._monotonic)
        finally:
            reply.close()
        found = take_picture(data, at)
        if found is None:
            said = reply.content_type or "no type stated"
            raise SourceLost(f"{self._address.redacted}: the answer is no picture any more ({said}, {len(data)} bytes)")
        return found, reply.tag

    def _compare(self, found: Found, tag: str, latest: Found) -> None:
        if found.data == latest.data or (tag and tag == self._tag):
            self.identical += 1
            if found.at - self._changed_at >= _UNCHANGED_S and not self.identical_said:
                since = found.at - self._changed_at
                self.note = f"the snapshot has not changed for {since:.0f} s ({self.identical} identical pictures); is the camera still on?"
            return
        if self.identical_said:
            self.note = "the snapshot changes again"
        self.identical, self._changed_at = 0, found.at

    @property
    def identical_said(self) -> bool:
        """Whether the note says that the picture does not change."""
        return "not changed" in self.note

    def ending(self) -> str:
        """See PictureFeed."""
        return ""

    def close(self) -> None:
        """See PictureFeed."""
        self._session.close()
