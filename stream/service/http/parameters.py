"""Parameters that several routes share, and what they do with a client that leaves."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Query, Request

from afterview.configs import UsageError
from afterview.stream.errors import Cancelled
from afterview.stream.service.people.access import Access

CameraName = Annotated[
    str, Path(description="Id or name of a camera.", min_length=1, max_length=200, examples=["front-door"])
]
FrameNumber = Annotated[int, Path(description="Number of a frame.", ge=0, le=2**53)]
TimeText = Annotated[
    str | None,
    Query(description='Unix seconds, or a text such as "yesterday 14:00" in the camera\'s zone.', max_length=100),
]
Wait = Annotated[float, Query(description="Wait so many seconds for the end of the job.", ge=0, le=30)]
_Result = TypeVar("_Result")


async def unless_left(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of work that is cancelled if the client leaves. Raises Cancelled then."""
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Cancelled("the client left")
        return task.result()
    finally:
        for one in (task, left):
            one.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def server_sent(kind: str, data: Any, number: int | None = None) -> str:
    """One server-sent event."""
    identity = "" if number is None else f"id: {number}\n"
    return f"{identity}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def access_of(request: Request) -> Access:
    """Who asks, and what they may, as the guard found it."""
    access: Access = request.scope["state"]["access"]
    return access


def admin_of(request: Request) -> Access:
    """The same for admins. Raises Forbidden for everyone else."""
    access = access_of(request)
    access.require_admin()
    return access


Visitor = Annotated[Access, Depends(access_of)]
Admin = Annotated[Access, Depends(admin_of)]


def as_time(text: str | None) -> float | str | None:
    """A time of a query: a number as Unix seconds, however large or small; any other text as it is."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return text
    if value != value or value in (float("inf"), float("-inf")):
        raise UsageError(f"{text} is not a time")
    return value
