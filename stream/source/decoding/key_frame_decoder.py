"""Decodes key frames alone, for very many cameras: the sampling follows the key frames (`--decode keyframes`)."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import av

from afterview.stream.source.decoding.damage import Damage
from afterview.stream.source.decoding.held import Packet, PacketNumber, Times

Moment = TypeVar("Moment")


class KeyFrameDecoder(Generic[Moment]):
    """Of one connection; see LazyDecoder. decoded: packets given to the decoder. damaged: those that are marked so, or that it refused."""

    def __init__(
        self, context: av.VideoCodecContext, moment: Callable[[Times], Moment], due: Callable[[Moment], bool]
    ) -> None:
        """moment: called for every picture, in the order of decoding. due: whether a key frame is wanted."""
        self._context, self._moment, self._due = context, moment, due
        self.decoded = self.damaged = 0
        self.damage, self.turn = Damage(context), 0
        self._begun = False  # a key frame was shown; before, there is nothing to tell

    def take(self, packet: "Packet | None") -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        """The picture of this packet; None: not decoded. At the end: None, which gives nothing."""
        if packet is None:
            return
        self.turn += 1
        packet.opaque = PacketNumber(self.turn)
        self.damage.packet(self.turn, packet)
        if not packet.is_keyframe:
            if self._begun:
                yield self._moment(Times.of(packet)), None
            return
        self.damaged += self.damage.marked(packet)
        moment = self._moment(Times.of(packet))
        if self._begun and not self._due(moment):
            yield moment, None
            return
        for frame in self._decode(packet)[:1]:
            self._begun = True
            yield moment, frame

    def _decode(self, packet: Packet) -> list[av.VideoFrame]:
        """One packet after a flush, drained at once: nothing before it is needed, and it must not wait for what follows."""
        self._context.flush_buffers()
        self.decoded += 1
        try:
            frames = [*self._context.decode(packet), *self._context.decode(None)]
        except (av.FFmpegError, ValueError):
            self.damaged += not self.damage.marked(packet)  # otherwise it is counted
            frames = self.damage.refused(packet)
        self.damage.decoded(frames)
        return frames
