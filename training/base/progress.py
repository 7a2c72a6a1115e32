"""Progress of long work: reported here, shown by who runs it. The command line passes its own; by default nothing is shown."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Report = Callable[[int, int], None]  # done, total

# progress(name, unit="", bar=True) -> a context that gives what to report to. Without a unit nothing is counted. bar: False for work that
# prints meanwhile.
ShowProgress = Callable[..., AbstractContextManager[Report]]


@contextmanager
def unseen(name: str, unit: str = "", *, bar: bool = True) -> Iterator[Report]:
    """Shows nothing."""
    yield lambda done, total: None
