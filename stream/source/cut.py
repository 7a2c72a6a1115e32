"""Whether a file ends where a whole one would: with a whole packet of MPEG-TS, or a whole box of MP4. Reads no more than their heads.

A file that was cut elsewhere than between two of them is found even if it states no length, as MPEG-TS and MP4 in fragments do not.
"""

import os
from typing import BinaryIO

_TRANSPORT = ((188, 0), (192, 4))  # bytes of a packet of MPEG-TS, and where in it the sync byte is
_SYNC = 0x47
_MOST_BOXES = 100_000


def cut_within(path: str, container: str) -> str:
    """`packet` or `box` if the file ends within one, otherwise empty. container: FFmpeg's name of the format."""
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            if container == "mpegts":
                return "packet" if _ends_within_packet(file, size) else ""
            return "box" if "mp4" in container and _ends_within_box(file, size) else ""
    except OSError:
        return ""


def _ends_within_packet(file: BinaryIO, size: int) -> bool:
    head = file.read(2 * max(packet for packet, _ in _TRANSPORT))
    for packet, sync in _TRANSPORT:
        if len(head) > packet + sync and head[sync] == head[packet + sync] == _SYNC:
            return size % packet != 0
    return False


def _ends_within_box(file: BinaryIO, size: int) -> bool:
    place = 0
    for _ in range(_MOST_BOXES):
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if length < 8 or not head[4:8].isalnum():  # to the end of the file, or what follows is no box
            return False
        place += length
        if place >= size:
            return place > size
    return False
