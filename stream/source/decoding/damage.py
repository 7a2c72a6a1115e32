"""Judges whether a decoded picture is whole: everything that it needs came, and the decoder found nothing wrong. Pure.

FFmpeg marks the picture that a damaged packet gave, but not those that are predicted from it, nor a missing picture of H.264. So
every packet has a root, the latest one from which decoding could have begun, and a picture is whole if no packet from its root on broke.

broken packets                                    found by
marked by the demuxer (MPEG-TS: continuity)       `Packet.is_corrupt`, but not of HLS
slices missing, or not decodable                  `VideoFrame.is_corrupt`; the decoder refuses the packet
a whole picture missing, H.264                    a step in frame_num
a whole picture missing, H.265                    `VideoFrame.is_corrupt` (references are missing), if the decoder has `output_corrupt`
a JPEG cut short or with a hole                   the strict decoder refuses it

What FFmpeg decodes without an error is not found, for example most slices of H.265 that lack a part in the middle.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import av

from afterview.stream.source.decoding.held import Packet, PacketNumber, number_of
from afterview.stream.source.decoding.packet_kind import EACH_ALONE, PacketKind, PacketKinds
from afterview.stream.source.decoding.slice_heads import Sequence, read_sequence, read_slice, recovery_frames

_REMEMBERED = 4096  # packets; more than a decoder ever holds
STRICT = {"err_detect": "explode"}  # FFmpeg otherwise fills what is missing in a JPEG, and does not say so
_MANY = 50  # pictures; if half of their frame numbers do not follow, these mean nothing
_PLAIN = 2  # pictures of intra slices alone since the last root that says so: then this stream has no other roots


@dataclass(frozen=True, slots=True)
class _Root:
    """Where decoding could begin. pts: of its picture."""

    number: int
    pts: int | None
    known: bool = True  # False: the stream had no root yet


class Damage:
    """Of one connection. Tell it every packet in the order of decoding, and what the decoder found.

    believes_marks: whether a packet that the demuxer marks as damaged is. HLS loses none on the way, but many packagers count the
    packets of every segment anew, and FFmpeg then marks the last pictures of the segment before.
    """

    def __init__(self, context: Any) -> None:
        """context: av.VideoCodecContext; from here on it says more about damage, and frames have the numbers of their packets."""
        name, extradata = context.name, context.extradata
        context.copy_opaque = True
        self._lenient: Any = None
        self._strict = name == "mjpeg" and not context.is_open
        if self._strict:
            context.options = STRICT
        if name == "hevc":  # otherwise FFmpeg leaves out pictures whose references are missing
            context.flags |= av.codec.context.Flags.output_corrupt
        self._kinds = PacketKinds.for_codec(name, extradata)
        self._h264, self._each_alone = name == "h264", name in EACH_ALONE
        self._sequence = _sequence_in(extradata) if self._h264 else None
        self._roots: deque[_Root] = deque([_Root(0, None, known=self._kinds is None)], maxlen=2)
        self._root_of: dict[
            int, tuple[_Root, bool]
        ] = {}  # of the latest packets; and whether no other picture needs it
        self._broken: dict[int, bool] = {}  # packets, and whether only they themselves suffer
        self._frame_num: int | None = None  # of the latest picture that others need
        self._recovering: list[tuple[int, _Root]] = []  # after so many more pictures, that is a root
        self._steps: deque[bool] = deque(maxlen=_MANY)  # whether the latest frame numbers leave some out
        self._plain = 0
        self.believes_marks = True

    def marked(self, packet: Packet) -> bool:
        """Whether the demuxer marks it as damaged, and is believed."""
        return packet.is_corrupt and self.believes_marks

    def packet(self, number: int, packet: Packet, kind: PacketKind | None = None) -> None:
        """The next packet. number: ascending from 1. kind: if it is known already."""
        if self._kinds is not None and kind is None:
            kind = self._kinds.of(bytes(packet))
        if self.marked(packet):
            self._broken[number] = kind is not None and kind.disposable
        root = _Root(number, packet.pts)
        if kind is None:
            if self._each_alone or packet.is_keyframe:
                self._roots.append(root)
        elif self._h264:
            self._read(root, kind)
        elif kind.start != "no":
            self._roots.append(root)
        self._root_of[number] = self._root_for(number, packet.pts, kind), kind is not None and kind.disposable
        while len(self._root_of) > _REMEMBERED:
            del self._root_of[next(iter(self._root_of))]
        oldest = min(self._roots[0].number, next(iter(self._root_of)))
        for gone in [broken for broken in self._broken if broken < oldest]:
            del self._broken[gone]

    def _root_for(self, number: int, pts: int | None, kind: PacketKind | None) -> _Root:
        """Pictures that are shown before the root may need what came before it."""
        newest = self._roots[-1]
        leading = kind is not None and kind.leading
        if newest.number < number and pts is not None and newest.pts is not None and pts < newest.pts:
            leading = True
        return self._roots[0] if leading else newest

    def _read(self, root: _Root, kind: PacketKind) -> None:
        """H.264: the step of its frame numbers, and recovery points."""
        for unit in kind.parameters:
            if unit[0] & 31 == 7:
                self._sequence = read_sequence(unit)
        if not kind.picture or self._sequence is None:
            return
        heads = [read_slice(head, self._sequence) for head in kind.heads if head[0] & 31 in (1, 5)]
        if not heads:  # data partitions, or damaged
            self._broken[root.number] = False
            return
        messages = [recovery_frames(head) for head in kind.heads if head[0] & 31 == 6]
        recovers = next((frames for frames in messages if frames is not None), None)
        self._step(root.number, heads[0].number, kind, self._sequence)
        if kind.start == "closed" or recovers == 0:
            self._plain = 0
            self._roots.append(root)
        elif recovers is not None:
            self._plain = 0
            self._recovering.append((recovers, root))
        elif all(head.intra for head in heads):
            self._plain += 1
            if self._plain > _PLAIN or not self._roots[-1].known:
                self._roots.append(root)

    def _step(self, number: int, frame_num: int, kind: PacketKind, sequence: Sequence) -> None:
        if kind.start == "closed":
            self._frame_num = frame_num
            self._recovering.clear()
            return
        before, most = self._frame_num, 1 << sequence.number_bits
        if before is not None and not sequence.gaps:
            steps = (frame_num - before) % most > 1
            self._steps.append(steps)
            if steps and (
                len(self._steps) < _MANY or 2 * sum(self._steps) < _MANY
            ):  # else this camera counts otherwise
                self._broken[number] = False
        if kind.disposable:
            return
        self._frame_num = frame_num
        self._recovering = [(left - 1, root) for left, root in self._recovering]
        for left, root in self._recovering:
            if left <= 0:
                self._roots.append(root)
        self._recovering = [(left, root) for left, root in self._recovering if left > 0]

    def refused(self, packet: "Packet | None") -> list[av.VideoFrame]:
        """The decoder refused this packet (None: it failed while it was drained). Returns what can be made of it nevertheless."""
        if packet is None:
            return []
        self.broke(packet.opaque if isinstance(packet.opaque, PacketNumber) else 0)
        if not self._strict:
            return []
        if self._lenient is None:
            self._lenient = av.CodecContext.create("mjpeg", "r")
            self._lenient.thread_count, self._lenient.copy_opaque = 1, True
        try:
            found: list[av.VideoFrame] = self._lenient.decode(packet)
        except (av.FFmpegError, ValueError):
            return []
        return found

    def decoded(self, frames: list[av.VideoFrame]) -> None:
        """The decoder gave these."""
        for frame in frames:
            if frame.is_corrupt:
                self.broke(number_of(frame))

    def broke(self, number: int) -> None:
        """The decoder refused this packet, or marked its picture. 0: it is not known which."""
        if number in self._root_of:
            self._broken[number] = self._root_of[number][1]
        elif self._root_of:
            self._broken[next(reversed(self._root_of))] = False

    def suspects(self, number: int) -> bool:
        """Whether the picture of this packet is known to be damaged, as far as can be known before it is decoded."""
        if number not in self._root_of:
            number = next(reversed(self._root_of), 0)
        root, _ = self._root_of.get(number, (self._roots[-1], False))
        if not root.known:
            return True
        return any(
            root.number <= broken <= number and (broken == number or not alone)
            for broken, alone in self._broken.items()
        )


def _sequence_in(extradata: bytes | None) -> Sequence | None:
    """Of H.264's extradata, with start codes or as in MP4."""
    if not extradata:
        return None
    if extradata[0] == 1 and len(extradata) > 8:
        size = int.from_bytes(extradata[6:8], "big")
        return read_sequence(extradata[8 : 8 + size]) if extradata[5] & 31 else None
    sets = PacketKinds(False, 0).of(extradata).parameters
    return next((read_sequence(unit) for unit in sets if unit[0] & 31 == 7), None)
