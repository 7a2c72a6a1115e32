"""A limit on guesses of tokens: an address that showed so many different wrong ones within a minute must wait before it may show another.

While it waits, its tokens are not even looked at, so it cannot learn which one is right. The same wrong token again is no guess: a program
with a token that was revoked keeps nobody else out. Other addresses are not concerned. Belongs to the event loop.
"""

import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from afterview.stream.service.people.attempts import network_of

MOST = 10  # different wrong tokens of an address within WITHIN_S
WITHIN_S = 60.0
_MOST_ADDRESSES = 4096  # beyond it, those that guessed the longest time ago are forgotten

_LOGGER = logging.getLogger(__name__)


class Guesses:
    """Counts wrong tokens by address. refused: requests that had to wait."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """now: a clock that never goes back, seconds."""
        self._now = now
        self._wrong: OrderedDict[str, dict[bytes, float]] = OrderedDict()  # by network: digests, and when each came
        self.refused = 0

    def wait_s(self, address: str) -> int:
        """0 if this address may show a token, else the whole seconds until it may."""
        known = self._recent(network_of(address))
        if len(known) < MOST:
            return 0
        self.refused += 1
        return max(1, math.ceil(min(known.values()) + WITHIN_S - self._now()))

    def was_wrong(self, address: str, authorization: str) -> None:
        """An address has shown this header, and it was wrong."""
        network = network_of(address)
        known = self._recent(network)
        known.setdefault(hashlib.sha256(authorization.encode()).digest(), self._now())
        self._wrong[network] = known
        self._wrong.move_to_end(network)
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        if len(known) == MOST:
            _LOGGER.warning("%s has shown %d wrong tokens within a minute; it must wait", network, MOST)

    def _recent(self, network: str) -> dict[bytes, float]:
        oldest = self._now() - WITHIN_S
        return {digest: came for digest, came in self._wrong.get(network, {}).items() if came > oldest}

    def __len__(self) -> int:
        return len(self._wrong)
