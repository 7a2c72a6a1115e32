"""What `fsck` finds, and how it is put right."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["damage", "note"]  # a note is harmless: what a crash leaves, or what the next writer finishes


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    frames: what it costs, frame ids [first, end); None where it costs none. fix: puts it right and says what that meant.
    """

    where: Path
    what: str
    frames: tuple[int, int] | None = None
    severity: Severity = "damage"
    fix: Callable[[], str] | None = field(default=None, compare=False)

    def to_dict(self, memory: Path) -> dict[str, Any]:
        """As JSON for people and programs; the path is relative to `memory` where it lies in it."""
        return {
            "severity": self.severity,
            "path": str(self.where.relative_to(memory) if self.where.is_relative_to(memory) else self.where),
            "what": self.what,
            "frames": list(self.frames) if self.frames else None,
        }
