"""Audit lines of what was refused. Whoever is refused may try again as fast as they like, so what they try must not push older lines out:
of each client and each kind one line a minute is written, and it says how many came before it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from afterview.stream.service.people.access import Access
from afterview.stream.service.people.attempts import Attempts, network_of
from afterview.stream.service.people.audit import Audit

PAUSE_S = 60.0
_MOST_AT_ONCE, _EACH_S = 100, 5.0  # lines of all clients together: a hundred, then one every five seconds
_MOST_KEYS = 1024


class Refusals:
    """Notes them. Belongs to the event loop."""

    def __init__(self, audit: Audit, now: Callable[[], float] = time.monotonic) -> None:
        """now: a clock that never goes back, seconds."""
        self._audit, self._now = audit, now
        self._last: OrderedDict[tuple[str, str, str, str], tuple[float, int]] = (
            OrderedDict()
        )  # when, and how many since
        self._of_all = Attempts(_MOST_AT_ONCE, _EACH_S, keys=1, now=now)

    def note(self, access: Access, what: str, outcome: str, **more: Any) -> None:
        """access refused `what`, such as `sign_in` or `request`."""
        key = (access.user, network_of(access.address), what, outcome)
        when, others = self._last.pop(key, (float("-inf"), 0))
        if self._now() - when < PAUSE_S or self._of_all.take(""):
            self._last[key] = (when, others + 1)
        else:
            self._audit.note(access, what, outcome=outcome, not_listed=others or None, **more)
            self._last[key] = (self._now(), 0)
        while len(self._last) > _MOST_KEYS:
            self._last.popitem(last=False)
