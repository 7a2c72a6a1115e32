"""Makes the decoder of a connection, as its configuration says."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import av

from afterview.stream.source.config import Decode
from afterview.stream.source.decoding.held import Times
from afterview.stream.source.decoding.key_frame_decoder import KeyFrameDecoder
from afterview.stream.source.decoding.lazy_decoder import LazyDecoder

Due = Callable[[float | None], bool]


class HasTime(Protocol):
    """pts_s: presentation time, seconds."""

    @property
    def pts_s(self) -> float | None:
        """Presentation time in seconds; None if unknown."""


Moment = TypeVar("Moment", bound=HasTime)
Decoder = LazyDecoder[Moment] | KeyFrameDecoder[Moment]


def make_decoder(
    context: av.VideoCodecContext,
    decode: Decode,
    moment: Callable[[Times], Moment],
    due: Due | None,
    instead: Due | None,
) -> Decoder[Moment]:
    """due, instead: see Connection.frames."""
    if due is None:
        return LazyDecoder(context, moment, None)
    decoder: Decoder[Moment]

    def is_wanted(when: Moment) -> bool:
        if due(when.pts_s):
            return True
        return instead is not None and instead(when.pts_s) and not decoder.damage.suspects(decoder.turn)

    decoder = (KeyFrameDecoder if decode == "keyframes" else LazyDecoder)(context, moment, is_wanted)
    return decoder
