"""The decode thread of one camera: reads its source, samples, gives every chosen frame its canonical time, and queues it.

Threads: `run` is the decode thread, which owns PyAV, the sampler and the clock. It reads Controls for every frame.
"""

import math
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

from afterview.configs import UsageError
from afterview.memory.base.records import HOLE_STEPS
from afterview.memory.writing.repository import Repository
from afterview.stream.errors import SourceError
from afterview.stream.ingest.archive import ArchiveReading, FileOutcome, has_grown
from afterview.stream.ingest.clock_change import dated_by_arrival, describe_rejected, require_not_ahead
from afterview.stream.ingest.config import Controls, IngestConfig
from afterview.stream.ingest.damage_note import DamageNote
from afterview.stream.ingest.items import Dropped, Interruption, Joint, Pace
from afterview.stream.ingest.key_frame_pace import KeyFramePace
from afterview.stream.ingest.preprocess import DEFAULT_IMAGE_SIZE, ImageCost, Sampled, preprocess
from afterview.stream.ingest.queues import BoundedQueue, Closed
from afterview.stream.ingest.sampler import Chosen, Sampler
from afterview.stream.ingest.short_recording import ShortRecording, ShortSampler, short_recording
from afterview.stream.ingest.speed import Speed
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.timeline import LiveClock, RecordedClock
from afterview.stream.ingest.whole_first import WholeFirst
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.decoding.decoders import Due
from afterview.stream.source.events import Ended, Event, Frame, Lost, Opened, Passed, Retry, Waiting
from afterview.stream.source.offered import describe_streams
from afterview.stream.source.reader import read_events
from afterview.stream.source.recordings.stills import read_pictures

_MOST_HELD = (
    1.5  # capacities of the inbox: until then a clock of ten times its rate is found (stream.source.clocks.clock_check)
)
_PACE_FRAMES = 3  # of a recording that show its pace

STOPPED = "stopped"  # the reason of an end that the source did not come to by itself

Item = Sampled | Interruption | Dropped | Pace | Joint


