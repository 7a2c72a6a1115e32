"""One connection to one source: demux, decode, and the time at which each frame was taken, if the source states it. All reading by PyAV
is here and in `stream.source.opening.opening`.

Threads: a connection belongs to the thread that opened it (the source's decode thread); nothing here is shared. A blocked read cannot be
interrupted from outside, so every read has a timeout inside FFmpeg, and the stop flag is checked after every packet.
"""

import math
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from io import FileIO
from types import TracebackType
from typing import Self

import av

from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.clocks.clock import SourceClock
from afterview.stream.source.clocks.fragments import FragmentReader
from afterview.stream.source.clocks.live_wall import LiveWall
from afterview.stream.source.clocks.packet_times import LiveLine, PacketTimes
from afterview.stream.source.clocks.reference_clock import ReferenceClock
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.coverage import Coverage, stated_s
from afterview.stream.source.cut import cut_within
from afterview.stream.source.decoding.decoders import Decoder, Due, make_decoder
from afterview.stream.source.decoding.held import Packet, Times, number_of
from afterview.stream.source.events import WHOLE, Frame, Lacking, Passed, Picture, Waiting
from afterview.stream.source.failures.failures import codec_changed, explain_reading
from afterview.stream.source.geometry import PixelShape
from afterview.stream.source.moment import Moment
from afterview.stream.source.opening.choice import choose_stream, discard_others
from afterview.stream.source.opening.opening import describe, has_no_times, open_container
from afterview.stream.source.segments import SegmentWatch
from afterview.stream.source.silence import SilenceLimit

# Over RTSP, FFmpeg delivers a packet of these codecs only when the next packet begins to arrive.
_PARSED = {"h264", "hevc", "mpeg4"}
_GIVE_UP_AFTER = 16  # failed reads in a row that end a damaged recording
_UNDECODABLE = 50  # packets in a row; if a live connection gave pictures before, its codec has changed
_SOUND_DELAY_S = 0.1  # seconds that sound begins earlier because its encoder delays it
_PRFT = struct.Struct("<q")  # AVProducerReferenceTime.wallclock, microseconds since 1970

Wait = Callable[[float], object]


