"""A limit on guessing tokens: so many different wrong ones of one address, then every request with a token from there waits.

A program that shows the same wrong token again and again guesses nothing: it is counted once, so it does not keep out its neighbours.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from afterview.stream.service.attempts import Attempts, network_of
from afterview.stream.service.users import digest_of

_MOST, _PAUSE_S, _KEYS = 20, 15.0, 4096


class Guesses:
    """Wrong tokens by address. Bounded."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._attempts = Attempts(_MOST, _PAUSE_S, keys=_KEYS, now=now)
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until a token from this address is looked at again; 0: now."""
        return self._attempts.wait(network_of(address))

    def wrong(self, address: str, given: str) -> None:
        """A token was wrong."""
        network, digest = network_of(address), digest_of(given)
        new = (network, digest) not in self._seen
        self._seen[(network, digest)] = None
        self._seen.move_to_end((network, digest))
        while len(self._seen) > _KEYS:
            self._seen.popitem(last=False)
        if new:
            self._attempts.take(network)
