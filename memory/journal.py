"""The journal: where every frame goes first. One file of length-prefixed records, each with a CRC.

    "AFTRJNL1"                                         8 bytes, once
    length u32 | crc32 u32 | header_length u32 | header (JSON) | parts          repeated; length counts from header_length

A crash can leave one unfinished record at the end; it was never acknowledged and is cut off when a writer opens the file.
A record that fails its checksum *before* others is damage, and is said so.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory.durable import fsync_directory, write_file
from memory.errors import DamagedMemory

MAGIC = b"AFTRJNL1"
_PREFIX = struct.Struct("<II")  # length, crc32
_HEADER_LENGTH = struct.Struct("<I")
_LARGEST_RECORD = 1 << 30  # bytes; a length beyond it is not a length


@dataclass(frozen=True)
class Record:
    """One journal record: a small JSON header and named binary parts."""

    header: Mapping[str, Any]
    parts: Mapping[str, bytes]
    crc: int = 0  # filled in when read or written


def encode(header: Mapping[str, Any], parts: Mapping[str, bytes]) -> tuple[bytes, int]:
    """The record's bytes and its CRC."""
    text = json.dumps({**header, "parts": {name: len(part) for name, part in parts.items()}}).encode()
    payload = b"".join([_HEADER_LENGTH.pack(len(text)), text, *parts.values()])
    crc = zlib.crc32(payload)
    return _PREFIX.pack(len(payload), crc) + payload, crc


def _decode(payload: bytes, crc: int) -> Record:
    (size,) = _HEADER_LENGTH.unpack_from(payload)
    header = json.loads(payload[4 : 4 + size])
    offset, parts = 4 + size, {}
    for name, length in header.pop("parts").items():
        parts[name] = payload[offset : offset + length]
        offset += length
    return Record(header, parts, crc)


def scan(data: bytes, *, where: str) -> tuple[list[Record], int]:
    """All whole records of a journal's bytes, and the offset at which they end.

    Raises DamagedMemory when the file is no journal, or when a damaged record is followed by sound ones.
    """
    if len(data) < len(MAGIC):
        return [], 0
    if not data.startswith(MAGIC):
        raise DamagedMemory(f"{where}: is not a journal; move it away to go on without the frames in it")
    records: list[Record] = []
    offset = len(MAGIC)
    for start, end, crc in _frames(data, offset):
        payload = data[start:end]
        if zlib.crc32(payload) != crc:
            if _sound_record_after(data, end):
                raise DamagedMemory(f"{where}: record {len(records)} at byte {start - _PREFIX.size} fails its checksum")
            break
        records.append(_decode(payload, crc))
        offset = end
    return records, offset


def _frames(data: bytes, offset: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, crc) of each payload that lies whole within `data`."""
    while offset + _PREFIX.size <= len(data):
        length, crc = _PREFIX.unpack_from(data, offset)
        start = offset + _PREFIX.size
        if not _HEADER_LENGTH.size <= length <= _LARGEST_RECORD or start + length > len(data):
            return
        yield start, start + length, crc
        offset = start + length


def _sound_record_after(data: bytes, offset: int) -> bool:
    return any(zlib.crc32(data[start:end]) == crc for start, end, crc in _frames(data, offset))


class Journal:
    """The writer's end of a journal file. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Opens or creates `path`, cutting off an unfinished record. `recovered` holds the records that were there."""
        self.path = path
        if not path.exists():
            write_file(path, MAGIC)
        self.recovered, end = scan(path.read_bytes(), where=str(path))
        self.cut_bytes = path.stat().st_size - max(end, len(MAGIC))  # of an unfinished record: never acknowledged
        self._file = path.open("r+b")
        if end == 0:
            self._file.write(MAGIC)
            self.cut_bytes = 0
        else:
            self._file.truncate(end)
            self._file.seek(end)
        self.sync()

    def append(self, header: Mapping[str, Any], parts: Mapping[str, bytes]) -> int:
        """Write one record (durable only after `sync`); returns its CRC. A failed write leaves no trace behind."""
        data, crc = encode(header, parts)
        start = self._file.tell()
        try:
            self._file.write(data)
            self._file.flush()
        except OSError:
            self._rewind(start)
            raise
        return crc

    def _rewind(self, start: int) -> None:
        # A full disk can leave half a record, in the file and in Python's buffer: reopen without either.
        descriptor = self._file.fileno()
        try:
            os.ftruncate(descriptor, start)
        finally:
            self._file = self.path.open("r+b")
            self._file.seek(start)

    def sync(self) -> None:
        """Make everything appended so far durable."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def replace(self, records: Sequence[tuple[Mapping[str, Any], Mapping[str, bytes]]]) -> None:
        """Start afresh with only `records`; atomic, durable."""
        write_file(self.path, b"".join([MAGIC, *(encode(header, parts)[0] for header, parts in records)]))
        self._file.close()
        self._file = self.path.open("r+b")
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Sync and close."""
        if not self._file.closed:
            self.sync()
            self._file.close()
            fsync_directory(self.path.parent)