class CameraDecoder:
    """Reads one source into a camera's inbox until the source ends. end_reason: why it did, for people. images: what they take.

    never_began: why the source has given no picture so far; empty once it has.
    """

    def __init__(
        self,
        config: IngestConfig,
        repository: Repository,
        inbox: BoundedQueue[Item],
        stats: IngestStats,
        controls: Controls,
    ) -> None:
        """repository: only its times are read. Raises UsageError."""
        self._config, self._repository, self._inbox = config, repository, inbox
        self._stats, self._controls = stats, controls
        self.end_reason, self.never_began = STOPPED, ""
        self._connected_once = False
        self.images = ImageCost(config.image_size or controls.settings.image_size or DEFAULT_IMAGE_SIZE)
        self._sampler, self._pace = Sampler(config.fps), Speed(config.speed)
        self._whole_first, self._damage_note = WholeFirst(self._sampler), DamageNote(stats)
        self.short: ShortRecording | None = None  # the source, if it is sampled as one
        self._clock: LiveClock | RecordedClock | None = None
        self._archive = ArchiveReading(config.files, repository.last_time) if config.files else None
        # Chosen frames whose time is not known until the clock has settled.
        self._held: list[tuple[Chosen, Frame | Passed]] = []
        self._pace_known = True  # of a recording; its first frames wait for it
        self._clock_problem = ""  # of the stream's clock, at the latest frame
        self._key_frames = KeyFramePace(config.fps) if config.source.decode == "keyframes" else None
        self._source_note = ""  # at the latest frame
        if config.live:
            require_not_ahead(repository)
            self._clock = LiveClock(after=repository.last_time, bursts=config.address.kind == "hls")

    def run(self, stop: threading.Event) -> None:
        """Read the source until it ends or `stop` is set, then close the inbox. Raises the source's error."""
        try:
            if self._archive is None:
                self.end_reason = self._read(self._config.address, stop)
            else:
                self._read_files(self._archive, stop)
        except Closed:
            pass  # the camera is being stopped
        except BaseException:
            self.end_reason = "failed"
            raise
        finally:
            self._inbox.close()

    def _read_files(self, archive: ArchiveReading, stop: threading.Event) -> None:
        """Each file in turn. One that cannot be read does not end the others, unless it is the only one."""
        files = self._config.files
        alone = len(files) == 1 and files[0].address == self._config.address  # it was named itself
        for file in files:
            self._sampler.restart()
            self._clock, outcome = None, archive.begin(file)
            self._stats.progress = archive.progress()
            try:
                if file.pictures:
                    pictures = read_pictures(file.address, file.pictures, stop=stop, due=self._asked())
                    reason = self._consume(pictures, stop)
                else:
                    reason = self._read(file.address, stop)
            except SourceError as error:
                self._take_damaged()
                self._release()
                if alone and not outcome.recorded:
                    raise
                archive.failed(str(error).removeprefix(f"{outcome.file}: "))
                continue
            if reason == STOPPED:
                return
            archive.ended(reason, grew=has_grown(file))
            if outcome.state == "unfinished":
                break  # the rest of it could not be recorded after later files
            if alone and not file.pictures:
                archive.require_new(self._repository.info, self._repository.last_time)
        self.end_reason = outcome.detail if len(files) == 1 else archive.summary()

    def _read(self, address: SourceAddress, stop: threading.Event) -> str:
        """Read one source. Returns why it ended."""
        config = self._config
        self.short = short_recording(config, address, self._controls.encoders)
        if self.short is not None:
            self._sampler = ShortSampler(self.short)
            self._whole_first = WholeFirst(self._sampler)
        instead = self._whole_first.wanted_instead
        source = config.source.model_copy(update={"poll_fps": config.fps})
        events = read_events(
            address, source, stop=stop, keep_trying=config.keep_trying, due=self._asked(), instead=instead
        )
        return self._consume(events, stop)

    def _asked(self) -> Due | None:
        """What is asked whether a picture is wanted; None: all are."""
        if self._config.source.decode == "full":
            return None
        if self._archive is None or self._key_frames is not None:  # pictures that are no key frames are passed, too
            return self._sampler.due
        archive = self._archive
        return lambda pts_s: archive.wants(pts_s, self._sampler, self._clock)

    def _consume(self, events: Iterator[Event], stop: threading.Event) -> str:
        """Take the events of one source. Returns why it ended."""
        ending = STOPPED
        for event in events:
            match event:
                case Frame():
                    self._take(event, stop)
                case Passed():
                    self._note_clock(event)
                    self._pass(event)
                    self._observe(event)
                case Opened():
                    self._connected(event)
                case Waiting():
                    self.never_began = "" if self._connected_once else f"no picture came: {event.reason}"
                    self._stats.set_detail(event.reason, quiet=not event.notable)
                case Lost():
                    self._take_damaged()
                    self._release()
                    self._inbox.put(Interruption("lost"))
                    self._stats.set_source("offline", event.reason)
                case Retry():
                    self.never_began = "" if self._connected_once else f"never connected: {event.reason}"
                    self._stats.set_source("offline", f"{event.reason}; next try in {event.delay_s:.1f} s")
                case Ended():
                    ending, self._stats.damaged, self._stats.lacking = event.reason, event.damaged, event.lacking
        self._take_damaged()
        self._release()
        return ending

    @property
    def outcomes(self) -> list[FileOutcome]:
        """What became of the files of an archive so far."""
        return [] if self._archive is None else self._archive.outcomes

    def _connected(self, event: Opened) -> None:
        self._connected_once, self.never_began = True, ""
        self._clock_problem = self._source_note = ""
        if isinstance(self._clock, LiveClock):
            self._clock.connected(by_arrival=event.longest_step_s is not None)
        else:
            self._clock = self._recorded_clock(event)
        self._stats.reconnects += self._stats.source_state == "offline" and self._stats.sampled > 0
        self._sampler.restart(nominal_rate=event.rate)
        if self._key_frames is not None:
            self._key_frames.opened()
        if event.rate and event.rate < self._config.fps:
            self._inbox.put(Pace(1 / event.rate))
        elif event.longest_step_s is not None:
            self._inbox.put(Pace(event.longest_step_s))
        self._stats.offered, self._stats.picture_note = event.offered, event.note
        others = describe_streams(event.offered)
        others = f"{others}; --stream N takes another" if others else ""
        size = f"{event.codec} {event.width}x{event.height}"
        self._stats.set_source("online", "; ".join(filter(None, (size, event.note, others))))

    def _recorded_clock(self, event: Opened) -> RecordedClock:
        last, info = self._repository.last_time, self._repository.info
        typed = None if self._config.start is None else self._config.start + event.delay_s
        if self._archive is not None:
            typed = self._archive.typed_start(event)
        start = next(value for value in (typed, event.start_time, time.time()) if value is not None)
        self._pace_known = event.own_clock or math.isfinite(self._config.speed)
        if last is not None and start <= last and self._archive is None:
            raise UsageError(
                f"{self._config.address.redacted}: a recording that starts at {info.show(start)} lies before "
                f"the newest frame of camera '{info.id}' ({info.show(last)}); give a later --start or another --camera"
            )
        return RecordedClock(start, fps=self._config.fps, own_clock=event.own_clock and typed is None)

    def _pass(self, event: Passed) -> None:
        if self._key_frames is not None:
            self._key_frames.picture(event.pts_s)  # slots are those of key frames alone
            return
        chosen = self._sampler.admit(event.pts_s)
        if chosen is not None and self._archive is not None:  # the camera has it; its time counts for the next ones
            self._take_damaged()
            self._held.append((chosen, event))
            self._pace.skip()

    def _take(self, event: Frame, stop: threading.Event) -> None:
        self._note_clock(event)
        if event.note != self._source_note:
            self._source_note = event.note
            self._stats.set_source("online", event.note)
        chosen = self._sampler.admit(event.pts_s)
        if self._key_frames is not None:
            self._key_frames.picture(event.pts_s)
        if chosen is not None:
            self._take_damaged()
        instead = self._whole_first.replacement(event)
        if chosen is not None and self._paused():
            chosen = None
        if instead is not None:
            self._stats.pictures_replaced += 1
            self._held.append((instead, event))
        if chosen is not None:
            if self._config.live:  # a recording says it at its end
                self._damage_note.picture(event.arrival_time, damaged=event.picture_damaged)
            self._pace.wait_until(chosen.pts_s, stop, restarted=chosen.discontinuity)
            if chosen.discontinuity and isinstance(self._clock, LiveClock):
                self._release()  # by the clock that they came under
                self._clock.connected(goes_on=True)
            if self._key_frames is not None:
                self._key_frames.chosen(chosen)
            if event.picture_damaged:
                self._whole_first.hold(chosen, event)
            else:
                self._held.append((chosen, event))
        self._observe(event)

    def _take_damaged(self) -> None:
        """No whole picture came in place of the damaged one that waits."""
        self._held += self._whole_first.give_up()

    def _observe(self, event: Frame | Passed) -> None:
        """Learn from the times of a picture, and release the chosen frames that waited for that."""
        if self._config.live and self._whole_first.is_late(event):
            self._take_damaged()
        self._stats.damaged = event.damaged
        if isinstance(self._clock, LiveClock):
            self._clock.observe(event.pts_s, event.arrival_time, event.source_time, event.reached_s)
            self._report_rejected_clock(self._clock, event.arrival_time)
            if not self._clock.settled and len(self._held) < _MOST_HELD * self._inbox.capacity:
                return
        elif self._clock is not None:
            self._clock.observe(event.pts_s, event.source_time)
            if not self._pace_known and not self._learn_pace():
                return
        self._release()

    def _learn_pace(self) -> bool:
        """Whether the first frames of a recording show its pace. A time-lapse is slower than the sampling, and that is no gap."""
        if len(self._held) < _PACE_FRAMES:
            return False
        steps = [after.pts_s - before.pts_s for (before, _), (after, _) in pairwise(self._held)]
        if max(steps) <= HOLE_STEPS * min(steps):
            self._inbox.put(Pace(steps[0]))
        self._pace_known = True
        return True

    def _note_clock(self, event: Frame | Passed) -> None:
        """The stream's clock is found to be wrong, or is right again: its frames are dated by arrival from here on, or no longer."""
        problem, before, self._clock_problem = event.clock_problem, self._clock_problem, event.clock_problem
        if problem == before:
            return
        self._take_damaged()
        if not problem:
            self._stats.clock = ""
            self._stats.set_source("online", "the stream's clock is right again; frames are dated by it")
            return
        self._held = dated_by_arrival(self._held, event, 1 / self._config.fps)
        self._stats.clock = f"stream clock wrong: it {problem}; frames are dated by arrival until it is right"
        self._stats.set_source("online", self._stats.clock)

    def _report_rejected_clock(self, clock: LiveClock, arrival: float) -> None:
        """Report once that the source's clock is rejected."""
        if clock.rejected is None or self._stats.clock:
            return
        self._stats.clock = describe_rejected(self._repository.info, arrival, clock.rejected)
        self._stats.set_source("online", self._stats.clock)

    def _paused(self) -> bool:
        """Whether a person has paused this live camera. Each change is reported once."""
        paused = self._config.live and self._controls.settings.paused
        if paused and self._stats.source_state != "paused":
            self._release()
            self._inbox.put(Interruption("paused"))
            self._stats.set_source("paused", "on request; nothing is recorded")
        elif not paused and self._stats.source_state == "paused":
            self._stats.set_source("online")
        return paused

    def _release(self) -> None:
        """Give the chosen frames that waited for the clock their times, and queue them."""
        held, self._held = self._held, []
        controls = self._controls
        for chosen, event in held:
            if self._clock is not None:
                when = self._clock.time_of(chosen.pts_s, event.arrival_time, restarted=chosen.discontinuity)
                paces = self._key_frames.before(chosen) if self._key_frames else []
                if (self._archive is not None and self._archive.has(when)) or isinstance(event, Passed):
                    continue
                if self._archive is not None and (joint := self._archive.joint()):
                    self._inbox.put(joint)
                basis, masks = self._clock.basis, controls.settings.masks
                for pace in paces:
                    self._inbox.put(pace)
                self._inbox.put(preprocess(event, when, basis, controls.encoders, masks, self.images))
                self._stats.sampled += 1
                self._stats.pictures_damaged += event.picture_damaged
                if self._archive is not None:
                    self._archive.recorded(when)
