"""Pictures that come one after the other in one endless answer: multipart, or JPEGs without anything between them."""

import logging
from collections.abc import Callable, Iterator

from afterview.stream.errors import SourceLost, SourceTimeout
from afterview.stream.source.address import SourceAddress
from afterview.stream.source.http_session import HttpSession, Reply
from afterview.stream.source.parts import Found, PartError, PictureParts
from afterview.stream.source.picture_silence import PictureSilence

_AFTER_THE_LAST_S = 2.0  # after the final boundary; some cameras write one after every picture

_LOGGER = logging.getLogger(__name__)


class MotionJpeg:
    """The pictures of one answer. See PictureFeed."""

    def __init__(
        self,
        address: SourceAddress,
        session: HttpSession,
        reply: Reply,
        parts: PictureParts,
        *,
        read_timeout_s: float,
        monotonic: Callable[[], float],
        found: list[Found],
    ) -> None:
        """found: pictures that were read while the kind of the answer was found out."""
        self._address, self._session, self._reply, self._parts = address, session, reply, parts
        self._monotonic, self._found = monotonic, found
        self._silence = PictureSilence(read_timeout_s, monotonic())
        self.longest_step_s = self._silence.longest_s
        self.note = ""

    def pictures(self) -> Iterator[Found]:
        """See PictureFeed."""
        parts, silence, now = self._parts, self._silence, self._monotonic()
        yield from self._take(self._found, now)
        self._found = []
        while True:
            silence.paused(self._monotonic() - now)
            left_s = silence.left_s(self._monotonic(), inside=parts.inside)
            data = self._reply.read(min(left_s, _AFTER_THE_LAST_S) if parts.closed else left_s)
            now = self._monotonic()
            if data == b"" or (data is None and parts.closed):
                yield from self._take(parts.end(), now)
                return
            if data is None:
                raise SourceTimeout(f"{self._address.redacted}: {silence.reason(now, inside=parts.inside)}")
            silence.bytes_came(now)
            try:
                found = parts.feed(data, now)
            except PartError as error:
                failure = SourceLost(f"{self._address.redacted}: cannot be read as motion JPEG: {error}")
            else:
                if not found and silence.left_s(now, inside=parts.inside) <= 0:
                    raise SourceTimeout(f"{self._address.redacted}: {silence.reason(now, inside=parts.inside)}")
                yield from self._take(found, now)
                continue
            raise failure

    def _take(self, found: list[Found], now: float) -> Iterator[Found]:
        self._note_skipped()
        for picture in found:
            self._silence.picture_came(now)
            yield picture

    def _note_skipped(self) -> None:
        parts = self._parts
        if parts.skipped and not self.note:
            self.note = f"sends parts that are no pictures ({parts.skipped_type or 'no type stated'}); they are skipped"

    def ending(self) -> str:
        """See PictureFeed."""
        skipped = self._parts.skipped
        return (
            f"{skipped} part{'s' * (skipped > 1)} that {'were no pictures' if skipped > 1 else 'was no picture'} skipped"
            if skipped
            else ""
        )

    def close(self) -> None:
        """See PictureFeed."""
        self._reply.close()
        self._session.close()
