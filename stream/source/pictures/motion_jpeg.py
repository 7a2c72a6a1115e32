"""Pictures that come one after the other in one endless answer: multipart, or JPEGs without anything between them."""

from collections.abc import Callable, Iterator

from afterview.stream.errors import NotAVideo, SourceError, SourceLost, SourceTimeout
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.pictures.http_session import HttpSession, Reply
from afterview.stream.source.pictures.parts import Found, PartError, PictureParts
from afterview.stream.source.pictures.picture_silence import PictureSilence

_NO_PICTURES_AFTER = 16  # parts without a picture among them


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
        self._pictures = 0

    def pictures(self) -> Iterator[Found]:
        """See PictureFeed."""
        parts, silence, now = self._parts, self._silence, self._monotonic()
        yield from self._take(self._found, now)
        self._found = []
        while True:
            silence.paused(self._monotonic() - now)
            left_s = silence.left_s(self._monotonic(), inside=parts.inside)
            # After the final boundary nothing should come, but some cameras write one after every picture.
            data = self._reply.read(min(left_s, silence.read_timeout_s) if parts.closed else left_s)
            now = self._monotonic()
            if data == b"" or (data is None and parts.closed):
                yield from self._take(parts.end(), now)
                return
            if data is None:
                raise self._silent(now)
            silence.bytes_came(now)
            try:
                found = parts.feed(data, now)
            except PartError as error:
                failure = SourceLost(f"{self._address.redacted}: cannot be read as motion JPEG: {error}")
            else:
                if not found and (silence.left_s(now, inside=parts.inside) <= 0 or self._is_no_picture_stream()):
                    raise self._silent(now)
                yield from self._take(found, now)
                continue
            raise failure

    def _is_no_picture_stream(self) -> bool:
        return not self._pictures and self._parts.skipped >= _NO_PICTURES_AFTER

    def _silent(self, now: float) -> SourceError:
        """Why the connection ends."""
        skipped, kind = self._parts.skipped, self._parts.skipped_type or "no type stated"
        if self._is_no_picture_stream():
            return NotAVideo(
                f"{self._address.redacted}: its parts are no pictures ({kind}); give the camera's motion JPEG, snapshot or RTSP address"
            )
        reason = self._silence.reason(now, inside=self._parts.inside)
        others = f"; {skipped} parts that are no pictures came ({kind})" if skipped and not self._pictures else ""
        return SourceTimeout(f"{self._address.redacted}: {reason}{others}")

    def _take(self, found: list[Found], now: float) -> Iterator[Found]:
        self._note_skipped()
        for picture in found:
            self._silence.picture_came(now)
            self._pictures += 1
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
