"""What `fsck` finds, and how to repair it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# unchecked: nothing is known about it, because a store cannot be used now or the system refuses to read it.
# note: harmless: what a crash leaves, or what the next writer completes.
Severity = Literal["damage", "unchecked", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that cannot be checked.

    frames: the frames that it costs, ids [first, end); None if none. fix: repairs it and describes the result.
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
