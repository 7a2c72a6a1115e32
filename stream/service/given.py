"""Pictures and videos that come with a question: each set is ingested into a temporary memory, asked there, and deleted soon after.

They lie in `.given` of the memory, which is emptied at the start and the end of the service. A set is kept for some minutes, so that a
conversation that sends it again with each question does not cost ingesting it again. Belongs to the event loop.
"""

import asyncio
import hashlib
import logging
import shutil
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from afterview.configs import AfterviewError, UsageError
from afterview.memory.base.durable import make_directory
from afterview.memory.directory import Memory
from afterview.stream.errors import SourceUnreachable
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.service.aside import in_one_line
from afterview.stream.service.asked import Given
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import TooManyQuestions
from afterview.stream.service.line import QuestionLine
from afterview.stream.service.media import kind_of_bytes
from afterview.stream.service.people.access import Access
from afterview.stream.session import Session
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.events import WHOLE
from afterview.stream.source.recordings.archive import ArchivedFile
from afterview.stream.source.recordings.dated_pictures import joined

GIVEN = ".given"  # a directory of the memory
MOST_VIDEOS, MOST_PICTURES = 4, 64  # of one question
_MOST_KEPT = 8  # sets at once, with those that are asked now
_KEPT_S = 600.0  # after the last question
_LONGEST_LINE = 8  # sets that wait to be ingested: one at a time is
_MOST_FRAMES = 3600  # of one set: an hour at one frame per second
_MOST_BYTES = 2_000_000_000  # of one set on the disk
_LONGEST_S = 300.0  # that ingesting one set may take
_WATCH_EVERY_S = 0.05
_FULL_RETRY_S = 10
_SIZE_EVERY = 64  # frames
_MOST_UUIDS = 256

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Medium:
    """A picture or a video of a question. place: where it stands in the request. content: None: it was sent before, by its uuid."""

    place: str
    digest: str
    content: bytes | None = field(repr=False)
    uuid: str | None = None

    @classmethod
    def of(cls, place: str, content: bytes, uuid: str | None = None) -> "Medium":
        """Of bytes."""
        return cls(place, hashlib.sha256(content).hexdigest(), content, uuid)


@dataclass
class _Kept:
    """One set. users: questions that use it now. used: when the last one ended, by the loop's clock."""

    path: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    given: Given | None = None
    users: int = 0
    used: float = 0.0


class GivenMedia:
    """The sets that the service has now. counted: what became of all of them."""

    def __init__(self, engine: Engine, counted: Counter[str]) -> None:
        self._engine = engine
        self._line = QuestionLine(_LONGEST_LINE)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._digests: OrderedDict[tuple[str, str], str] = OrderedDict()  # by user and uuid
        self.counted = counted
        self._entering = 0  # questions whose pictures and videos are in memory

    def by_uuid(self, place: str, given: str, access: Access) -> Medium:
        """What the same user sent before under a uuid. Raises UsageError."""
        digest = self._digests.get((access.user, given))
        if digest is None:
            raise UsageError(f"{place}: nothing was sent with this uuid lately; send the picture or the video again")
        return Medium(place, digest, None, given)

    @asynccontextmanager
    async def opened(self, media: Sequence[Medium], access: Access) -> AsyncIterator[Given]:
        """A memory of these, kept at least until leaving. Raises UsageError, TooManyQuestions, and what ingesting raises."""
        if self._entering > _LONGEST_LINE:
            self.counted["refused"] += 1
            why = f"{self._entering} sets of pictures and videos wait to be read; try again in {_FULL_RETRY_S} s"
            raise TooManyQuestions(why, _FULL_RETRY_S)
        key = hashlib.sha256("\0".join((access.user, *(one.digest for one in media))).encode()).hexdigest()
        kept = self._kept.get(key) or self._add(key)
        kept.users += 1
        self._kept.move_to_end(key)
        try:
            given = await self._ingested(kept, media, access)
            self._digests.update({(access.user, one.uuid): one.digest for one in media if one.uuid is not None})
            while len(self._digests) > _MOST_UUIDS:
                self._digests.popitem(last=False)
            del media  # many bytes, and the question may wait for long
            yield given
        finally:
            loop = asyncio.get_running_loop()
            kept.users, kept.used = kept.users - 1, loop.time()
            if kept.given is None and not kept.users:
                self._remove(key)
            loop.call_later(_KEPT_S + 1, self._tidy)

    async def _ingested(self, kept: _Kept, media: Sequence[Medium], access: Access) -> Given:
        """The memory of a set; who comes while it is made waits."""
        self._entering += 1
        try:
            async with kept.lock:
                if kept.given is None:
                    async with self._line.turn(access.client):
                        kept.given = await self._engine.spawn(self._ingest(media, kept.path))
                else:
                    self.counted["reused"] += 1
                return kept.given
        finally:
            self._entering -= 1

    def _add(self, key: str) -> _Kept:
        """Room for one more set; the one that was unused for the longest goes. Raises TooManyQuestions."""
        self._tidy()
        if len(self._kept) >= _MOST_KEPT:
            oldest = next((key for key, kept in self._kept.items() if not kept.users), None)
            if oldest is None:
                self.counted["refused"] += 1
                why = f"{_MOST_KEPT} sets of pictures and videos are asked at once; try again in {_FULL_RETRY_S} s"
                raise TooManyQuestions(why, _FULL_RETRY_S)
            self._remove(oldest)
        self._kept[key] = _Kept(self._engine.path / GIVEN / uuid.uuid4().hex)
        return self._kept[key]

    def _tidy(self) -> None:
        now = asyncio.get_running_loop().time()
        for key in [key for key, kept in self._kept.items() if not kept.users and now - kept.used >= _KEPT_S]:
            self._remove(key)

    def _remove(self, key: str) -> None:
        path = self._kept.pop(key).path
        asyncio.get_running_loop().run_in_executor(None, lambda: shutil.rmtree(path, ignore_errors=True))

    async def _ingest(self, media: Sequence[Medium], place: Path) -> Given:
        """Ingest a set into a memory in `place`."""
        engine, ends = self._engine, time.monotonic() + _LONGEST_S
        encoders = engine.model.encoders
        try:
            cameras = await engine.read(lambda: _write(media, place))
            session = Session(place / "memory", encoders, timezone="UTC")
            notes: list[str] = []
            async with session:
                frames = 0
                for name, config in cameras:
                    repository = await engine.read(lambda name=name, config=config: session.open(name, config))  # type: ignore[misc]
                    ingest = session.start(config, repository)
                    await self._watch(ingest, place, frames, ends)
                    frames += ingest.status().recorded
                    notes += _notes(name, ingest)
            for source in place.glob("source-*"):
                source.unlink()
        except BaseException:
            self.counted["failed"] += 1
            raise
        self.counted["ingested"] += 1
        return Given(Memory(place / "memory"), tuple(notes))

    async def _watch(self, ingest: CameraIngest, place: Path, before: int, ends: float) -> None:
        """Wait for the end of one source. Raises UsageError for one that cannot be read, and for one beyond a limit."""
        shown, checked = ingest.config.address.redacted, 0
        while True:
            ended = ingest.status().state in ("ended", "failed")
            recorded = before + ingest.status().recorded
            if recorded > _MOST_FRAMES:
                raise UsageError(f"{shown}: gives more than {_MOST_FRAMES} frames; {_RECORD}")
            if recorded - checked >= _SIZE_EVERY:
                checked = recorded
                if await self._engine.read(lambda: _size(place)) > _MOST_BYTES:
                    raise UsageError(f"{shown}: takes more than {_MOST_BYTES / 1e9:g} GB as features; {_RECORD}")
            if ended:
                break
            if time.monotonic() > ends:
                raise UsageError(f"{shown}: takes longer than {_LONGEST_S:g} s to read; {_RECORD}")
            await asyncio.sleep(_WATCH_EVERY_S)
        if ingest.failure is not None:
            raise _in_words(shown, ingest.failure)
        if not ingest.status().recorded:
            raise UsageError(f"{shown}: {_NOTHING}")


