"""The line of questions: one at a time, fair among clients, bounded."""

import asyncio

import pytest

from afterview.stream.service.errors import Stopping, TooManyQuestions
from afterview.stream.service.line import QuestionLine


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting(line: QuestionLine, served: list[str], name: str) -> None:
    async with line.turn(name[0]):
        served.append(name)


async def test_clients_take_turns() -> None:
    line, served = QuestionLine(10), list[str]()
    async with line.turn("z"):
        tasks = [asyncio.create_task(waiting(line, served, name)) for name in ("a1", "a2", "a3", "b1", "c1", "b2")]
        await settle()
        assert line.waiting == 6
    await asyncio.gather(*tasks)
    assert served == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert (line.waiting, line.busy) == (0, False)


async def test_one_too_many_is_told_when_to_come_again() -> None:
    line = QuestionLine(1)
    async with line.turn("a"):
        task = asyncio.create_task(waiting(line, [], "a1"))
        await settle()
        with pytest.raises(TooManyQuestions) as refused:
            async with line.turn("b"):
                pass
        assert refused.value.retry_after_s >= 1
        assert line.refused == 1
    await task


async def test_a_client_that_fills_the_line_keeps_nobody_else_out() -> None:
    line, served = QuestionLine(4), list[str]()
    async with line.turn("z"):
        greedy = [asyncio.create_task(waiting(line, served, f"a{number}")) for number in range(1, 5)]
        await settle()
        others = [asyncio.create_task(waiting(line, served, name)) for name in ("b1", "c1", "b2", "a5")]
        await settle()
        assert line.waiting == 4
    ended = await asyncio.gather(*greedy, *others, return_exceptions=True)
    refused = [place for place, error in enumerate(ended) if isinstance(error, TooManyQuestions)]
    assert refused == [2, 3, 6, 7], "the newest of the greedy client, then who would have no fewer than the others"
    assert served == ["a1", "b1", "c1", "a2"]
    assert line.refused == 4
    assert (line.waiting, line.busy) == (0, False)


async def test_one_who_leaves_gives_the_place_or_the_turn_back() -> None:
    line, served = QuestionLine(10), list[str]()
    async with line.turn("z"):
        leaves, next_one = (asyncio.create_task(waiting(line, served, name)) for name in ("a1", "b1"))
        await settle()
        leaves.cancel()
        await settle()
        assert line.waiting == 1
        last = asyncio.create_task(waiting(line, served, "c1"))
        await settle()
    next_one.cancel()  # at the moment in which it was given the turn
    await asyncio.gather(leaves, next_one, last, return_exceptions=True)
    assert served == ["c1"]
    async with line.turn("d"):
        assert line.busy


async def test_closing_refuses_everybody() -> None:
    line = QuestionLine(10)
    async with line.turn("z"):
        task = asyncio.create_task(waiting(line, [], "a1"))
        await settle()
        line.close()
        with pytest.raises(Stopping):
            await task
    with pytest.raises(Stopping):
        async with line.turn("b"):
            pass
