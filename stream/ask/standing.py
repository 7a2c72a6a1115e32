"""A standing question: set once, checked at every frame from then on, heard of only when its answer turns to yes.

Pure: whoever watches hands in the times of frames and the answers. The benchmarks use it (training.evaluation.benchmarks). The service
offers no standing questions yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class StandingQuestion:
    """set_at, until: seconds, both included. alarms: when it was heard of. unclear: answers that were neither yes nor no.

    It is heard of at the first check that says yes, and again only after one that said no. An unclear answer changes nothing.
    """

    set_at: float
    until: float
    alarms: list[float] = field(default_factory=list)
    checks: int = 0
    unclear: int = 0
    holds: bool = False

    def frames(self, times: Sequence[float]) -> list[float]:
        """Of the times of all frames, ascending, those at which it is checked. At the moment it is set, if there are none."""
        return [time for time in times if self.set_at <= time <= self.until] or [self.set_at]

    def hear(self, time: float, answer: bool | None) -> bool:
        """Take the answer at one frame (None: unclear). Returns whether this is an alarm."""
        self.checks += 1
        if answer is None:
            self.unclear += 1
            return False
        rises, self.holds = answer and not self.holds, answer
        if rises:
            self.alarms.append(time)
        return rises
