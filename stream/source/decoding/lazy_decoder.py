"""Decodes only the pictures that are wanted, and what they need. Times and pixels are those of decoding everything.

Packets are held undecoded. Their pictures get their turn in the order in which they are shown, and are judged by their times alone. For
one that is due, decoding goes from the last start (PacketKind.start) to it, or on from where the decoder stands. When the next start has
its turn, all before it is dropped, and the decoder is flushed. Pictures that nothing needs are left out.

A picture's turn comes when no earlier one can follow: a packet's decoding time has reached it, or a closed start came. While times are
missing, repeated or out of order, and after packets that are marked as damaged, everything is decoded, and shown in the decoder's own
order, until the next start was shown.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import av

from afterview.stream.source.decoding.damage import Damage
from afterview.stream.source.decoding.held import Held, Packet, PacketNumber, Times, number_of, with_data
from afterview.stream.source.decoding.packet_kind import EACH_ALONE, PacketKinds
from afterview.stream.source.decoding.regularity import Regularity

MOST_REORDERED = 16  # pictures that may be decoded before an earlier one is: the limit of H.264 and H.265
MOST_HELD_BYTES = 32 << 20  # of packets that are held: eight seconds of 4K at 32 Mbit/s; then they are decoded

Moment = TypeVar("Moment")


class LazyDecoder(Generic[Moment]):
    """Of one connection. decoded: packets given to the decoder. damaged: those that are marked so, or that it refused.

    turn: the number of the packet that `due` is asked about.
    """

    def __init__(
        self,
        context: av.VideoCodecContext,
        moment: Callable[[Times], Moment],
        due: Callable[[Moment], bool] | None,
    ) -> None:
        """moment: called when a picture's turn comes. due: whether it is wanted; called when all before it were consumed.

        due None: every picture is wanted.
        """
        self._context, self._moment, self._due = context, moment, due
        self.decoded = self.damaged = 0
        self._kinds = None if due is None else PacketKinds.for_codec(context.name, context.extradata)
        self._each_alone = due is not None and context.name in EACH_ALONE and context.thread_count == 1
        self.damage, self.turn = Damage(context), 0
        self._count = 0  # packets
        self._begun = False  # a picture was shown
        self._lazy = False  # otherwise everything is decoded
        self._held: list[Held] = []  # in the order of decoding
        self._bytes = 0
        self._next = 0  # in _held, the first that the decoder was not given
        self._rooted = False  # the first that is held is a start: decoding can begin anew there
        self._stale = False  # the decoder is to be flushed before it gets the next packet
        self._skipped = self._layered = False  # a picture was left out since the start; there are temporal layers
        self._pending: list[Held] = []  # pictures whose turn has not come, in the order in which they are shown
        self._ready: dict[int, av.VideoFrame] = {}  # those of them that are decoded
        self._inside: set[int] = set()  # numbers of pictures that the decoder was given, and has not given back
        self._told: set[int] = set()  # numbers of pictures whose turn is over, but which the decoder may still give
        self._passed: int | None = None  # the latest time whose turn has come
        self._awaited: tuple[Held, Moment] | None = None  # its turn has come, but the decoder has not given it
        self._regularity = Regularity()
        self._unseen: list[bytes] = []  # parameter sets that were dropped undecoded
        # For guessing whether one more picture is due before the next start: time between starts, and the latest start and due picture.
        self._group = self._root_pts = self._due_pts = 0

    def take(self, packet: "Packet | None") -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        """The pictures whose turn comes with this packet, in the order in which they are shown; None: not decoded. At the end: None."""
        if packet is None:
            if not self._lazy:
                yield from self._shown(self._decode(None))
            yield from self._turns(None, last=True)
            return
        self.damaged += self.damage.marked(packet)
        self._count += 1
        packet.opaque = PacketNumber(self._count)
        kind = None if self._kinds is None else self._kinds.of(bytes(packet))
        self.damage.packet(self._count, packet, kind)
        if self._each_alone:
            yield from self._alone(packet)
        elif kind is None:
            yield from self._shown(self._decode(packet))
        else:
            yield from self._take(Held(packet, kind, packet.pts or 0, self._count))

    def _alone(self, packet: Packet) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        """Every packet is a picture of its own."""
        moment = self._moment(Times.of(packet))
        self.turn = self._count
        if self._begun and not packet.is_corrupt and self._due is not None and not self._due(moment):
            yield moment, None
            return
        for frame in self._decode(packet):
            self._begun = True
            yield moment, frame

    def _take(self, held: Held) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        closed = held.kind.start == "closed"
        if self._lazy and closed:
            yield from self._turns(None, last=True)
        waiting, passed = (self._pending, self._passed) if self._lazy else (self._held, None)
        regular = self._regularity.of(held, waiting, passed, skipped=self._lazy and self._skipped)
        if not (self._lazy and regular):
            yield from self._decode_at_once(held, regular)
            return
        if held.kind.layer and not self._layered:
            self._layered = True
            if self._skipped:  # pictures of this layer may need those that were left out
                self._begin_anew()
        self._hold(held)
        if closed:
            self._passed = None
            self._restart(held)
        if held.shown:
            insort(self._pending, held)
        if self._awaited is not None:
            yield from self._emerge(last=False)
        yield from self._turns(held.packet.dts, last=False)
        if self._bytes > MOST_HELD_BYTES:
            self._unload()

    # --- everything is decoded ---

    def _decode_at_once(self, held: Held, regular: bool) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        if self._lazy:
            yield from self._catch_up()
        back = held.kind.start == "closed" and any(other.pts >= held.pts for other in self._held)  # another clock
        if not regular or back or self._bytes > MOST_HELD_BYTES:
            self._drop(len(self._held))
        if regular and (held.kind.start != "no" or self._held):
            self._hold(held)
        self._next = len(self._held)
        yield from self._shown(self._give(held))

    def _catch_up(self) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        """Decode all that is held, and show those whose turn has not come."""
        self._lazy, self._awaited = False, None
        if self._skipped:
            self._begin_anew()
        if self._stale:  # it all comes again
            self._ready.clear()
        held, self._held, self._bytes, self._next = self._held[self._next :], [], 0, 0
        early = [self._ready[one.number] for one in self._pending if one.number in self._ready]
        self._ready, self._pending = {}, []
        yield from self._shown(early)
        for one in held:
            yield from self._shown(self._give(one))

    def _shown(self, frames: list[av.VideoFrame]) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        for index, frame in enumerate(frames):
            if number_of(frame) in self._told:
                self._told.discard(number_of(frame))
            elif self._lazy:
                self._ready[number_of(frame)] = frame
            else:
                yield self._moment(Times.of(frame)), frame
                if self._held and number_of(frame) == self._held[0].number:
                    self._rest(self._held[0], self._inside | {number_of(later) for later in frames[index + 1 :]})

    def _rest(self, start: Held, coming: set[int]) -> None:
        """The decoder has shown the start that is held first: from now on packets are held undecoded."""
        self._lazy = self._rooted = True
        self._skipped = self._stale = False
        self._passed = self._root_pts = self._due_pts = start.pts
        self._told = {start.number}
        self._group, self._next = 0, len(self._held)
        self._pending = sorted(held for held in self._held if held.number in coming and held.pts > start.pts)
        self._unseen.clear()

    # --- packets are held ---

    def _turns(self, reached: int | None, *, last: bool) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        """Judge the pictures whose turn has come. reached: no later packet is shown before this time. last: all are shown later."""
        if self._awaited is not None and last:
            yield from self._emerge(last=True)
        while self._pending and self._awaited is None:
            held = self._pending[0]
            if not last and (reached is None or held.pts > reached):
                return
            if held.kind.start == "open" and held in self._held[1:]:
                self._restart(held)
            moment = self._moment(Times.of(held.packet))
            self.turn = held.number
            if self._due is not None and self._due(moment):
                self._awaited = held, moment
                yield from self._emerge(last=last)
            else:
                self._over(held)
                yield moment, None

    def _emerge(self, *, last: bool) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        """Decode until the awaited picture is there. last: it must be there after all that is held."""
        assert self._awaited is not None
        held, moment = self._awaited
        while held.number not in self._ready:
            frames, nothing_more = self._feed(held, last)
            if frames is None:
                return  # it needs packets that have not come
            early = self._keep(frames, held)
            if early or (nothing_more and held.number not in self._ready):
                self._awaited = None
                if not early:
                    self._over(held)  # damaged: there is no such picture
                for frame in early:  # the decoder's own order counts
                    yield self._moment(Times.of(frame)), frame
                return
        frame = self._ready[held.number]
        self._awaited, self._due_pts = None, held.pts
        self._over(held)
        yield moment, frame

    def _keep(self, frames: list[av.VideoFrame], awaited: Held) -> list[av.VideoFrame]:
        """Keep decoded pictures until their turn. Returns those that came in place of the awaited one."""
        early: list[av.VideoFrame] = []
        for frame in frames:
            if number_of(frame) in self._told:
                continue
            if number_of(frame) == awaited.number or awaited.number in self._ready:
                self._ready[number_of(frame)] = frame
            else:
                early.append(frame)
        for held in [held for held in self._pending if any(held.number == number_of(frame) for frame in early)]:
            self._over(held)
        return early

    def _feed(self, awaited: Held, last: bool) -> tuple[list[av.VideoFrame] | None, bool]:
        """Give the decoder one packet, or drain it. Returns what came (None: more packets are needed), and whether nothing more can."""
        place = self._held.index(awaited) if awaited in self._held else -1
        guess = self._next > place and self._rooted and self._is_last_of_group(awaited)
        while self._next < len(self._held) and not guess:
            held = self._held[self._next]
            self._next += 1
            if held is awaited or not self._is_needless(held):
                return self._give(held), self._next - place > 2 * MOST_REORDERED
            self._skipped = True
        if not (guess or last):
            return None, False
        frames = self._decode(None)
        self._begin_anew()
        return frames, True

    def _is_needless(self, held: Held) -> bool:
        return held.number in self._told and held.kind.disposable and self._rooted and not self._layered

    def _is_last_of_group(self, awaited: Held) -> bool:
        """Whether the next picture is probably due only after the next start. A wrong guess costs time, nothing else."""
        period = awaited.pts - self._due_pts
        return 0 < self._group <= awaited.pts - self._root_pts + period

    def _over(self, held: Held) -> None:
        """The turn of a picture is over."""
        if held in self._pending:
            self._pending.remove(held)
        self._ready.pop(held.number, None)
        self._told.add(held.number)
        self._passed = held.pts if self._passed is None else max(self._passed, held.pts)

    def _restart(self, start: Held) -> None:
        """All that is shown before this start had its turn."""
        index = self._held.index(start)
        given = self._next > index
        self._group, self._root_pts = start.pts - self._root_pts, start.pts
        self._drop(index)
        leading = [held for held in self._held if held.kind.leading and held.pts < start.pts]
        if not given:
            self._forget(leading)
            self._ready.clear()
            self._rooted = True
            self._begin_anew()
        else:
            self._next -= sum(held in leading for held in self._held[: self._next])
        self._held = [held for held in self._held if held not in leading]
        self._bytes = sum(held.packet.size for held in self._held)
        self._inside = {number for number in self._inside if number > start.number - 4 * MOST_REORDERED}  # else lost
        self._told &= self._inside | {held.number for held in self._held}
        self._rooted = True

    def _begin_anew(self) -> None:
        """Decode from the first packet that is held, if that is possible."""
        self._next, self._stale, self._skipped = 0 if self._rooted else len(self._held), True, False

    def _unload(self) -> None:
        """Too much is held: decode it. Until the next start, the decoder goes on from there."""
        while self._next < len(self._held):
            self._next += 1
            for frame in self._give(self._held[self._next - 1]):
                if number_of(frame) not in self._told:
                    self._ready[number_of(frame)] = frame
        self._drop(len(self._held))
        self._rooted = self._skipped = False

    def _hold(self, held: Held) -> None:
        self._held.append(held)
        self._bytes += held.packet.size

    def _drop(self, count: int) -> None:
        """Drop so many packets from the beginning of those that are held."""
        self._forget(self._held[self._next : count])
        self._bytes -= sum(held.packet.size for held in self._held[:count])
        del self._held[:count]
        self._next = max(0, self._next - count)

    def _forget(self, undecoded: list[Held]) -> None:
        """Remember the parameter sets of packets that are dropped: later packets may need them."""
        for unit in [unit for held in undecoded for unit in held.kind.parameters]:
            self._unseen = [*(other for other in self._unseen if other != unit), unit]

    # --- the decoder ---

    def _give(self, held: Held) -> list[av.VideoFrame]:
        packet = held.packet
        if self._stale:
            self._context.flush_buffers()
            self._inside.clear()
            self._stale = False
        if self._unseen and self._kinds is not None:
            if any(unit not in held.kind.parameters for unit in self._unseen):
                packet = with_data(held, self._kinds.with_parameters(self._unseen, bytes(packet)))
            self._unseen.clear()
        if held.shown:
            self._inside.add(held.number)
        return self._decode(packet)

    def _decode(self, packet: "Packet | None") -> list[av.VideoFrame]:
        self.decoded += packet is not None
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return []  # drained already
        except (av.FFmpegError, ValueError):
            self.damaged += packet is None or not self.damage.marked(packet)  # otherwise it is counted
            frames = self.damage.refused(packet)
        self.damage.decoded(frames)
        self._begun = self._begun or bool(frames)
        self._inside.difference_update(number_of(frame) for frame in frames)
        return frames
