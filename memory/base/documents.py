"""The small JSON files of a memory. Each has a checksum of its values and is replaced as a whole."""

import json
from pathlib import Path
from typing import Any

import google_crc32c

from afterview.configs import why_unreadable
from afterview.configs.system_errors import is_misplaced, reason
from afterview.memory.base.durable import write_file
from afterview.memory.base.errors import DamagedMemory, FormatMismatch, MemoryNotFound, Unreadable

FORMAT_VERSION = 1


REPAIR = "`afterview fsck --repair` restores as much of it as possible"
_CHECKSUM = "checksum"


def read_json(path: Path, *, missing: str, remedy: str = REPAIR) -> dict[str, Any]:
    """A JSON object of this memory. Raises MemoryNotFound with `missing`, DamagedMemory with `remedy`, or Unreadable."""
    try:
        data = path.read_bytes()
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not path.is_symlink():
            raise MemoryNotFound(missing) from None
        if is_misplaced(error):
            why = reason(error, path)
            raise DamagedMemory(f"{path}: cannot be read: {why}; move it away, then {remedy}") from None
        raise Unreadable.from_system(error, path) from None
    return decode_json(data, where=str(path), remedy=remedy)


def read_bytes(path: Path) -> bytes:
    """The content of a file that a missing one is an error of. Raises Unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable.from_system(error, path) from None


def exists(path: Path) -> bool:
    """Whether anything lies at `path`, a dangling link included: reading that must fail. Raises Unreadable."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unreadable.from_system(error, path) from None
    return True


def decode_json(data: bytes, *, where: str, remedy: str = REPAIR) -> dict[str, Any]:
    """What `encode_json` made. Raises DamagedMemory. A file without a checksum is accepted: earlier versions wrote none."""
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedMemory(f"{where}: cannot be read ({why_unreadable(error)}); {remedy}") from None
    if not isinstance(value, dict):
        raise DamagedMemory(f"{where}: not a JSON object; {remedy}")
    if value.pop(_CHECKSUM, None) not in (None, _checksum(value)):
        raise DamagedMemory(f"{where}: the checksum is wrong: the file was damaged or edited by hand; {remedy}")
    return value


def encode_json(value: dict[str, Any]) -> bytes:
    """A JSON file's content, with a checksum: a flipped digit would otherwise be read as another number."""
    return (json.dumps({**value, _CHECKSUM: _checksum(value)}, indent=2, allow_nan=False) + "\n").encode()


def _checksum(value: dict[str, Any]) -> str:
    """CRC-32C of the values, independent of their layout in the file."""
    return f"crc32c:{google_crc32c.value(json.dumps(value, sort_keys=True).encode()):08x}"


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace `path`, atomically and durably."""
    write_file(path, encode_json(value))


def require_format(version: object, *, where: Path) -> None:
    """Raise FormatMismatch unless this version of the software reads `version`."""
    if version != FORMAT_VERSION:
        raise FormatMismatch(
            f"{where}: storage format {version}, but this version of afterview reads format {FORMAT_VERSION}; "
            "install the version that wrote it"
        )
