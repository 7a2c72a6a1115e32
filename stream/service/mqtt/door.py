"""The service at one broker: connects again and again, listens, and publishes. The broker can be slow or away; nothing else waits for it.

Belongs to the event loop. What waits is bounded (outbox, inbox, questions, switches), and what is dropped is counted.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from dataclasses import replace

import aiomqtt

from afterview.configs import UsageError
from afterview.stream.service.engine import Engine
from afterview.stream.service.jobs import Jobs
from afterview.stream.service.measured import Measured
from afterview.stream.service.mqtt.asking import Asking, Came, Switches
from afterview.stream.service.mqtt.broker import Broker
from afterview.stream.service.mqtt.connection import Connection, why
from afterview.stream.service.mqtt.discovery import BIRTH
from afterview.stream.service.mqtt.following import Following, quietly
from afterview.stream.service.mqtt.outbox import Message, Outbox
from afterview.stream.service.mqtt.payloads import too_large
from afterview.stream.service.mqtt.presence import Presence
from afterview.stream.service.mqtt.shown import Shown
from afterview.stream.service.mqtt.topics import Meaning, Topics, level_of
from afterview.stream.service.questions import Questions

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
STEADY_S = 30.0  # a connection that has lasted so long begins again with the first delay
SCAN_S = 1.0  # for retained topics to come, before anything is published
WORD_EVERY_S = 60.0  # about who has the prefix
FAREWELL_S = 3.0
_AT_ONCE = 64  # publications that wait for the broker
_SHORT_LIVES = 3  # connections that break at once, until another client with our id is suspected

_LOGGER = logging.getLogger(__name__)


class Door:
    """One broker and one configuration, from `start` to `close`."""

    def __init__(
        self, engine: Engine, questions: Questions, jobs: Jobs, measured: Measured, broker: Broker, instance: str
    ) -> None:
        config, access = broker.config, broker.account
        self.broker, self._engine, self._access = broker, engine, access
        self._identity = config.client_id or f"afterview-{instance}"
        self.topics = topics = Topics(config.prefix, config.discovery_prefix if config.discovery else None)
        self._outbox = outbox = Outbox()
        self._presence = Presence(
            outbox,
            topics,
            config.place,
            instance=instance,
            identity=self._identity,
            version=engine.version,
            cameras=None if access.cameras is None else sorted(access.cameras),
        )
        self._shown = Shown(engine, measured, outbox, topics, access, instance, commands=config.commands)
        self._asking = Asking(
            engine, questions, access, topics, outbox, config.longest_queue, self._shown.show_answer
        )  # fmt: skip
        self._following = Following(engine, access, topics, outbox, self._shown)
        self._switches = Switches(engine, jobs, access, topics, outbox, self._shown.refresh)
        self._tasks: list[asyncio.Task[None]] = []
        self._connection: Connection | None = None
        self.connected = self.ever = False
        self.problem, self._next_try, self._short_lives = "", 0.0, 0
        self._denied: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()

    # --- start and end ---

    def start(self) -> None:
        """Begin to connect."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in (self._run(), self._following.run())]
        missing = set(self.broker.config.cameras or ()) - set(self._engine.cameras)
        if missing:
            _LOGGER.warning("mqtt.cameras: the service records no camera %s yet", ", ".join(sorted(missing)))

    async def close(self, *, clear: bool = False) -> None:
        """Say goodbye. clear: nothing of the service stays at the broker, because it goes elsewhere. Takes a few seconds at most."""
        await self._asking.close()
        await self._switches.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        connection, self._connection = self._connection, None
        if clear and not self.connected:
            _LOGGER.warning("MQTT broker %s: not connected: what it has retained stays there", self.broker.config.place)
        if connection is None:
            return
        if self.connected:
            self.connected = False
            if clear:
                self._shown.remove_all()
            else:
                self._outbox.put_state(self.topics.of("available"), b"offline")
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._empty(connection), FAREWELL_S)
            await connection.close()
        else:
            connection.abort()

    async def _empty(self, connection: Connection) -> None:
        while batch := self._outbox.take_errors(_AT_ONCE) or self._outbox.take(_AT_ONCE):
            await self._publish(connection, batch)

    # --- connections ---

    async def _run(self) -> None:
        delay = FIRST_RETRY_S
        while True:
            began, reason = time.monotonic(), ""
            try:
                await self._connect()
            except Exception as error:  # whatever it is, the service goes on, and it is tried again
                reason = why(error)
            lasted = time.monotonic() - began if self.connected else 0.0
            self._short_lives = self._short_lives + 1 if self.connected and lasted < STEADY_S / 3 else 0
            if self._short_lives >= _SHORT_LIVES:
                reason += f"; perhaps another client has the id '{self._identity}': set mqtt.client_id"
            self.connected = False
            self._connection = None
            delay = FIRST_RETRY_S if lasted >= STEADY_S else delay
            wait = delay * random.uniform(0.5, 1.0)
            self._next_try = time.monotonic() + wait
            if reason != self.problem:
                _LOGGER.warning("MQTT broker %s: not connected: %s", self.broker.config.place, reason)
            self.problem = reason
            delay = min(2 * delay, LONGEST_RETRY_S)
            await asyncio.sleep(wait)

    async def _connect(self) -> None:
        """Connect, and serve until the connection breaks. Always raises, why."""
        self.counts["attempts"] += 1
        will = Message("state", self.topics.of("available"), b"offline")
        connection = self._connection = Connection(self.broker, self._identity, will)
        await connection.open()
        self.connected, self.problem = True, ""
        if self.ever:
            self.counts["reconnects"] += 1
        self.ever = True
        self._outbox.begin()
        self._presence.begin()
        _LOGGER.info("MQTT broker %s: connected; topics begin with %s/", self.broker.config.place, self.topics.prefix)
        works = (
            self._receive(connection),
            self._introduce(connection),
            self._send(connection),
            self._send_errors(connection),
            self._repeat(),
        )
        tasks = [asyncio.get_running_loop().create_task(work) for work in works]
        try:
            while True:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises, except that of the introduction
                    tasks.remove(task)
        finally:
            self._following.connected = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.counts["refused by the broker"] += sum(connection.refused.values())
            self.counts["lost in the inbox"] += connection.lost
            if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                connection.abort()

    async def _introduce(self, connection: Connection) -> None:
        """Subscribe, look at what an earlier service left, and tell everything."""
        self._denied.clear()
        for topic in self.topics.subscriptions(commands=self.broker.config.commands):
            if refused := await connection.listen(topic):
                self._denied[topic] = refused
                _LOGGER.warning(
                    "MQTT broker %s: refuses the subscription to %s: %s", self.broker.config.place, topic, refused
                )
        await asyncio.sleep(SCAN_S)
        await connection.unsubscribe(f"{self.topics.prefix}/+/attributes")
        self._outbox.put_state(self.topics.of("available"), b"online")
        if self._presence.account_changed:
            self._outbox.put_state(self.topics.of("last_answer"), b"")
        self._presence.say()
        present = {level_of(camera) for camera in self._shown.cameras()}
        for level, camera in self._presence.found.items():
            if level not in present:
                _LOGGER.info("MQTT: camera %s is gone; its topics are cleared", camera)
                self._shown.remove_device(camera)
                self._shown.remove(level)
        former, self._presence.former_discovery = self._presence.former_discovery, None
        if former not in (None, self.topics.discovery):
            self._shown.remove_all(former)
        for camera, evidence in self._presence.evidence.items():
            self._shown.evidence.setdefault(camera, evidence)
        self._shown.forget_evidence()
        self._following.connected = True
        await quietly(self._shown.everything())

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._outbox.wait()
            await self._publish(connection, self._outbox.take(_AT_ONCE))

    async def _send_errors(self, connection: Connection) -> None:
        while True:
            await self._outbox.wait_for_errors()
            await self._publish(connection, self._outbox.take_errors(_AT_ONCE))

    async def _publish(self, connection: Connection, batch: list[Message]) -> None:
        batch = [fitting for message in batch if (fitting := self._fitting(connection, message)) is not None]
        results = await connection.send(*batch)
        unsent = [
            message for message, result in zip(batch, results, strict=True) if isinstance(result, aiomqtt.MqttError)
        ]
        self.counts["published"] += sum(result is None for result in results)
        for message, result in zip(batch, results, strict=True):
            if isinstance(result, Exception) and not isinstance(result, aiomqtt.MqttError):
                self._outbox.dropped[message.kind] += 1
                _LOGGER.warning("MQTT: nothing can be published on %s: %s", message.topic, why(result))
        if unsent:
            self._outbox.unsent(unsent)
            raise next(result for result in results if isinstance(result, aiomqtt.MqttError))

    def _fitting(self, connection: Connection, message: Message) -> Message | None:
        """A message, or what is sent instead of one that is too large for the broker."""
        if connection.takes(message):
            return message
        self._outbox.dropped["too large"] += 1
        _LOGGER.warning("MQTT: the broker takes no message of %d bytes on %s", len(message.payload), message.topic)
        if message.kind != "answer" or connection.largest is None:
            return None
        shorter = replace(message, payload=too_large(message.payload, connection.largest))
        return shorter if connection.takes(shorter) else None

    # --- what comes ---

    async def _receive(self, connection: Connection) -> None:
        async for message in connection.received():
            self.counts["received"] += 1
            meaning = self.topics.meaning(message.topic.value)
            if meaning is None:
                self.ignored["unknown topic"] += 1
                continue
            try:
                self._take(meaning, message)
            except UsageError:
                self.ignored["damaged"] += 1
            except Exception:  # a message must not end the connection, whatever it holds
                self.ignored["failed"] += 1
                _LOGGER.exception("MQTT: a message on %s could not be handled", ascii(message.topic.value))

    def _take(self, meaning: Meaning, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        came = Came(
            message.topic.value, bytes(payload), getattr(message.properties, "ResponseTopic", None),
            getattr(message.properties, "CorrelationData", None),
        )  # fmt: skip
        if meaning.kind in ("ask", "set", "birth") and message.retain:
            self.ignored["retained"] += 1  # it would be executed anew at every connection
            _LOGGER.debug("MQTT: a retained message on %s is ignored", came.topic)
        elif meaning.kind == "ask":
            self._asking.take(came)
        elif meaning.kind == "set":
            camera = self._shown.camera_at(meaning.level)
            if camera is None:
                self.ignored["unknown camera"] += 1
            else:
                self._switches.take(came, camera.id)
        elif meaning.kind == "birth":
            if came.payload == BIRTH:
                self._following.reborn.set()
        elif meaning.kind == "available":
            self._presence.guard(came.payload, live=not message.retain)
        elif meaning.kind == "instance":
            self._presence.hear(came.payload, live=not message.retain)
        elif message.retain:
            self._presence.look(meaning.level, came.payload)

    async def _repeat(self) -> None:
        last_word = time.monotonic()
        while True:
            await asyncio.sleep(self.broker.config.interval_s)
            await quietly(self._shown.refresh())
            await quietly(self._shown.statistics())
            await quietly(self._shown.check_evidence())
            if time.monotonic() - last_word >= WORD_EVERY_S:
                last_word = time.monotonic()
                self._presence.say()

    # --- what is said of it ---

    def notes(self) -> list[str]:
        """What does not work, for /health/ready."""
        found = []
        if not self.connected and self.problem:
            wait = max(0.0, self._next_try - time.monotonic())
            found.append(
                f"MQTT broker {self.broker.config.place} is not connected: {self.problem}; next try in {wait:.1f} s"
            )
        found += self._presence.notes()
        for topic, reason in self._denied.items():
            found.append(f"MQTT: the broker refuses the subscription to {topic}: {reason}; check its rules")
        live = self._connection.refused if self._connection else {}
        if live:
            found.append(
                f"MQTT: the broker refused {sum(live.values())} messages ({next(iter(live))}); check its rules"
            )
        return found

    def dropped(self) -> dict[str, int]:
        """Messages that were lost, by what they were."""
        inbox = self.counts["lost in the inbox"] + (self._connection.lost if self._connection else 0)
        refused = self.counts["refused by the broker"] + sum(
            self._connection.refused.values() if self._connection else ()
        )
        return {**self._outbox.dropped, "incoming": inbox, "refused by the broker": refused}

    @property
    def refused_questions(self) -> int:
        """Questions that found too many others."""
        return self._asking.refused
