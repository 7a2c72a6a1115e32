"""The video streams that a source offers, as values and for people."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OfferedStream:
    """A video stream of a source. number: counts them from 0. used: it is recorded. still: why it does not move; empty if it does.

    width, height: pixels, as coded; 0 if unknown.
    """

    number: int
    codec: str
    width: int
    height: int
    used: bool
    still: str = ""

    def __str__(self) -> str:
        size = f" {self.width}x{self.height}" if self.width else ""
        notes = ", ".join(filter(None, ("used" if self.used else "", self.still)))
        return f"{self.number}: {self.codec}{size}" + (f" ({notes})" if notes else "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.number,
            "codec": self.codec,
            "width": self.width,
            "height": self.height,
            "used": self.used,
        }


def describe_streams(offered: tuple[OfferedStream, ...]) -> str:
    """The streams that could be recorded, if there are several; empty otherwise."""
    if sum(not stream.still for stream in offered) < 2 and all(stream.used != bool(stream.still) for stream in offered):
        return ""
    return list_streams(offered)


def list_streams(offered: tuple[OfferedStream, ...]) -> str:
    """All of them, for people."""
    return f"{len(offered)} video stream{'s' * (len(offered) != 1)}: {', '.join(map(str, offered))}"
