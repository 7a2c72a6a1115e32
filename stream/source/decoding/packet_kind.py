"""What a packet holds, read from its NAL units without decoding them. Pure.

FFmpeg's key frame flag is not enough: it also marks H.264 recovery points, from which decoding does not give the same pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

EACH_ALONE = {"mjpeg", "rawvideo", "wrapped_avframe", "png", "prores", "dnxhd", "huffyuv", "ffvhuff", "utvideo"}
"""Codecs whose pictures never need another picture, and come in the order in which they are shown."""

_HEAD_BYTES = 64  # enough for a slice's number, and for a recovery point that other messages precede

Start = Literal["no", "closed", "open"]


@dataclass(frozen=True, slots=True)
class PacketKind:
    """start: decoding can begin here, and gives the same pictures as if it had begun earlier; "open": except for the leading
    pictures that follow the packet and are shown before it. picture: there is one. disposable: no picture of its layer needs it.

    layer: temporal layer. parameters: its parameter sets, which also apply to later packets, as NAL units without start codes.
    heads: of H.264, the beginnings of its slices and messages (SEI), for `damage.py`.
    """

    picture: bool
    start: Start = "no"
    leading: bool = False
    disposable: bool = False
    layer: int = 0
    parameters: tuple[bytes, ...] = ()
    heads: tuple[bytes, ...] = field(default=(), compare=False)


class PacketKinds:
    """Reads the packets of one stream. Make one with `for_codec`."""

    def __init__(self, hevc: bool, length_bytes: int) -> None:
        """length_bytes: of the length before every NAL unit; 0: start codes (Annex B)."""
        self._hevc, self._length_bytes = hevc, length_bytes

    @classmethod
    def for_codec(cls, name: str, extradata: bytes | None) -> "PacketKinds | None":
        """None for a codec whose packets are not understood here."""
        if name not in ("h264", "hevc"):
            return None
        place = 21 if name == "hevc" else 4
        framed = extradata is not None and len(extradata) > place and not extradata.startswith((b"\0\0\1", b"\0\0\0\1"))
        return cls(name == "hevc", (extradata[place] & 3) + 1 if extradata and framed else 0)

    def of(self, data: bytes) -> PacketKind:
        """The kind of one packet. Damaged data gives some kind, never an error."""
        kinds: list[PacketKind] = []
        parameters: list[bytes] = []
        heads: list[bytes] = []
        for begin, end in self._units(data):
            if end - begin < 2:
                continue
            kind = _hevc(data[begin], data[begin + 1]) if self._hevc else _h264(data[begin])
            if not self._hevc and data[begin] & 31 in (1, 5, 6):
                heads.append(data[begin : min(end, begin + _HEAD_BYTES)])
            if kind is None:
                parameters.append(data[begin:end].rstrip(b"\0"))  # zeros belong to the next start code
            elif kind.picture:
                kinds.append(kind)
        if not kinds:
            return PacketKind(False, parameters=tuple(parameters), heads=tuple(heads))
        first = kinds[0]
        disposable = not parameters and all(kind.disposable for kind in kinds)
        return PacketKind(True, first.start, first.leading, disposable, first.layer, tuple(parameters), tuple(heads))

    def with_parameters(self, parameters: list[bytes], data: bytes) -> bytes:
        """A packet's data with parameter sets before it."""
        if self._length_bytes:
            return b"".join(len(unit).to_bytes(self._length_bytes, "big") + unit for unit in parameters) + data
        return b"".join(b"\0\0\0\1" + unit for unit in parameters) + data

    def _units(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where NAL units begin and end."""
        if self._length_bytes:
            at = 0
            while at + self._length_bytes < len(data):
                begin = at + self._length_bytes
                at = min(begin + int.from_bytes(data[at:begin], "big"), len(data))
                yield begin, at
            return
        found = data.find(b"\0\0\1")
        while found >= 0:
            begin = found + 3
            found = data.find(b"\0\0\1", begin)
            yield begin, (found if found >= 0 else len(data))


def _h264(header: int) -> PacketKind | None:
    """Of one NAL unit; None for a parameter set. ITU-T H.264, table 7-1."""
    unit = header & 31
    if unit in (7, 8, 13, 15):
        return None
    return PacketKind(1 <= unit <= 5, "closed" if unit == 5 else "no", disposable=header & 0x60 == 0)


def _hevc(header: int, second: int) -> PacketKind | None:
    """ITU-T H.265, table 7-1. Pictures of further layers (depth, other eyes) count as none."""
    unit, layer_id = header >> 1 & 63, (header & 1) << 5 | second >> 3
    if unit in (32, 33, 34):
        return None
    start: Start = "closed" if unit in (19, 20) else "open" if 16 <= unit <= 21 else "no"
    return PacketKind(
        unit < 32 and layer_id == 0,
        start,
        leading=6 <= unit <= 9,
        disposable=unit < 16 and unit % 2 == 0,
        layer=max(0, (second & 7) - 1),
    )
