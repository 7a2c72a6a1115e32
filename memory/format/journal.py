"""The journal: every frame is written here first. One file of length-prefixed records, each with a CRC.

    "AFTRJNL1"                                         8 bytes, once
    length u32 | crc32 u32 | header_length u32 | header (JSON) | parts          repeated; length counts from header_length

Each header says up to which byte the journal had been fsync'd when the record was written (`durable`). This distinguishes two kinds of
records with a wrong checksum. After the last byte that a sound record knows to be durable, it is an unacknowledged write:
the next writer truncates it. Before that byte it is damage, and it is reported.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afterview.configs.system_errors import is_misplaced, reason
from afterview.memory.base import durable
from afterview.memory.base.durable import write_file
from afterview.memory.base.errors import DamagedMemory, Unreadable
from afterview.memory.base.failpoints import reach
from afterview.memory.format.in_place import as_finished, overwrite_part

MAGIC = b"AFTRJNL1"
_PREFIX = struct.Struct("<II")  # length, crc32
_HEADER_LENGTH = struct.Struct("<I")
_LARGEST_RECORD = 1 << 30  # bytes; a larger length is damage
_ITSELF = -1  # `durable` of a record written by `replace`: it and all records before it are durable
_HEADER_START = (
    b'{"durable": '  # every header begins like this: marks where the next sound record may begin after a damaged one
)

Entry = tuple[dict[str, Any], dict[str, bytes]]  # header and parts of a record to be written


@dataclass(frozen=True)
class Record:
    """One journal record: a small JSON header and named binary parts."""

    header: Mapping[str, Any]
    parts: Mapping[str, bytes]


@dataclass
class Scan:
    """The content of a journal's bytes. end: where its sound records end. damage: what is wrong before that, one line each.

    torn: number of bytes after `end`, from writes that were never acknowledged.
    """

    records: list[Record] = field(default_factory=list)
    end: int = 0
    damage: list[str] = field(default_factory=list)
    torn: int = 0


def encode(header: Mapping[str, Any], parts: Mapping[str, bytes], *, durable_bytes: int = 0) -> bytes:
    """A record's bytes. durable_bytes: how much of the journal is known to be durable."""
    whole = {"durable": durable_bytes, **header, "parts": {name: len(part) for name, part in parts.items()}}
    text = json.dumps(whole).encode()
    payload = b"".join([_HEADER_LENGTH.pack(len(text)), text, *parts.values()])
    return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def encode_file(records: Sequence[Entry]) -> bytes:
    """The bytes of a whole journal, which replaces another at once."""
    return b"".join([MAGIC, *(encode(header, parts, durable_bytes=_ITSELF) for header, parts in records)])


def _decode(payload: bytes) -> Record:
    (size,) = _HEADER_LENGTH.unpack_from(payload)
    header = json.loads(payload[4 : 4 + size])
    offset, parts = 4 + size, {}
    for name, length in header.pop("parts").items():
        parts[name] = payload[offset : offset + length]
        offset += length
    return Record(header, parts)


def scan(data: bytes, *, where: str) -> Scan:
    """Every sound record of a journal's bytes, also those after damaged ones. Raises DamagedMemory if the file is no journal."""
    if not data.startswith(MAGIC):
        what = "is not a journal" if data else "is empty"
        raise DamagedMemory(f"{where}: {what}; `afterview fsck --repair` records the frames in it as lost")
    sound = [(start, end, _decode(data[start + _PREFIX.size : end])) for start, end in _sound_records(data)]
    known = max((_durable_bytes(record, end) for _, end, record in sound), default=0)
    found = Scan(end=len(MAGIC))
    for start, end, record in sound:
        if start > found.end and start > known:
            break  # sound records after a torn one: the disk wrote them out of order, and none was acknowledged
        if start > found.end:
            found.damage.append(f"bytes {found.end} to {start} fail their checksum")
        found.records.append(record)
        found.end = end
    if known > found.end:
        found.damage.append(f"bytes {found.end} to {known} are missing")
    found.torn = len(data) - found.end
    return found


def read_journal(path: Path) -> bytes:
    """A journal's bytes. Raises Unreadable; DamagedMemory if it is missing: a camera has one from its creation, and it is only replaced."""
    try:
        return as_finished(path.parent, path, path.read_bytes())
    except FileNotFoundError:
        raise DamagedMemory(f"{path}: is missing; `afterview fsck --repair` records the frames in it as lost") from None
    except OSError as error:
        if not is_misplaced(error):
            raise Unreadable.from_system(error, path) from None
        why = reason(error, path)
        raise DamagedMemory(
            f"{path}: cannot be read: {why}; move it away, then `afterview fsck --repair` records the frames in it as lost"
        ) from None


def frames_in(data: bytes, first: int, end: int) -> Iterator[Record]:
    """The records of the frames [first, end) in a journal's bytes, also those that are sealed already."""
    for begin, stop in _sound_records(data):
        record = _decode(data[begin + _PREFIX.size : stop])
        if record.header["type"] == "frame" and first <= record.header["id"] < end:
            yield record


