"""What systemd is told, over a real socket of the kind that it listens on."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterview.stream.service.degraded import summary
from afterview.stream.service.systemd import Supervisor
from tests.support.systemd import Listener


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@afterview-{uuid.uuid4().hex}"
    made = Listener(address)
    yield made
    made.close()


def test_ready_reload_stop(listener: Listener) -> None:
    environment = {"NOTIFY_SOCKET": listener.address, "OTHER": "stays"}
    supervisor = Supervisor(environment)
    assert environment == {"OTHER": "stays"}
    supervisor.ready()
    before = time.monotonic_ns() // 1000
    with supervisor.reloading(), supervisor.reloading():
        pass
    with contextlib.suppress(KeyError), supervisor.reloading():
        raise KeyError
    supervisor.status("model ready;\nREADY=1")
    supervisor.status("model ready;\nREADY=1")
    supervisor.stopping()
    supervisor.close()
    supervisor.stopping()
    told = listener.told
    times = [int(message.partition("\nMONOTONIC_USEC=")[2]) for message in told if message.startswith("RELOADING=1\n")]
    assert [message.partition("\n")[0] for message in told] == [
        "READY=1", "RELOADING=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1",
        "STATUS=model ready; READY=1", "STOPPING=1",
    ]  # fmt: skip
    assert all(before <= moment <= time.monotonic_ns() // 1000 for moment in times)


@pytest.mark.timeout(20)
async def test_the_watchdog_hears_of_the_loop_in_time_and_the_state_when_it_changes(listener: Listener) -> None:
    environment = {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())}
    supervisor = Supervisor(environment)
    assert environment == {}
    assert supervisor.watchdog_s == 0.2
    states = ["model loading"]
    task = asyncio.ensure_future(supervisor.watch(lambda: states[-1]))
    while len(listener.told) < 4:
        await asyncio.sleep(0.01)
    states.append("model ready")
    while "STATUS=model ready" not in listener.told:
        await asyncio.sleep(0.01)
    task.cancel()
    assert listener.told[:4] == ["STATUS=model loading", *["WATCHDOG=1"] * 3]
    told = len(listener.told)
    time.sleep(0.15)  # a loop that is held is not alive
    assert len(listener.told) == told


@pytest.mark.parametrize(
    ("given", "period"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({}, None),
    ],
)
def test_a_watchdog_of_somebody_else_is_told_nothing(
    tmp_path: Path, given: dict[str, str], period: float | None
) -> None:
    listener = Listener(str(tmp_path / "notify"))
    supervisor = Supervisor({"NOTIFY_SOCKET": listener.address, **given})
    assert supervisor.watchdog_s == period
    supervisor.close()
    listener.close()


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:1234", "relative", "@nobody-listens-here", "@"])
async def test_without_a_supervisor_nothing_fails(address: str, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"} if address else {})
    supervisor.ready()
    with supervisor.reloading():
        await supervisor.watch(lambda: "fine")  # ends at once
    supervisor.stopping()
    assert ("systemd is told nothing" in caplog.text) == bool(address)


@pytest.mark.timeout(20)
async def test_a_supervisor_that_does_not_read_holds_nothing_up_and_misses_nothing(listener: Listener) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "20000"})
    states = iter(range(1000))
    for _ in range(12):
        supervisor.ready()
    task = asyncio.ensure_future(supervisor.watch(lambda: f"state {min(next(states), 3)}"))
    began = time.monotonic()
    await asyncio.sleep(0.2)
    assert time.monotonic() - began < 1
    supervisor.stopping()
    while "STOPPING=1" not in listener.told:
        await asyncio.sleep(0.01)
    task.cancel()
    told = [message for message in listener.told if message != "WATCHDOG=1"]
    assert told == ["READY=1"] * 12 + [f"STATUS=state {number}" for number in range(4)] + ["STOPPING=1"]


def test_the_state_in_a_few_words() -> None:
    assert summary("loading", []) == "model loading; 0 of 0 cameras recorded"
    assert summary("ready", ["online", "paused", "offline"]) == "model ready; 1 of 3 cameras recorded, 1 paused"
    assert summary("ready", ["disk full"]) == "model ready; 0 of 1 cameras recorded; the disk is full"
