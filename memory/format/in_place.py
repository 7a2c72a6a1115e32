"""Changes to a camera that need no free byte, for a full disk. The file `in-place` got its bytes when there was room.

    manifest slot 0 | manifest slot 1 | note slot      each: magic, length, CRC-32, sequence, base, compressed payload

A manifest slot is in force while its `base` is the content of `committed`: it stands for a replacement that found no room. The two slots
take turns, so a torn write leaves the one before in force. The note says which bytes of which file are being overwritten, and by what. It
is durable before the first byte changes. So the next writer can finish the work of one that died, and readers can read such a file as if
it were finished.
"""

import contextlib
import errno
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afterview.memory.base.durable import DISK_FULL, overwrite, write_file
from afterview.memory.base.failpoints import reach

FILE = "in-place"
MANIFEST_SLOT = 1 << 14  # bytes at least: several hundred removals, compressed
NOTE_SLOT = 40 << 10  # bytes: a scalar chunk of 4,096 numbers, which hardly compress; blank rows compress to nothing
_NO_BASE = bytes(8)
_NEAR = 256  # bytes: changes that are closer together than this are one piece

_HEADER = struct.Struct("<4sIIQ8s")  # magic, length of the payload, CRC-32 of what follows it, sequence, base
_MAGIC = b"AFIP"


@dataclass(frozen=True)
class _Slot:
    """What a slot holds. place: its offset."""

    place: int
    sequence: int
    base: bytes
    payload: bytes


@dataclass(frozen=True)
class _Note:
    """The bytes of a file that are overwritten: pieces of (offset, content). size, crc: of the whole file afterwards; None: not known."""

    key: str
    size: int
    crc: int | None
    pieces: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        about = {"key": self.key, "size": self.size, "crc": self.crc}
        head = json.dumps({**about, "pieces": [(offset, len(data)) for offset, data in self.pieces]}).encode()
        return b"".join([head, b"\n", *(data for _, data in self.pieces)])

    @classmethod
    def decode(cls, payload: bytes) -> "_Note":
        head, _, data = payload.partition(b"\n")
        about, pieces, taken = json.loads(head), [], 0
        for offset, length in about["pieces"]:
            pieces.append((offset, data[taken : taken + length]))
            taken += length
        return cls(about["key"], about["size"], about["crc"], tuple(pieces))

    def applied(self, data: bytes) -> bytes | None:
        """The file's content afterwards; None if `data` is not this file during or after the change."""
        if len(data) != self.size:
            return None
        changed = bytearray(data)
        for offset, piece in self.pieces:
            changed[offset : offset + len(piece)] = piece
        return bytes(changed) if self.crc in (None, zlib.crc32(changed)) else None


def prepare(camera: Path, manifest: bytes) -> None:
    """Take the room for slots that hold twice this manifest, if there is any. Call it while no slot is in force, and no note."""
    path, slot = camera / FILE, MANIFEST_SLOT
    while slot < 2 * len(zlib.compress(manifest)) + _HEADER.size:
        slot *= 2
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size >= 2 * slot + NOTE_SLOT:
            return
    try:
        write_file(path, bytes(2 * slot + NOTE_SLOT))
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


# --- manifests ---


def put_manifest(camera: Path, committed: bytes, manifest: bytes) -> None:
    """Put `manifest` in force over the file `committed` with this content, durably. Raises OSError (ENOSPC) if there is no slot for it."""
    slots = _manifest_slots(camera)
    base = _base(committed)
    newest = max((slot for slot in slots if slot.base == base), key=lambda slot: slot.sequence, default=None)
    place = 0 if newest is None or newest.place else _manifest_slot_bytes(camera)
    _write_slot(camera, place, _manifest_slot_bytes(camera), (newest.sequence if newest else 0) + 1, base, manifest)


def manifest_over(camera: Path, committed: Callable[[], bytes]) -> bytes | None:
    """The manifest that is in force over the file `committed` with this content; None if that itself is."""
    slots = _manifest_slots(camera)
    base = _base(committed()) if slots else _NO_BASE
    newest = max((slot for slot in slots if slot.base == base), key=lambda slot: slot.sequence, default=None)
    return newest.payload if newest else None


def _base(committed: bytes) -> bytes:
    return hashlib.blake2b(committed, digest_size=8).digest()


def _manifest_slot_bytes(camera: Path) -> int:
    """Bytes of a manifest slot; 0 without the file."""
    try:
        return _slot_bytes((camera / FILE).stat().st_size)
    except OSError:
        return 0


