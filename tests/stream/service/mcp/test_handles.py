"""Handles of answers that take long: of one user, bounded in number and time."""

import asyncio
from typing import Any

import pytest

from afterview.stream.service.errors import NotFound, TooManyQuestions
from afterview.stream.service.mcp.handles import Handles, Held


async def never() -> Any:
    await asyncio.get_running_loop().create_future()


async def at_once() -> str:
    return "answer"


def hold(handles: Handles, user: str, work: Any = None) -> tuple[str, Held]:
    held = Held(user, "question", asyncio.ensure_future(work or never()), 0)
    return handles.add(held), held


async def test_a_handle_is_of_the_user_who_asked() -> None:
    handles = Handles()
    handle, held = hold(handles, "anna")
    assert handles.get(handle, "anna") is held
    with pytest.raises(NotFound) as other:
        handles.get(handle, "bert")
    with pytest.raises(NotFound) as unknown:
        handles.get("unknown", "bert")
    assert str(other.value) == str(unknown.value)
    held.task.cancel()


async def test_a_user_with_many_questions_asks_no_more_until_they_are_answered() -> None:
    handles = Handles()
    waiting = [hold(handles, "anna")[1] for _ in range(8)]
    with pytest.raises(TooManyQuestions, match="8 of your questions are not answered yet"):
        handles.require_room("anna")
    handles.require_room("bert")
    waiting[0].task.cancel()
    await asyncio.wait({waiting[0].task})
    handles.require_room("anna")
    for held in waiting:
        held.task.cancel()


async def test_the_number_is_bounded_for_each_user_and_for_all() -> None:
    handles = Handles()
    first, _ = hold(handles, "anna", at_once())
    second, _ = hold(handles, "anna", at_once())
    handles.get(first, "anna")  # so the second is the least recently used
    for _ in range(31):
        hold(handles, "anna", at_once())
    with pytest.raises(NotFound):
        handles.get(second, "anna")
    assert handles.get(first, "anna")
    for user in range(300):
        hold(handles, f"user {user}", at_once())
    assert len(handles) == 256
    await asyncio.sleep(0)


async def test_what_nobody_asks_for_ends() -> None:
    handles = Handles(kept_s=0.1)
    handle, held = hold(handles, "anna")
    done, failed = hold(handles, "anna", never())
    failed.task.cancel()
    for _ in range(4):
        await asyncio.sleep(0.05)
        handles.get(handle, "anna")  # each use prolongs it
    with pytest.raises(NotFound):
        handles.get(done, "anna")
    await asyncio.wait({held.task}, timeout=5)
    assert held.task.cancelled()
    assert len(handles) == 0
