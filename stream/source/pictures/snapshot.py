"""A snapshot URL: every request gives one picture. It is asked for at the sampling rate."""

import math
import threading
from collections.abc import Callable, Iterator

from afterview.stream.errors import AuthenticationFailed, SourceError, SourceLost, SourceTimeout
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.pictures.http_session import CutOff, HttpSession, NotUnderstood, Reply, Stopped
from afterview.stream.source.pictures.jpeg_end import WHOLE_FILES, PictureEnd, file_format_of
from afterview.stream.source.pictures.parts import MOST_BYTES, Found

ONE_MORE_S = 1.0  # after a picture: the answer ends within this, or goes on
_UNCHANGED_S = 60.0  # of identical pictures until that is said

Wait = Callable[[float], object]


def take_picture(data: bytes, at: float) -> Found | None:
    """The picture that an answer's body holds; None if it is none."""
    data = data.lstrip(b"\r\n\t ")
    kind = file_format_of(data)
    if kind is None:
        return None
    end = None if kind in WHOLE_FILES else PictureEnd(kind).find(bytearray(data))
    return Found(data, kind, at, kind not in WHOLE_FILES and (end is None or end.cut))


def read_body(
    reply: Reply, address: SourceAddress, limit_s: float, monotonic: Callable[[], float], head: bytes = b""
) -> tuple[bytes, float]:
    """The whole body, and when its first bytes came. head: its beginning, which was read before. Raises SourceError.

    A server may state a longer body than it sends: a whole picture after which nothing comes for a second is an answer, and so is what a
    connection brought that was cut.
    """
    data, first, deadline = bytearray(head), None, monotonic() + limit_s
    while True:
        left_s = max(0.0, deadline - monotonic())
        try:
            more = reply.read(min(left_s, ONE_MORE_S))
        except CutOff:
            if not data:
                raise
            more = b""
        first = monotonic() if first is None else first
        if more is None:
            found = take_picture(bytes(data), first)
            if found is not None and not found.cut and found.kind not in WHOLE_FILES:
                return bytes(data), first
            if left_s > ONE_MORE_S:
                first = first if data else None
                continue
            raise SourceTimeout(
                f"{address.redacted}: the picture did not come within {limit_s:g} s; a slower camera needs a longer --read-timeout"
            )
        if not more:
            return bytes(data), first
        data += more
        if len(data) > MOST_BYTES:
            raise SourceLost(f"{address.redacted}: the picture takes more than {MOST_BYTES >> 20} MiB")


class Snapshots:
    """The pictures of a snapshot URL. See PictureFeed.

    Request k is sent k periods after the first picture came. A server that is slower is asked again when the next request is due, so
    requests do not pile up. A picture that came cut off is asked for again at once, unless all of them are.
    A request that fails (busy, no picture, an empty answer) is no outage: the next one is sent when it is due, or when the server wants it
    (Retry-After). The source is lost when no picture came for the read timeout, or when the login is refused.
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
        self._changed_at = self._picture_at = first.at
        self._failed = 0  # requests
        self._failed_why = ""  # for people

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
            answer = self._try(latest)
            if answer is None:
                number = self._later(number, began)
                continue
            found, tag = answer
            self._compare(found, tag, latest)
            latest, self._tag = found, tag
            whole = whole or not found.cut
            yield found

    def _try(self, latest: Found) -> tuple[Found, str] | None:
        """The next picture and its tag; None if the request failed, which may pass. Raises SourceError when it has lasted too long."""
        try:
            answer = self._ask(latest)
        except (AuthenticationFailed, Stopped):
            raise
        except SourceError as error:
            self._failed += 1
            why = str(error).removeprefix(f"{self._address.redacted}: ")
            if why != self._failed_why:
                self._failed_why = why
                self.note = f"not every request gives a picture; the latest failure: {why}"
            if self._monotonic() - self._picture_at >= self._timeout_s:
                raise
            return None
        self._picture_at = answer[0].at
        return answer

    def _later(self, number: int, began: float) -> int:
        """The number of the latest request that is left out because the server wants to be asked later."""
        now = self._monotonic()
        wanted = min(now + self._session.retry_after_s, self._picture_at + self._timeout_s)
        return max(number, math.ceil((wanted - began) / self._period) - 1)

    def _ask(self, latest: Found) -> tuple[Found, str]:
        try:
            reply = self._session.get(self._timeout_s, again=True)
        except NotUnderstood as error:
            raise SourceLost(f"{self._address.redacted}: the answer is not understood ({error})") from None
        except SourceTimeout as error:
            raise SourceTimeout(f"{error}; a slower camera needs a longer --read-timeout") from None
        if reply.unchanged:
            reply.read(ONE_MORE_S)  # to its end, which keeps the connection
            reply.close()
            return latest._replace(at=self._monotonic()), self._tag
        try:
            data, at = read_body(reply, self._address, self._timeout_s, self._monotonic)
        finally:
            reply.close()
        found = take_picture(data, at)
        if found is None:
            said = reply.content_type or "no type stated"
            remedy = "; is the camera on?" if not data else "; has its login ended?" if "html" in said.lower() else ""
            raise SourceLost(
                f"{self._address.redacted}: the answer is no picture any more ({said}, {len(data)} bytes){remedy}"
            )
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
        return f"{self._failed} requests without a picture" if self._failed else ""

    def close(self) -> None:
        """See PictureFeed."""
        self._session.close()
