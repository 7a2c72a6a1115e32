"""How much of the sealed arrays counts: a small file, replaced as a whole, that is the last step of every seal."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from memory.durable import write_file
from memory.errors import DamagedMemory, FormatMismatch, MemoryNotFound

FORMAT_VERSION = 1


def read_json(path: Path, *, missing: str) -> dict[str, Any]:
    """A JSON object of this memory. Raises MemoryNotFound with `missing`, or DamagedMemory."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise MemoryNotFound(missing) from None
    except (OSError, ValueError) as error:
        raise DamagedMemory(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise DamagedMemory(f"{path}: is not a JSON object")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace `path`, atomically and durably."""
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


@dataclass(frozen=True)
class Commit:
    """`committed`: how many frames and gap records are sealed, and which generation is the one in use."""

    frames: int
    gaps: int
    generation: int

    @classmethod
    def read(cls, camera: Path) -> "Commit":
        """The state of the camera at `camera`."""
        values = read_json(camera / "committed", missing=f"{camera}: is not a camera of a memory")
        try:
            return cls(int(values["frames"]), int(values["gaps"]), int(values["generation"]))
        except (KeyError, TypeError, ValueError):
            raise DamagedMemory(f"{camera / 'committed'}: frames, gaps or generation is missing") from None

    def write(self, camera: Path) -> None:
        """Make it so: from here on these rows count."""
        write_json(camera / "committed", asdict(self))


def require_format(version: object, *, where: Path) -> None:
    """Raise FormatMismatch unless this version of the software reads `version`."""
    if version != FORMAT_VERSION:
        raise FormatMismatch(
            f"{where}: storage format {version}, but this version of afterimage reads format {FORMAT_VERSION}; "
            "install the version that wrote it"
        )
