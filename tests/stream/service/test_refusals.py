"""Audit lines of what was refused: there is one, and however often somebody tries, they do not push others out."""

from typing import Any, cast

from afterview.stream.service.people.access import Access
from afterview.stream.service.refusals import Refusals


class Lines:
    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def note(self, access: Access, what: str, **more: Any) -> None:
        self.found.append({"user": access.user, "address": access.address, "what": what, **more})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_written_and_a_minute_later_how_many_came_since() -> None:
    lines, clock, ben = Lines(), Clock(), Access("ben", address="10.0.0.9")
    refusals = Refusals(cast(Any, lines), clock)
    for _ in range(1000):
        refusals.note(ben, "request", "forbidden", request="GET /api/v1/audit")
    refusals.note(ben, "sign_in", "too_many_tries")
    assert [line["what"] for line in lines.found] == ["request", "sign_in"]
    assert lines.found[0] == {
        "user": "ben", "address": "10.0.0.9", "what": "request", "outcome": "forbidden", "not_listed": None, "request": "GET /api/v1/audit"
    }  # fmt: skip
    clock.now += 61
    refusals.note(ben, "request", "forbidden", request="GET /api/v1/audit")
    assert lines.found[2]["not_listed"] == 999


def test_many_addresses_together_are_bounded_too() -> None:
    lines = Lines()
    refusals = Refusals(cast(Any, lines), Clock())
    for number in range(5000):
        refusals.note(Access("unknown", address=f"10.1.{number // 250}.{number % 250}"), "token", "too_many_guesses")
    assert len(lines.found) == 100
