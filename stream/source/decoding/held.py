"""Packets that wait undecoded, and the times of pictures."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import av

from afterview.stream.source.decoding.packet_kind import PacketKind

Packet: TypeAlias = "av.Packet[Any]"


class PacketNumber(int):
    """The number of one packet, an object of its own: PyAV knows what is attached to a packet by the object's address, and forgets it for
    all packets when one is freed. Small integers are one object for all cameras.
    """


@dataclass(frozen=True, slots=True)
class Times:
    """Of a picture, in units of the stream; None if unknown."""

    pts: int | None
    dts: int | None
    duration: int

    @classmethod
    def of(cls, what: "Packet | av.VideoFrame") -> "Times":
        """Of a packet, or of the frame that was decoded from it."""
        return cls(what.pts, what.dts, what.duration or 0)


@dataclass(slots=True, eq=False)
class Held:
    """A packet whose picture's turn may not have come."""

    packet: Packet
    kind: PacketKind
    pts: int
    number: int  # the decoder returns it with the frame: times may repeat

    def __lt__(self, other: "Held") -> bool:
        return self.pts < other.pts

    @property
    def shown(self) -> bool:
        """Whether it has a picture that is shown."""
        return self.kind.picture and not self.packet.is_discard


def number_of(frame: av.VideoFrame) -> int:
    """The number of the packet that the decoder made this frame from; 0: none that has a number."""
    number = frame.opaque
    return number if isinstance(number, PacketNumber) else 0


def with_data(held: Held, data: bytes) -> Packet:
    """A packet of the same picture with other data."""
    packet, copy = held.packet, av.Packet(data)
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.is_keyframe, copy.opaque = packet.is_keyframe, PacketNumber(held.number)
    return copy
