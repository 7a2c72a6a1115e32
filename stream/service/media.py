"""What kind of file some bytes are, by themselves, and whether they may be decoded. No name and no stated type counts.

Only containers that hold their pictures themselves are taken: a playlist (HLS, concat, SDP) would make FFmpeg read other files and
addresses of this machine. Pillow reads the size of a picture from its head before anything is decoded.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from afterview.configs import UsageError
from afterview.stream.source.recordings.stills import UNREADABLE

MOST_PIXELS = 50_000_000  # of one picture: more than 8K has
_MPEG_TS = 188  # bytes of a packet
_ISO = (b"ftyp", b"moov", b"moof", b"styp")
_PICTURES = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"))
_VIDEOS = ((b"\x1aE\xdf\xa3", ".mkv"), (b"\x00\x00\x01\xba", ".mpg"), (b"FLV\x01", ".flv"))
_KNOWN = "JPEG, PNG, GIF, WebP and BMP pictures, and videos in MP4, MOV, MKV, WebM, AVI, MPEG-TS, MPEG-PS and FLV"


@dataclass(frozen=True)
class MediumKind:
    """A still picture or a video (also an animation), and the suffix of its name."""

    kind: Literal["picture", "video"]
    suffix: str


def kind_of_bytes(data: bytes) -> MediumKind:
    """Raises UsageError for anything that is not taken, without a name: the caller says of what."""
    if not data:
        raise UsageError("is empty; give a picture or a video")
    suffix = next((suffix for magic, suffix in _VIDEOS if data.startswith(magic)), "")
    if data[4:8] in _ISO:
        suffix = ".mp4"
    elif data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        suffix = ".avi"
    elif len(data) > _MPEG_TS and data[0] == data[_MPEG_TS] == 0x47:
        suffix = ".ts"
    if suffix:
        return MediumKind("video", suffix)
    suffix = next((suffix for magic, suffix in _PICTURES if data.startswith(magic)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        suffix = ".webp"
    if not suffix:
        raise UsageError(f"is neither a picture nor a video that is known; known are {_KNOWN}")
    return MediumKind("video" if _is_animated(data) else "picture", suffix)


def _is_animated(data: bytes) -> bool:
    """Raises UsageError for a picture that Pillow cannot read, or that is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures; they are refused below
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                animated = bool(getattr(image, "is_animated", False))
    except UNREADABLE:
        raise UsageError("is a damaged picture; check that it opens elsewhere") from None
    if width * height > MOST_PIXELS:
        raise UsageError(
            f"is a picture of {width}x{height} pixels; at most {MOST_PIXELS // 10**6} million are taken: scale it down"
        )
    return animated
