"""What a check found, and the limit within which it must."""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from afterview.configs import AfterviewError
from afterview.configs.system_errors import describe
from afterview.stream.source.address.redact import redact_values

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line. remedy: what to do, for a warning or a problem. values: numbers for programs."""

    check: str
    state: State
    text: str
    remedy: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without secrets."""
        return {
            "check": redact_values(self.check), "state": self.state, "detail": redact_values(self.text),
            "remedy": redact_values(self.remedy), **self.values,
        }  # fmt: skip

    def describe(self) -> str:
        """For people, without secrets."""
        return redact_values(f"{self.state:8} {self.check}: {self.text}" + (f"; {self.remedy}" if self.remedy else ""))


def from_error(check: str, text: str, values: dict[str, Any] | None = None) -> Finding:
    """A problem from the text of an error, which is what failed and, after a semicolon, the remedy."""
    what, _, remedy = text.partition("; ")
    return Finding(check, "problem", what, remedy, values or {})


Check = Callable[[], Iterable[Finding]]


def start(name: str, check: Check) -> Callable[[float], list[Finding]]:
    """Begin a check in a thread of its own. Gives a function that waits at most so many seconds for what it finds.

    A check that does not end is left behind: what blocks it (a dead network mount, a driver) cannot be interrupted.
    """
    results: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put(list(check()))
        except AfterviewError as error:
            results.put([from_error(name, str(error))])
        except OSError as error:
            results.put([from_error(name, describe(error))])
        except Exception as error:  # a check that fails must not end the others
            results.put([Finding(name, "warning", f"could not be checked ({type(error).__name__})")])

    threading.Thread(target=work, name=f"doctor {name}", daemon=True).start()

    def wait(limit_s: float) -> list[Finding]:
        try:
            return results.get(timeout=limit_s)
        except queue.Empty:
            return [
                Finding(
                    name, "warning", f"did not end within {limit_s:g} s", "look at what it waits for, and try again"
                )
            ]

    return wait
