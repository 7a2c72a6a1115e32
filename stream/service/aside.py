"""Work in a daemon thread, which the end of the process does not wait for, and why work failed, in one line."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from afterview.configs import AfterviewError
from afterview.configs.system_errors import describe
from afterview.stream.source.address.redact import redact

_LOGGER = logging.getLogger(__name__)
_Result = TypeVar("_Result")


async def in_daemon_thread(name: str, work: Callable[[], _Result]) -> _Result:
    """What `work` returns or raises. If the caller is cancelled, the thread goes on, and nobody waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def main() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=main, name=name, daemon=True).start()
    return await future


def in_one_line(error: Exception) -> str:
    """An error in one line; what nobody expected has its traceback in the log."""
    if isinstance(error, AfterviewError):
        return str(error)
    if isinstance(error, OSError):
        return describe(error)
    _LOGGER.debug("unexpected", exc_info=error)
    return redact(f"{type(error).__name__}: {error}".splitlines()[0])