class Connection:
    """An open source. Use as a context manager, in one thread; `frames` can be iterated once."""

    longest_step_s: float | None = None  # see Opened

    def __init__(
        self,
        address: SourceAddress,
        config: SourceConfig,
        *,
        wait: Wait,
        segments: SegmentWatch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens it. wait: sleeps so many seconds, or less when told to stop. clock: Unix seconds. Raises SourceError, redacted."""
        self._address, self._config, self._wait = address, config, wait
        self._monotonic, self._unix_time = monotonic, clock
        self._segments = segments or SegmentWatch(address)
        self._unreadable = 0  # places of a recording that were skipped
        self._decoder: Decoder[Moment] | None = None
        self._opened = ExitStack()
        again = partial(open_container, address, config, monotonic)
        self._container = self._opened.enter_context(again())
        try:
            self._stream, self.offered = choose_stream(self._container, address, config.stream, again)
            self._stream.codec_context.thread_count = config.decoder_threads
            self.about = describe(self._container, self._stream, now=clock())
        except BaseException:
            self._opened.close()
            raise
        self.finite = not address.live or (address.kind in ("http", "hls") and self.about.finite)
        discard_others(self._container, self._stream, hear=not self.finite)
        self._paced = address.kind == "pattern" or (address.live and self.finite)
        unit = self._stream.time_base
        assert unit is not None, "every demuxed stream has a time base"
        self._unit = float(unit)
        self._clock = SourceClock(unit, rate=self.about.rate, rtsp=address.kind in ("rtsp", "sdp"))
        self.times = PacketTimes(self._stream, monotonic, self._live_line(), recorded=address.kind == "file")
        self._changes = 0  # of the line of times, that the clock knows of
        self._fragments = self._fragment_reader()
        self._references = None if self._fragments is None else ReferenceClock(self._fragments, self._unit, now=clock())
        dated = address.url if address.kind == "hls" and not self.finite else None
        self._wall = LiveWall(self._clock, dated, self._unit, monotonic)
        self._held_back = address.kind in ("rtsp", "sdp") and self.about.codec in _PARSED
        self._delivered: float | None = None  # when FFmpeg delivered the latest packet
        # Presentation time of the latest packet, and when it began to arrive.
        self._reached: tuple[int, float] | None = None
        self._began: float | None = None  # when the first frame came, on the monotonic clock
        self._coverage, self._earliest = Coverage(), math.inf  # pts of the first packet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _live_line(self) -> LiveLine | None:
        without_times = has_no_times(self._container)
        if not self._address.live or self._paced or (self._address.kind == "hls" and not without_times):
            return None
        return LiveLine(without_times=without_times)

    def _fragment_reader(self) -> FragmentReader | None:
        if self._address.kind != "file" or "mp4" not in self._container.format.name.split(","):
            return None
        try:
            file = self._opened.enter_context(FileIO(self._address.url))
        except OSError:
            return None
        return FragmentReader(file, self._stream.id)

    @property
    def own_clock(self) -> bool:
        """Whether a recording states by the source's own clock when its pictures were taken."""
        return self._references is not None and self._references.known

    @property
    def start_time(self) -> float | None:
        """Unix seconds of a recording's first frame, if known; call it after that frame was yielded."""
        return (self._clock.start_time if self.own_clock else None) or self._stated_start()

    @property
    def delay_s(self) -> float:
        """Seconds from the start of a recording (of its sound) to its first frame; call it after that frame was yielded."""
        first_s = self._clock.position(0)
        if self._address.live or self.about.begins_s is None or first_s is None:
            return 0.0
        delay_s = -first_s - self.about.begins_s
        return delay_s if delay_s > _SOUND_DELAY_S else 0.0

    def _stated_start(self) -> float | None:
        return None if self.about.start_time is None else self.about.start_time + self.delay_s

    @property
    def damaged(self) -> int:
        """Packets so far that could not be read or decoded. Nothing is known about those that were not decoded."""
        return self._unreadable + (self._decoder.damaged if self._decoder else 0)

    @property
    def decoded(self) -> int:
        """Packets that the decoder was given, so far."""
        return self._decoder.decoded if self._decoder else 0

    def frames(
        self, stop: threading.Event, due: Due | None = None, instead: Due | None = None
    ) -> Iterator[Frame | Passed | Waiting]:
        """Frames in the order in which they are shown, until the end or `stop`. When a live source fails: SourceLost, SourceTimeout.

        due: whether the frame at this `pts_s` is wanted, asked after all frames before it were taken. Other frames are not decoded
        unless they are needed. None: all are wanted. instead: whether it is wanted unless it is known to be damaged.
        """
        due = self._segments.asked(due)
        decoder = make_decoder(
            self._stream.codec_context, self._config.decode, lambda times: self._moment(times, stop), due, instead
        )
        self._decoder, pixel = decoder, PixelShape(self._stream)
        decoder.damage.believes_marks = self._address.kind != "hls"
        silence = SilenceLimit(self._address, self._config, self._stream.index, self._monotonic)
        sound_until = math.inf  # how many packets were damaged when the newest picture came
        for packet in self.times.verified(self._packets(silence)):
            if stop.is_set():
                return
            for moment, decoded in self._decode(decoder, packet):
                if stop.is_set():
                    return
                if moment.old:
                    continue
                silence.picture_came()
                times = moment.pts_s, moment.arrival_time, moment.source_time
                if decoded is None:
                    yield Passed(*times, self.damaged, moment.reached_s, moment.clock_problem)
                else:
                    smeared, picture = decoder.damage.suspects(number_of(decoded)), Picture(decoded, pixel.now())
                    self._segments.picture(moment.pts_s, damaged=smeared)
                    yield Frame(
                        *times, picture, self.damaged, moment.reached_s, moment.clock_problem, smeared, self._note()
                    )
                    sound_until = self.damaged
            silence.require_picture()
            if notice := silence.notice():
                yield notice
            if self._address.live and self.damaged - sound_until > _UNDECODABLE:
                raise codec_changed(self._address)

    def _note(self) -> str:
        return "; ".join(filter(None, (self.times.note, self._clock.note)))

    def _moment(self, times: Times, stop: threading.Event) -> Moment:
        """The times of the picture whose turn it is. Waits for it if the source is paced."""
        pts_s = self._pts_s(times)
        source_time, reached_s = self._source_time(times.pts, pts_s), self._reached_s()
        if self._paced:
            self._wait_until(pts_s, stop)
        old = self._segments.is_old(times.pts)
        return Moment(pts_s, self._unix_time(), source_time, reached_s, self.times.problem, old)

    def _pts_s(self, times: Times) -> float | None:
        now = self._monotonic()
        self._began = now if self._began is None else self._began
        pts_s = self._clock.seconds(times.pts, times.dts)
        if pts_s is not None:
            self._coverage.picture(pts_s, times.duration * self._unit)
        return pts_s

    def _reached_s(self) -> float | None:
        if self._reached is None:
            return None
        pts, at = self._reached
        position = self._clock.position(pts)
        return None if position is None else position + self._monotonic() - at

    def _wait_until(self, pts_s: float | None, stop: threading.Event) -> None:
        """Wait until a frame of a paced source is due, or until told to stop."""
        wait_s = 0.0 if pts_s is None or self._began is None else self._began + pts_s - self._monotonic()
        if wait_s > 0 and not stop.is_set():
            self._wait(wait_s)

    def _packets(self, silence: SilenceLimit) -> Iterator[Packet]:
        """Packets in file order, then an empty packet that drains the decoder. Unreadable places of a recording are skipped.

        Live sources: packets of sound too, so that demux() returns while only sound comes.
        """
        failures = 0
        while failures < _GIVE_UP_AFTER:
            streams = () if self._address.live else (self._stream,)
            packets: Iterator[Packet] = self._container.demux(*streams)
            try:
                for packet in silence.watch(packets):
                    failures = 0
                    yield packet
                return
            except (av.FFmpegError, OSError) as error:
                if silence.is_left_over(error):
                    failures += 1
                    continue
                failure = explain_reading(error, self._address, self._config.read_timeout_s)
            if self._address.live:
                raise failure  # outside the handler, so that no chained error carries the address with its credentials
            failures += 1
            self._unreadable += 1
        drain: Packet = av.Packet()
        yield drain

    def _decode(self, decoder: Decoder[Moment], packet: Packet) -> Iterator[tuple[Moment, av.VideoFrame | None]]:
        last = packet.size == 0 and packet.pts is None and packet.dts is None
        if not last and (packet.size == 0 or packet.stream_index != self._stream.index):
            return
        self._note_arrival(packet)
        self._segments.note(packet, self._monotonic())
        self._coverage.packets += not (last or packet.is_discard)
        if self.times.changes != self._changes:
            self._changes = self.times.changes
            self._clock.forget_wall_clock()
        if packet.has_sidedata("prft") and not self.times.problem:
            (wall_us,) = _PRFT.unpack_from(bytes(packet.get_sidedata("prft")))
            self._clock.hear_report(packet.pts, wall_us)
        if self._references is not None and self._references.known and packet.pts is not None:
            self._references.passed(packet.pos, packet.pts)
        yield from decoder.take(None if last else packet)

    def _note_arrival(self, packet: Packet) -> None:
        now = self._monotonic()
        if packet.pts is not None:
            if self._began is None and not packet.is_discard:  # an edit list cuts off what only the decoder needs
                self._earliest = min(self._earliest, packet.pts)
            if self._reached is None and self._delivered is not None:
                self._clock.waited_s = now - self._delivered
            self._reached = packet.pts, self._delivered if self._held_back and self._delivered is not None else now
        self._delivered = now

    def _source_time(self, pts: int | None, pts_s: float | None) -> float | None:
        if self._address.live:
            return self._wall.at(pts)
        if self._references is not None and self._references.known:
            return self._recorded_wall(self._references, pts)
        start = self._stated_start()
        return None if start is None or pts_s is None else start + pts_s

    def _recorded_wall(self, references: ReferenceClock, pts: int | None) -> float | None:
        reference = None if pts is None else references.due(pts)
        if reference is not None:
            self._clock.learn_wall_clock(reference.media_time, round(reference.unix_s * 1e6))
        return self._clock.wall(pts)

    def ending(self) -> str:
        """How a recording ended, for people, with warnings about damaged packets and about an end before its stated length."""
        words = [WHOLE]
        if self.damaged:
            words.append(f"{self.damaged} damaged packet{'s' * (self.damaged > 1)} skipped")
        if self.about.rate_assumed and self.about.rate:
            words.append(f"it states no frame rate: {self.about.rate:g} per second assumed")
        if self.times.mended:
            words.append(f"{self.times.mended} wrong time{'s' * (self.times.mended > 1)} replaced")
        lacking = self.lacking()
        if lacking.end_s:
            words.append(f"it stops {lacking.end_s:.1f} s before its stated length")
        if lacking.cut:
            words.append(f"it ends within a {lacking.cut}, so it was cut")
        if self._references is not None:
            words += self._references.warnings()
        return "; ".join(words)

    def lacking(self) -> Lacking:
        """What is known to be missing of a recording; call it at its end."""
        first_s = None if math.isinf(self._earliest) else self._clock.position(int(self._earliest))
        begins_s = -(self._clock.position(0) or 0.0), self._fragments.index_start_s if self._fragments else 0.0
        stated = stated_s(self._container, self._stream, self.about.duration_s or 0.0)
        wrong_s = self.times.earliest_wrong_s, self.times.latest_wrong_s
        end_s = self._coverage.missing_s(0.0 if self.times.length_unknown else stated, begins_s, wrong_s)
        cut = cut_within(self._address.url, self._container.format.name) if self._address.kind == "file" else ""
        holes = self._coverage.real_holes(indexed="mp4" in self._container.format.name)
        return Lacking(max(0.0, -(first_s or 0.0)), end_s, holes, cut)
