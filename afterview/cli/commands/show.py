"""`afterview show`: frames as pictures. Reads images only, and loads no model."""

import argparse
import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.cli.arguments import positive_duration, readable_memory
from afterview.cli.output.answers import PICTURE_DAMAGED
from afterview.cli.output.documents import columns_of, dump, print_skipped
from afterview.cli.output.sheets import FORMATS, picture_path, picture_place, write_picture, write_sheet
from afterview.cli.viewer import open_picture
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.typed_times import parse_time, spell_duration
from afterview.memory.directory import Memory
from afterview.stream.ask.frame_images import image_of
from afterview.stream.ask.looking import Chosen, frame_at, frame_numbered, frames_of_span, newest_frame

if TYPE_CHECKING:
    from afterview.memory.reading.reader import CameraReader
    from afterview.memory.reading.snapshot import MemorySnapshot

_COUNT = 12  # frames of a span
_MOST = 100  # frames of one picture

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Frame:
    """A frame to show. image: empty where it cannot be read; `why` says so."""

    info: CameraInfo
    number: int
    time: float
    image: bytes
    why: str
    before_s: float | None
    picture_damaged: bool

    @property
    def note(self) -> str:
        """What to know about the picture."""
        return f" ({PICTURE_DAMAGED})" if self.picture_damaged else ""

    def to_dict(self, path: Path | None) -> dict[str, Any]:
        return {
            "camera": self.info.id,
            "frame": self.number,
            "time": self.time,
            "time_iso": self.info.iso(self.time),
            "before_s": None if self.before_s is None else round(self.before_s, 3),
            "picture_damaged": self.picture_damaged,
            "image": path and str(path),
            "problem": None if self.image else self.why,
        }


def run(arguments: argparse.Namespace) -> int:
    """Show one frame or several."""
    _check(arguments)
    output, sheet = (
        picture_path(f"--{name}", getattr(arguments, name), force=arguments.force) for name in ("output", "sheet")
    )
    memory = Memory(readable_memory(arguments.memory))
    frames, notes, skipped = _find(memory, arguments)
    if _is_span(arguments) or len(frames) > 1:
        if output and sheet:
            raise UsageError("several frames make one picture; give --sheet or --output, not both")
        sheet, output = picture_place(sheet or output, f"{frames[0].info.id}.jpg"), None
    elif output is None and sheet is None and frames[0].image:
        output = picture_place(None, f"{frames[0].info.id}-{frames[0].number}.jpg")
    if output is not None and frames[0].image:
        write_picture(output, _as_format(frames[0].image, output))
    readable = [frame for frame in frames if frame.image]
    if sheet is not None and readable:
        notes += [note] if (note := _write_sheet(arguments, frames, notes, sheet)) else []
    output, sheet = (path if readable else None for path in (output, sheet))
    if arguments.json:
        documents = [frame.to_dict(output) for frame in frames]
        dump({"frames": documents, "sheet": sheet and str(sheet), "notes": notes, "skipped": skipped}, arguments.memory)
    else:
        _print(frames, notes, skipped, output, sheet)
    if arguments.open and (opened := sheet or output):
        open_picture(opened)
    return ExitStatus.OK if readable else ExitStatus.FAILURE


def _is_span(arguments: argparse.Namespace) -> bool:
    return any(value is not None for value in (arguments.start, arguments.end, arguments.last, arguments.count))


