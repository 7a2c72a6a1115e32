"""What a run of kills came to."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Kills by place, and every promise that was broken."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    answers: int = 0  # times that a fixed question got the same answer again
    broken: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The tally as text."""
        width = max([24, *map(len, self.kills)])
        places = [f"  {place:<{width}} {count:>4}" for place, count in sorted(self.kills.items())]
        total = f"{self.kills.total()} kills, {self.acknowledged} acknowledged frames checked, {self.answers} answers compared"
        return [*places, total, *self.broken, f"{len(self.broken)} promises broken"]
