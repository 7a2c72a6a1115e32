"""Lines of standard input: whole, bounded, and no longer than somebody wants them."""

import asyncio
import os

import pytest

from afterview.stream.service.mcp.lines import LONGEST, lines_of


async def read(data: bytes) -> list[str]:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    task = asyncio.ensure_future(asyncio.to_thread(write))
    found = [line async for line in lines_of(reading)]
    await task
    os.close(reading)
    return found


async def test_lines_are_whole_however_they_come(caplog: pytest.LogCaptureFixture) -> None:
    assert await read(b"") == []
    assert await read(b"one\ntwo\n\nlast") == ["one", "two", "", "last"]
    assert await read(b"\xff\n") == ["\ufffd"]
    long = b"x" * LONGEST
    assert await read(long + b"\ny") == [long.decode(), "y"]
    assert await read(b"z" + long + b"\ny\n" + long + b"zz") == ["y"]
    assert caplog.text.count("was left out") == 2


async def test_waiting_for_a_line_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    task = asyncio.ensure_future(anext(lines_of(reading)))
    await asyncio.sleep(0.05)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=2)
    assert done
    os.close(writing)