def _blanked(data: bytes, times: Mapping[int, float]) -> bytes:
    """A record of the same length without content, if it is a frame of `times`; otherwise the record as it is."""
    record = _decode(data[_PREFIX.size :])
    header, parts = record.header, record.parts
    if header["type"] != "frame" or header["id"] not in times or not any(map(any, parts.values())):
        return data
    (size,) = _HEADER_LENGTH.unpack_from(data, _PREFIX.size)
    wanted, lengths = times[header["id"]], {name: len(part) for name, part in parts.items()}
    for time in (wanted, round(wanted, 3), round(wanted), header["time"]):  # a long fraction may not fit
        new = {**header, "time": time, "arrival": 0, "source": None, "basis": 0, "parts": lengths}
        new.pop("picture_damaged", None)
        text = json.dumps(new).encode()
        if len(text) <= size:
            break
    else:
        text = data[_PREFIX.size + _HEADER_LENGTH.size :][:size]
    content = bytes(sum(lengths.values()))
    payload = b"".join([_HEADER_LENGTH.pack(size), text.ljust(size), content])
    return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


def _durable_bytes(record: Record, end: int) -> int:
    """How much of the journal a record knows to be durable."""
    known = int(record.header["durable"])
    return end if known == _ITSELF else known


def _sound_records(data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each record with a right checksum, in order; searches for the next one after a damaged one."""
    offset: int | None = len(MAGIC)
    while offset is not None and offset + _PREFIX.size <= len(data):
        length, crc = _PREFIX.unpack_from(data, offset)
        start, end = offset + _PREFIX.size, offset + _PREFIX.size + length
        if _HEADER_LENGTH.size <= length <= _LARGEST_RECORD and end <= len(data) and zlib.crc32(data[start:end]) == crc:
            yield offset, end
            offset = end
        else:
            offset = _next_header(data, offset + 1)


def _next_header(data: bytes, offset: int) -> int | None:
    """Where the next record may begin: at `offset` or later."""
    before = _PREFIX.size + _HEADER_LENGTH.size
    place = data.find(_HEADER_START, offset + before)
    return place - before if place >= 0 else None


class Journal:
    """The writer's end of a journal file. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open `path` and cut off an unfinished write. `recovered` holds the records that were found.

        Raises DamagedMemory, naming `fsck --repair`, if acknowledged records are damaged or the file is missing.
        """
        self.path = path
        found = scan(read_journal(path), where=str(path))
        if found.damage:
            raise DamagedMemory(f"{path}: {found.damage[0]}; `afterview fsck --repair` records those frames as lost")
        self.recovered = found.records
        self._file = path.open("r+b", buffering=0)
        self._end = found.end
        durable.truncate(self._file, path, self._end)
        self._durable = 0
        self._suspect = False  # after a failed fsync it is unknown what reached the disk
        self.sync()

    def append(self, header: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
        """Write one record; it is durable after `sync`. A failed write leaves no trace."""
        data = encode(header, parts, durable_bytes=self._durable)
        reach("append.before-write")
        try:
            durable.append(self._file, self.path, data)
        except OSError:
            durable.truncate(self._file, self.path, self._end)  # a full disk can leave half a record
            raise
        self._end += len(data)
        reach("append.after-write")

    def sync(self) -> None:
        """Make everything appended so far durable. After a failure the file is not reliable: `replace` it (see `suspect`)."""
        if self._durable == self._end:
            return
        try:
            durable.fsync_file(self._file, self.path)
        except OSError:
            self._suspect = True
            raise
        self._durable = self._end
        reach("append.after-fsync")

    @property
    def suspect(self) -> bool:
        """Whether an fsync failed: the kernel may have dropped data, and a second fsync would not report it."""
        return self._suspect

    def replace(self, records: Sequence[Entry]) -> None:
        """Replace the journal by one with only `records`; atomic, durable."""
        data = encode_file(records)
        write_file(self.path, data)
        self._suspect = True  # until the new file is open: what the old one takes is lost
        file = self.path.open("r+b", buffering=0)
        self._file.close()
        self._file = file
        self._file.seek(0, os.SEEK_END)
        self._end = self._durable = len(data)
        self._suspect = False

    def blank(self, times: Mapping[int, float]) -> None:
        """Blank the records of these frames where they lie, which needs no free byte. times: what each keeps, by frame id."""
        data = self.path.read_bytes()
        for start, end in _sound_records(data):
            record = data[start:end]
            overwrite_part(self.path.parent, self.path, start, record, _blanked(record, times))

    @property
    def is_deleted(self) -> bool:
        """Whether the file was deleted while it was open. What is written to it is lost then, though no write fails."""
        try:
            os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # it cannot be known; the next write or fsync fails
        return False

    def close(self) -> None:
        """Sync and close."""
        if not self._file.closed:
            self.sync()
            self._file.close()
