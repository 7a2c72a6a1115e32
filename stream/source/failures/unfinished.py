"""Recognises an MP4 file that was never finished: its index (moov), which is written last, is missing. Reads a few bytes of each box."""

import os
import struct

NEVER_FINISHED = (
    "the recording was never finished (its index, moov, is missing): it is still being written, or it was cut off; wait until its recorder "
    "has closed it, record fragmented MP4, MKV or TS to read a file meanwhile, or repair one that was cut off with untrunc"
)

_HEADER = struct.Struct(">I4s")  # size, kind
_LARGE = struct.Struct(">Q")  # the size, where the first one is 1
_FIRST = {b"ftyp", b"mdat", b"wide", b"free", b"skip", b"uuid"}
_MOST_BOXES = 1000


def was_never_finished(path: str) -> bool:
    """Whether this is an MP4 or MOV file without its index. False if it cannot be read."""
    try:
        return _lacks_index(path)
    except OSError:
        return False


def _lacks_index(path: str) -> bool:
    size, position = os.stat(path).st_size, 0
    kinds: set[bytes] = set()
    with open(path, "rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(position)
            head = file.read(_HEADER.size + _LARGE.size)
            if len(head) < _HEADER.size:
                break
            length, kind = _HEADER.unpack_from(head)
            if kind == b"moov" or (not kinds and kind not in _FIRST):
                return False
            kinds.add(kind)
            if length == 1 and len(head) == _HEADER.size + _LARGE.size:
                (length,) = _LARGE.unpack_from(head, _HEADER.size)
            if length < _HEADER.size or position + length > size:  # 0: to the end of the file
                break
            position += length
    return b"ftyp" in kinds or b"mdat" in kinds
