"""The hub of events: nobody waits for a slow listener, and what was lost is said."""

import asyncio
import itertools

import pytest

from afterview.stream.service.errors import TooManyJobs
from afterview.stream.service.events import CAPACITY, KEPT, MOST_OF_ONE, Event, EventHub
from afterview.stream.service.people.access import Access
from afterview.stream.service.seen_events import seen_by


async def take(hub: EventHub, count: int, after: int | None = None) -> list[Event]:
    found: list[Event] = []
    async for event in hub.listen(after, pause_s=5):
        assert event is not None
        found.append(event)
        if len(found) == count:
            break
    return found


async def test_every_listener_gets_what_comes() -> None:
    hub = EventHub()
    tasks = [asyncio.create_task(take(hub, 2)) for _ in range(2)]
    await asyncio.sleep(0)
    hub.publish("model", {"state": "ready"})
    hub.publish("camera", {"camera": "yard"})
    for task in tasks:
        first, second = await task
        assert (first.number, first.kind, second.number) == (1, "model", 2)
        assert second.to_dict()["camera"] == "yard"


async def test_one_that_comes_back_gets_what_it_missed() -> None:
    hub = EventHub()
    for number in range(5):
        hub.publish("job", {"job": number})
    assert [event.number for event in await take(hub, 2, after=3)] == [4, 5]
    for number in range(KEPT + 10):
        hub.publish("job", {"job": number})
    missed, oldest = await take(hub, 2, after=3)
    assert (missed.kind, missed.data["events"], oldest.number) == ("missed", 12, 16)


async def test_a_slow_listener_loses_the_oldest_and_is_told() -> None:
    hub = EventHub()
    listening = hub.listen(pause_s=5)
    first = asyncio.ensure_future(anext(listening))
    await asyncio.sleep(0)
    for number in range(CAPACITY + 7):
        hub.publish("job", {"job": number})
    missed = await first
    assert missed is not None
    assert (missed.kind, missed.data) == ("missed", {"events": 7})
    following = await anext(listening)
    assert following is not None
    assert following.number == 8


async def test_pauses_and_the_end() -> None:
    hub = EventHub()
    listening = hub.listen(pause_s=0.01)
    assert await anext(listening) is None
    hub.publish("job", {})
    hub.close()
    assert [event.number async for event in listening if event] == [1]
    assert hub.listeners == 0


async def test_numbers_do_not_tell_that_others_happened_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1_800_000_000_000_000, 2)  # microseconds; no two events share one
    monkeypatch.setattr("afterview.stream.service.events.time.time", lambda: next(clock) / 1e6)
    hub, access = EventHub(), Access("one", cameras=frozenset({"yard"}))
    for number in range(100):
        hub.publish("camera", {"camera": f"attic-{number}"})
        hub.publish("camera", {"camera": "yard"})
    found: list[Event] = []
    async for event in hub.listen(0, see=seen_by(access)):
        assert event is not None
        found.append(event)
        if len(found) == 100:
            break
    assert all(event.number == int(event.time * 1_000_000) for event in found)


async def test_one_client_does_not_keep_others_from_listening() -> None:
    hub = EventHub()
    tasks = [asyncio.create_task(_listen(hub, "user one")) for _ in range(MOST_OF_ONE)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyJobs):
        hub.require_room("user one")
    hub.require_room("user two")
    hub.close()
    await asyncio.gather(*tasks)


async def _listen(hub: EventHub, client: str) -> None:
    async for _ in hub.listen(client=client, pause_s=5):
        pass