def _slot_bytes(size: int) -> int:
    return max(0, (size - NOTE_SLOT) // 2)


def _manifest_slots(camera: Path) -> list[_Slot]:
    with _opened(camera) as file:
        size = 0 if file is None else _slot_bytes(os.fstat(file).st_size)
        return [slot for place in (0, size) if file is not None and size and (slot := _read_slot(file, place, size))]


# --- overwriting ---


def overwrite_in_place(camera: Path, path: Path, old: bytes, new: bytes) -> None:
    """Change a file of a camera from `old` to `new`, of the same length, without a free byte.

    After a crash in the middle, `finish_overwriting` completes it, and `as_finished` reads it. Raises OSError (ENOSPC) if there is no
    slot for the change.
    """
    _overwrite(camera, path, 0, old, new, size=len(new), crc=zlib.crc32(new))


def overwrite_part(camera: Path, path: Path, offset: int, old: bytes, new: bytes) -> None:
    """The same for a part of a file that is too large to read whole for each change. It must say itself whether it is sound."""
    _overwrite(camera, path, offset, old, new, size=path.stat().st_size, crc=None)


def _overwrite(camera: Path, path: Path, offset: int, old: bytes, new: bytes, *, size: int, crc: int | None) -> None:
    if len(old) != len(new):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    pieces = tuple((offset + place, data) for place, data in _pieces(old, new))
    if not pieces:
        return
    note = _Note(str(path.relative_to(camera)), size, crc, pieces)
    place = 2 * _manifest_slot_bytes(camera)
    _write_slot(camera, place, NOTE_SLOT, 1, _NO_BASE, note.encode())
    reach("overwrite.noted")
    overwrite(path, pieces[:1])
    reach("overwrite.half")
    overwrite(path, pieces[1:])
    reach("overwrite.done")
    overwrite(camera / FILE, [(place, bytes(_HEADER.size))])


def finish_overwriting(camera: Path) -> None:
    """Complete what a writer that died was overwriting. Call it as the camera's writer, before its files are opened."""
    note = _read_note(camera)
    if note is None:
        return
    path = camera / note.key
    with contextlib.suppress(FileNotFoundError):  # a later step has deleted it
        data = path.read_bytes()
        if note.applied(data) is not None:  # otherwise the file was replaced since, or is damaged: `fsck` reports it
            overwrite(path, note.pieces)
    overwrite(camera / FILE, [(2 * _manifest_slot_bytes(camera), bytes(_HEADER.size))])


def as_finished(camera: Path, path: Path, data: bytes) -> bytes:
    """The content of a file that may be overwritten at this moment, as if that were finished. data: what was read of it."""
    note = _read_note(camera)
    if note is None or note.key != str(path.relative_to(camera)):
        return data
    finished = note.applied(data)
    return data if finished is None else finished


def read_overwritten(camera: Path, path: Path) -> bytes:
    """A file that could not be understood, read again: it may have been overwritten at that moment. Empty if it cannot be read."""
    try:
        return as_finished(camera, path, path.read_bytes())
    except OSError:
        return b""


def _read_note(camera: Path) -> _Note | None:
    with _opened(camera) as file:
        if file is None:
            return None
        slot = _read_slot(file, 2 * _slot_bytes(os.fstat(file).st_size), NOTE_SLOT)
        return None if slot is None else _Note.decode(slot.payload)


def _pieces(old: bytes, new: bytes) -> tuple[tuple[int, bytes], ...]:
    """Where `new` differs from `old`."""
    changed = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
    if not len(changed):
        return ()
    breaks = np.flatnonzero(np.diff(changed) > _NEAR) + 1
    runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(changed, breaks)]
    return tuple((first, new[first:end]) for first, end in runs)


# --- slots ---


def _write_slot(camera: Path, place: int, size: int, sequence: int, base: bytes, payload: bytes) -> None:
    packed = zlib.compress(payload, 9)
    if _HEADER.size + len(packed) > size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(camera / FILE))
    rest = struct.pack("<Q8s", sequence, base) + packed
    header = _HEADER.pack(_MAGIC, len(packed), zlib.crc32(rest), sequence, base)
    overwrite(camera / FILE, [(place, header + packed)])


@contextlib.contextmanager
def _opened(camera: Path) -> Iterator[int | None]:
    """A descriptor of the file; None if there is none, or if it cannot be read."""
    try:
        descriptor = os.open(camera / FILE, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_slot(file: int, place: int, size: int) -> _Slot | None:
    """A slot's content; None if it is empty or torn."""
    head = os.pread(file, _HEADER.size, place)
    if not head.startswith(_MAGIC) or len(head) < _HEADER.size:
        return None
    _, length, crc, sequence, base = _HEADER.unpack(head)
    packed = os.pread(file, min(length, size), place + _HEADER.size)
    if zlib.crc32(struct.pack("<Q8s", sequence, base) + packed) != crc:
        return None
    return _Slot(place, sequence, base, zlib.decompress(packed))