_RECORD = "give a shorter one, or record it with `afterview replay`"
_NOTHING = "no picture could be decoded from it; check that it plays"


def _in_words(shown: str, error: BaseException) -> AfterviewError:
    if isinstance(error, SourceUnreachable):  # speaks of hosts and networks
        said = _NOTHING
    elif isinstance(error, AfterviewError):
        said = str(error)
    else:
        said = in_one_line(error) if isinstance(error, Exception) else type(error).__name__
    return UsageError(said if said.startswith(shown) else f"{shown}: {said}")


def _notes(name: str, ingest: CameraIngest) -> list[str]:
    """What an answer must say of how a source ended."""
    status = ingest.status()
    notes = [] if status.detail in ("", WHOLE) else [f"{name}: {status.detail}"]
    if status.pictures_damaged:
        notes.append(f"{name}: {status.pictures_damaged} of its frames have a damaged picture")
    return notes


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _write(media: Sequence[Medium], place: Path) -> list[tuple[str, IngestConfig]]:
    """Write the files; the cameras to ingest them into: one for all pictures, one for each video. Raises UsageError."""
    make_directory(place.parent)
    place.parent.chmod(0o700)
    place.mkdir(mode=0o700)
    pictures: list[ArchivedFile] = []
    videos: list[ArchivedFile] = []
    for number, one in enumerate(media):
        if one.content is None:
            raise UsageError(f"{one.place}: what was sent with this uuid is no longer kept; send it again")
        try:
            kind = kind_of_bytes(one.content)
        except UsageError as error:
            raise UsageError(f"{one.place}: {error}") from None
        path = place / f"source-{number}{kind.suffix}"
        path.write_bytes(one.content)
        address = SourceAddress("file", str(path), one.place, live=False, suggested_name="")
        if kind.kind == "picture":
            pictures.append(ArchivedFile(address, float(len(pictures)), "given"))
        else:
            videos.append(ArchivedFile(address, 0.0, "given", forced=True))
    if len(videos) > MOST_VIDEOS or len(pictures) > MOST_PICTURES:
        raise UsageError(
            f"{media[-1].place}: at most {MOST_VIDEOS} videos and {MOST_PICTURES} pictures are taken with one question, not "
            f"{len(videos)} and {len(pictures)}"
        )
    cameras = []
    if pictures:
        shown = SourceAddress("file", str(place), pictures[0].address.redacted, live=False, suggested_name="")
        cameras.append(("pictures", [joined(pictures, shown)]))
    cameras += [(f"video-{number}" if len(videos) > 1 else "video", [one]) for number, one in enumerate(videos, 1)]
    return [
        (name, IngestConfig(files[0].address, live=False, start=0.0, files=tuple(files))) for name, files in cameras
    ]


def delete_given(memory: Path) -> None:
    """Delete what a service left, at its start and its end."""
    shutil.rmtree(memory / GIVEN, ignore_errors=True)
