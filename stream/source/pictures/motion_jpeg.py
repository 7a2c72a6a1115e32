"""Pictures that come one after the other in one endless answer: multipart, or JPEGs without anything between them."""

from collections.abc import Callable, Iterator

from afterview.stream.errors import NotAVideo, SourceError, SourceLost, SourceTimeout
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.pictures.http_session import HttpSession, NotUnderstood, Reply
from afterview.stream.source.pictures.parts import Found, PartError, PictureParts, content_type
from afterview.stream.source.pictures.picture_silence import PictureSilence

Wait = Callable[[float], object]

_NO_PICTURES_AFTER = 16  # parts without a picture among them


class MotionJpeg:
    """The pictures of one answer. See PictureFeed.

    A server that ends its answer after one picture is asked again when the next picture is due: it is a snapshot in the dress of a stream.
    """

    def __init__(
        self,
        address: SourceAddress,
        session: HttpSession,
        reply: Reply,
        parts: PictureParts,
        *,
        read_timeout_s: float,
        period_s: float,
        wait: Wait,
        monotonic: Callable[[], float],
        found: list[Found],
    ) -> None:
        """period_s: from one request to the next. found: pictures that were read while the kind of the answer was found out."""
        self._address, self._session, self._reply, self._parts = address, session, reply, parts
        self._monotonic, self._found = monotonic, found
        self._silence = PictureSilence(read_timeout_s, monotonic())
        self.longest_step_s = self._silence.longest_s
        self.note = ""
        self._pictures = self._of_answer = 0
        self._period_s, self._wait = period_s, wait
        self._asked = monotonic()

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
                if self._of_answer != 1:
                    return
                parts = self._ask_again()
                continue
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

    def _ask_again(self) -> PictureParts:
        """Of the next answer. Raises SourceError."""
        self._reply.close()
        self._wait(max(0.0, self._asked + self._period_s - self._monotonic()))
        self._asked = self._monotonic()
        try:
            self._reply = self._session.get(self._silence.read_timeout_s)
        except NotUnderstood as error:
            raise SourceLost(f"{self._address.redacted}: the answer is not understood ({error})") from None
        self._parts, self._of_answer = PictureParts(content_type(self._reply.content_type)[1]), 0
        return self._parts

    def _is_no_picture_stream(self) -> bool:
        return not self._pictures and self._parts.skipped >= _NO_PICTURES_AFTER

    def _silent(self, now: float) -> SourceError:
        """Why the connection ends."""
        skipped, kind = self._parts.skipped, self._others()
        if self._is_no_picture_stream():
            return NotAVideo(
                f"{self._address.redacted}: its parts are no pictures ({kind}); give the camera's motion JPEG, snapshot or RTSP address"
            )
        reason = self._silence.reason(now, inside=self._parts.inside)
        others = f"; {skipped} parts that are no pictures came ({kind})" if skipped and not self._pictures else ""
        if self._parts.empty_parts and not self._pictures:
            others += f"; {self._parts.empty_parts} parts without data came; is the camera on?"
        return SourceTimeout(f"{self._address.redacted}: {reason}{others}")

    def _take(self, found: list[Found], now: float) -> Iterator[Found]:
        self._note_skipped()
        for picture in found:
            self._silence.picture_came(now)
            self._pictures += 1
            self._of_answer += 1
            yield picture

    def _note_skipped(self) -> None:
        parts = self._parts
        if parts.skipped and not self.note:
            self.note = f"sends parts that are no pictures ({parts.skipped_type or 'no type stated'}); they are skipped"

    def ending(self) -> str:
        """See PictureFeed."""
        skipped, words = self._parts.skipped, list[str]()
        if skipped:
            were = "were no pictures" if skipped > 1 else "was no picture"
            words.append(f"{skipped} part{'s' * (skipped > 1)} that {were} skipped ({self._others()})")
        if self._parts.empty_parts and not self._pictures:
            words.append(f"{self._parts.empty_parts} parts without data; is the camera on?")
        return "; ".join(words)

    def _others(self) -> str:
        """What the parts are that are no pictures."""
        text = self._parts.skipped_text
        return (self._parts.skipped_type or "no type stated") + (f": '{text}'" if text else "")

    def close(self) -> None:
        """See PictureFeed."""
        self._reply.close()
        self._session.close()
