"""From what happens in the service to what is published. Belongs to the event loop."""

import asyncio
import logging
import random
from collections.abc import Awaitable

from afterview.stream.service.aside import in_one_line
from afterview.stream.service.engine import Engine
from afterview.stream.service.mqtt.outbox import Message, Outbox
from afterview.stream.service.mqtt.payloads import as_json, shown_event
from afterview.stream.service.mqtt.shown import Shown
from afterview.stream.service.mqtt.topics import Topics
from afterview.stream.service.people.access import Access
from afterview.stream.service.seen_events import seen_by

BIRTH_DELAY_S = 5.0  # at most, after Home Assistant's birth: not all devices at the same moment

_LOGGER = logging.getLogger(__name__)


class Following:
    """Hands on events, and tells what is new of cameras. connected: whether there is a broker. reborn: Home Assistant has started."""

    def __init__(self, engine: Engine, access: Access, topics: Topics, outbox: Outbox, shown: Shown) -> None:
        self._engine, self._access, self._topics = engine, access, topics
        self._outbox, self._shown = outbox, shown
        self._dirty: set[str] = set()
        self._stirred = asyncio.Event()
        self.reborn = asyncio.Event()
        self.connected = False

    async def run(self) -> None:
        """Until cancelled, or the service ends."""
        await asyncio.gather(self._follow(), self._tell_changes(), self._tell_reborn())

    async def _follow(self) -> None:
        async for event in self._engine.hub.listen(see=seen_by(self._access)):
            if event is None:
                continue
            job = event.data.get("job", {})
            if event.kind == "camera" or job.get("ended"):
                self._dirty.add(str({**event.data, **job}.get("camera")))
                self._stirred.set()
            elif event.kind == "model":
                self._dirty.update(self._engine.cameras)
                self._stirred.set()
            if self.connected:
                document = shown_event(event)
                self._outbox.put_event(Message("event", self._topics.of("events"), as_json(document)))
            else:
                self._outbox.dropped["event"] += 1  # what happened while nobody could hear it is no news later

    async def _tell_changes(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            changed, self._dirty = self._dirty, set()
            if self.connected:
                await quietly(self._shown.refresh(changed))
                await quietly(self._shown.check_evidence())

    async def _tell_reborn(self) -> None:
        while True:
            await self.reborn.wait()
            await asyncio.sleep(random.uniform(0.1, 1.0) * BIRTH_DELAY_S)
            self.reborn.clear()
            if self.connected:
                self._outbox.forget_sent()
                await quietly(self._shown.everything())


async def quietly(work: Awaitable[None]) -> None:
    """A failure costs one round, not the door."""
    try:
        await work
    except Exception as error:
        _LOGGER.warning("MQTT: states could not be told: %s", in_one_line(error))
