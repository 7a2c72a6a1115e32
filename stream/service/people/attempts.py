"""A limit on how often somebody may try something that they can guess: so many tries at once, then one at a time, after a pause each."""

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable


class Attempts:
    """Counts tries by key, such as an address. Holds a bounded number of keys: beyond it those that tried the longest time ago go."""

    def __init__(self, most: int, pause_s: float, *, keys: int, now: Callable[[], float]) -> None:
        """most: tries at once. pause_s: until each further one. now: a clock that never goes back, seconds."""
        self._most, self._pause_s, self._keys, self._now = most, pause_s, keys, now
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tries, and when that was counted

    def take(self, key: str) -> int:
        """Count one try. 0 if it is allowed, else the whole seconds until one is; then nothing is counted."""
        if wait := self.wait(key):
            return wait
        self._used[key] = (self._level(key) + 1, self._now())
        self._used.move_to_end(key)
        while len(self._used) > self._keys:
            self._used.popitem(last=False)
        return 0

    def wait(self, key: str) -> int:
        """As `take`, but counts nothing."""
        over = self._level(key) + 1 - self._most
        return max(1, math.ceil(over * self._pause_s)) if over > 0 else 0

    def forgive(self, key: str) -> None:
        """The last try was right: it does not count."""
        if key in self._used:
            self._used[key] = (max(0.0, self._level(key) - 1), self._now())

    def _level(self, key: str) -> float:
        used, then = self._used.get(key, (0.0, 0.0))
        return max(0.0, used - (self._now() - then) / self._pause_s)

    def __len__(self) -> int:
        return len(self._used)


def network_of(address: str) -> str:
    """Whom an address stands for: itself, or of IPv6 the network of its home, which has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        own = found.ipv4_mapped
        return str(own) if own else str(ipaddress.ip_network((found, 64), strict=False))
    return address