def _check(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together."""
    if arguments.last is not None and (arguments.start is not None or arguments.end is not None):
        raise UsageError("--last says where the span begins and ends; leave out --from and --to")
    ways = {"--at": arguments.at is not None, "--frame": arguments.frame is not None, "a span": _is_span(arguments)}
    chosen = [name for name, given in ways.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)}: give one of them")
    if arguments.count is not None and not 1 <= arguments.count <= _MOST:
        raise UsageError(f"--count {arguments.count}: must be between 1 and {_MOST}")
    if arguments.frame is not None and arguments.frame < 0:
        raise UsageError(f"--frame {arguments.frame}: must be at least 0")


def _find(memory: Memory, arguments: argparse.Namespace) -> tuple[list[_Frame], list[str], dict[str, str]]:
    """The frames of every camera, notes, and the cameras that have none, with the reason. Raises it where no camera has any."""
    if arguments.frame is not None and len(arguments.camera or memory.camera_ids()) > 1:
        raise UsageError(f"--frame: give one --camera; there are: {', '.join(memory.camera_ids())}")
    frames: list[_Frame] = []
    notes: list[str] = []

    def look(reader: "CameraReader") -> None:
        snapshot = reader.snapshot()
        chosen = _choose(snapshot, arguments)
        notes.extend(f"{reader.info.id}: {note}" for note in chosen.notes)
        frames.extend(_read(reader, snapshot, chosen))

    found = memory.each(look, arguments.camera)
    if len(frames) > _MOST:
        raise UsageError(
            f"{len(frames)} frames of {len(found.results)} cameras; a picture takes {_MOST}: give --camera or a smaller --count"
        )
    return frames, notes, found.skipped


def _choose(snapshot: "MemorySnapshot", arguments: argparse.Namespace) -> Chosen:
    now, zone = time.time(), snapshot.info.timezone

    def moment(text: str | None) -> float | None:
        return None if text is None else parse_time(text, timezone=zone, now=now)

    if arguments.frame is not None:
        return frame_numbered(snapshot, arguments.frame)
    if (at := moment(arguments.at)) is not None:
        if at > now and at > (snapshot.times[-1] if snapshot.frames else 0):
            raise UsageError(f"--at {arguments.at}: {snapshot.info.show(at)} lies in the future")
        return frame_at(snapshot, at)
    if not _is_span(arguments):
        return newest_frame(snapshot)
    start, end = moment(arguments.start), moment(arguments.end)
    if arguments.last is not None:
        start, end = now - positive_duration("--last", arguments.last), now
    return frames_of_span(snapshot, start, end, arguments.count or _COUNT)


def _read(reader: "CameraReader", snapshot: "MemorySnapshot", chosen: Chosen) -> list[_Frame]:
    found = []
    for number in chosen.frames:
        image, why = image_of(snapshot, number)
        damaged = snapshot.picture_damaged(number)
        found.append(_Frame(reader.info, number, snapshot.time_of(number), image, why, chosen.before_s, damaged))
    return found


def _as_format(image: bytes, path: Path) -> bytes:
    """The stored JPEG, or the same picture as PNG."""
    if FORMATS[path.suffix.lower()] == "JPEG":
        return image
    from PIL import Image  # late: a JPEG is written as it is

    file = io.BytesIO()
    with Image.open(io.BytesIO(image)) as opened:
        opened.save(file, "PNG")
    return file.getvalue()


def _write_sheet(arguments: argparse.Namespace, frames: list[_Frame], notes: list[str], path: Path) -> str:
    from afterview.stream.contact_sheet import SheetFrame, SheetText

    cards = [
        SheetFrame(
            frame.image, frame.info.show(frame.time), f"{frame.info.id}, frame {frame.number}{frame.note}",
            f"{spell_duration(frame.before_s)} before" if frame.before_s else "", why=frame.why,
        )
        for frame in frames
    ]  # fmt: skip
    cameras = ", ".join(dict.fromkeys(frame.info.id for frame in frames))
    first, last = min(frames, key=lambda frame: frame.time), max(frames, key=lambda frame: frame.time)
    span = f"{first.info.show(first.time)} to {last.info.show(last.time)}"
    if first.before_s is not None:
        span = f"at {first.info.show(first.time + first.before_s)}"
    elif first.time == last.time:
        span = first.info.show(first.time)
    return write_sheet(
        path, cards, [SheetText(cameras, "title"), SheetText(span)], [SheetText(note, "small") for note in notes]
    )


def _print(
    frames: list[_Frame], notes: list[str], skipped: dict[str, str], output: Path | None, sheet: Path | None
) -> None:
    names = columns_of(frame.info.id for frame in frames)
    for frame in frames:
        before = f"  {spell_duration(frame.before_s)} before the time asked for" if frame.before_s else ""
        path = f"  {output}" if output else ""
        problem = "" if frame.image else f"  cannot be shown: {frame.why}"
        print(
            f"{names[frame.info.id]}  {frame.info.show_exact(frame.time)}  frame {frame.number}{frame.note}{before}{path}{problem}"
        )
    for note in notes:
        print(f"note: {note}")
    print_skipped(skipped, "not shown")
    if sheet:
        print(f"sheet: {sheet}")
