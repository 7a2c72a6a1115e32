"""Files that a person names for `replay`: single files, folders, patterns such as 'nvr/*/front/*.mp4'. Looks at names and first bytes."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from afterview.memory.base.camera import ANSWERS
from afterview.stream.errors import BadUrl, NotAVideo, SourceNotFound
from afterview.stream.source.address.address import SourceAddress, file_address, parse_source
from afterview.stream.source.address.redact import printable
from afterview.stream.source.recordings.animation import is_animated_webp
from afterview.stream.source.recordings.name_dates import natural

FileKind = Literal["video", "picture", "other"]

_VIDEO_SUFFIXES = (
    ".mp4 .m4v .mov .qt .mkv .webm .avi .ts .m2ts .mts .mpg .mpeg .m2v .vob .flv .f4v .wmv .asf .3gp .3g2 .ogv .dav .h264 .264 .h265 .265 "
    ".hevc .avc .mjpeg .mjpg .y4m .nut .gif .apng .ivf .obu .mxf .rm .rmvb"
)
_PICTURE_SUFFIXES = ".jpg .jpeg .jpe .png .bmp .tif .tiff .webp .ppm .pgm .jp2 .avif"
_OTHER_SUFFIXES = (
    ".txt .json .xml .html .htm .md .csv .log .db .sqlite .idx .idx2 .srt .vtt .sub .nfo .ini .cfg .yaml .yml .zip .gz .tar .pdf .exe "
    ".py .sh .mp3 .wav .aac .m4a .flac .ogg .opus .part .tmp .crdownload .lock .pid .m3u8 .mpd .sdp .psi"
)
_VIDEOS, _PICTURES, _OTHERS = (
    frozenset(suffixes.split()) for suffixes in (_VIDEO_SUFFIXES, _PICTURE_SUFFIXES, _OTHER_SUFFIXES)
)
_HEAD = 200  # bytes that tell what a file without a known suffix is
_MPEG_TS = 188  # bytes of a packet of a transport stream


@dataclass(frozen=True)
class FoundFiles:
    """What was found, in natural order of names. left_out: paths in folders that are neither videos nor pictures."""

    videos: tuple[SourceAddress, ...]
    pictures: tuple[SourceAddress, ...]
    left_out: tuple[str, ...]


def names_several(text: str) -> bool:
    """Whether a text names a folder, or is a pattern: something that `find_files` expands."""
    return _is_pattern(text) or _is_folder(text)


def is_picture(text: str) -> bool:
    """Whether a text names a file with a still picture."""
    return os.path.isfile(text) and kind_of(text) == "picture"


def find_files(texts: Sequence[str]) -> FoundFiles:
    """The files that the texts name; each once. A pattern is expanded here, so that it may be quoted.

    Hidden files and folders are left out unless they are named. Raises SourceNotFound (nothing there, nothing matches), NotAVideo, BadUrl.
    """
    videos: dict[str, SourceAddress] = {}
    pictures: dict[str, SourceAddress] = {}
    left_out: dict[str, str] = {}  # for people, by the true path
    for text in texts:
        for path, named in _paths(text):
            kind = kind_of(path)
            if kind == "other" and not named:
                left_out.setdefault(_true_path(path), printable(path))
                continue
            if not named and (why := _unusable(path)):
                left_out.setdefault(_true_path(path), f"{printable(path)} ({why})")
                continue
            (pictures if kind == "picture" else videos).setdefault(os.path.realpath(path), file_address(path))
    if not (videos or pictures):
        raise NotAVideo(
            f"{', '.join(map(printable, texts))}: there is no video and no picture in it{_examples(list(left_out.values()))}"
        )
    return FoundFiles(_sorted(videos), _sorted(pictures), tuple(left_out.values()))


def _true_path(path: str) -> str:
    """The path without the links that lead to its folder: links in a circle lead to a file in many ways."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _unusable(path: str) -> str:
    """Why a file that nobody named is left out; empty if it is not."""
    if not os.path.isfile(path):
        return "a broken link" if os.path.islink(path) else "a special file"
    return "" if os.path.getsize(path) else "empty"


def _sorted(found: dict[str, SourceAddress]) -> tuple[SourceAddress, ...]:
    return tuple(sorted(found.values(), key=lambda address: natural(address.url)))


def _examples(paths: Sequence[str]) -> str:
    return f" (only others, such as {os.path.basename(paths[0])})" if paths else ""


def _paths(text: str) -> Iterator[tuple[str, bool]]:
    """The files that a text names, and whether it names them itself."""
    if not _exists(text) and _is_pattern(text):
        matches = sorted(glob.glob(os.path.expanduser(text), recursive=True), key=natural)
        if not matches:
            raise SourceNotFound(f"{printable(text)}: no file matches this pattern")
        for match in matches:
            if os.path.isdir(match):
                if not text.endswith("**"):
                    yield from ((path, False) for path in _in_folder(match))
            else:
                yield match, False
    elif _is_folder(text):
        yield from ((path, False) for path in _in_folder(os.path.expanduser(text)))
    else:
        address = parse_source(text)
        if address.live:
            raise BadUrl(f"{address.redacted}: is live; use `afterview watch`")
        yield address.url, True


def _in_folder(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise SourceNotFound(f"{printable(error.filename or folder)}: cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=refuse):
        # `@eaDir` is where Synology keeps its thumbnails; `camera.json` marks a camera of a memory, with its own pictures
        cameras = {name for name in folders if os.path.exists(os.path.join(place, name, "camera.json"))}
        unwanted = cameras | ({ANSWERS} if cameras else set())
        folders[:] = sorted(name for name in folders if not name.startswith((".", "@eaDir")) and name not in unwanted)
        yield from (os.path.join(place, name) for name in sorted(files, key=natural) if not name.startswith("."))


def kind_of(path: str) -> FileKind:
    """What a file is, by its suffix; by its first bytes where that says nothing."""
    suffix = Path(path).suffix.lower()
    if suffix == ".webp":
        return "video" if is_animated_webp(path) else "picture"
    if suffix == ".png" and b"acTL" in _head(path):  # an animation
        return "video"
    if suffix in _VIDEOS:
        return "video"
    if suffix in _PICTURES:
        return "picture"
    return "other" if suffix in _OTHERS or not os.path.isfile(path) else _kind_by_content(_head(path))


def _kind_by_content(head: bytes) -> FileKind:
    video = (
        head[4:8] in (b"ftyp", b"moov", b"moof", b"styp"),
        head.startswith((b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"FLV\x01", b"DHAV", b"IMKH")),
        head[:4] == b"RIFF" and head[8:12] == b"AVI ",
        len(head) > _MPEG_TS and head[0] == head[_MPEG_TS] == 0x47,
    )
    if any(video):
        return "video"
    return "picture" if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM")) else "other"


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not _exists(text)


def _is_folder(text: str) -> bool:
    try:
        return os.path.isdir(os.path.expanduser(text))
    except ValueError:  # a NUL in it
        return False


def _exists(text: str) -> bool:
    try:
        return os.path.lexists(os.path.expanduser(text))
    except ValueError:
        return False
