"""One connection to the broker: aiomqtt with bounds on what comes, and with reasons in words.

Threads: connecting runs in a thread of the loop's own pool, 10 s at most and as long as the name is looked up; all else in the loop.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from afterview.stream.service.mqtt.broker import Broker
from afterview.stream.service.mqtt.outbox import Message
from afterview.stream.source.address.redact import redact

MOST_WAITING = 1000  # messages that came and were not looked at
LARGEST_PACKET = 256 * 1024  # bytes that are kept of a packet; more is cut off
ANSWERS_WITHIN_S = 10.0  # the broker, to anything
KEEPALIVE_S = 30
_FAREWELL_S = 2.0
_HEAD = 64  # bytes of a packet beside topic, payload and correlation data, at most
_MOST_AT_ONCE = 50  # messages that are looked at in one round of the loop
_ERROR = 0x08  # paho's level of its log

_SILENT = logging.getLogger(
    f"{__name__}.library"
)  # aiomqtt and paho say what the door says in its own words, and for every message
_SILENT.setLevel(logging.CRITICAL + 1)
_SILENT.propagate = False

_REASONS = {  # of CONNACK and DISCONNECT, both versions
    "Bad user name or password": "the broker refuses the user or the password; check mqtt.username and mqtt.password",
    "Bad username or password": "the broker refuses the user or the password; check mqtt.username and mqtt.password",
    "Not authorized": "the broker does not let this user in; check mqtt.username, mqtt.password and its rules",
    "Client identifier not valid": "the broker refuses the client id; set another mqtt.client_id",
    "Unsupported protocol version": "the broker does not speak this version of MQTT; set mqtt.protocol to 3.1.1",
    "Unacceptable protocol version": "the broker does not speak this version of MQTT; set mqtt.protocol to 3.1.1",
    "Session taken over": "another client has the same client id; set mqtt.client_id",
    "Unspecified error": "the connection broke",  # as the library calls it
    "Server shutting down": "the broker shuts down",
    "Keep alive timeout": "the broker has heard nothing for too long",
    "Packet too large": "the broker refuses a message as too large; see its maximum packet size",
}


class Inbox(asyncio.Queue[aiomqtt.Message]):
    """What came and was not looked at yet; when it is full, the newest is lost, and counted."""

    lost = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Raises QueueFull, which the library swallows."""
        if self.full():
            self.lost += 1
        super().put_nowait(item)


class Connection(aiomqtt.Client):
    """Made anew for every attempt. refused: publications that the broker refused, by reason."""

    def __init__(self, broker: Broker, identity: str, will: Message) -> None:
        config, modern = broker.config, broker.config.protocol == "5"
        properties = None
        if modern:
            properties = Properties(PacketTypes.CONNECT)
            properties.MaximumPacketSize = LARGEST_PACKET
        super().__init__(
            config.host, config.port_number, username=config.username, password=broker.password, logger=_SILENT, identifier=identity,
            queue_type=Inbox, protocol=aiomqtt.ProtocolVersion.V5 if modern else aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(will.topic, will.payload, will.qos, retain=True), clean_session=None if modern else True,
            timeout=ANSWERS_WITHIN_S, keepalive=KEEPALIVE_S, max_queued_incoming_messages=MOST_WAITING, properties=properties,
            tls_context=broker.tls, tls_insecure=config.tls.insecure if config.tls else None,
        )  # fmt: skip
        self.pending_calls_threshold = 1000
        self.refused = Counter[str]()
        self.largest: int | None = None  # bytes that the broker takes, if it says so
        self._modern = modern
        self._heard = time.monotonic()
        self._error = ""  # of the socket, which paho only logs
        self._client.on_log = self._on_log
        self._watch_packets()

    @property
    def lost(self) -> int:
        """Messages that came too fast to be looked at."""
        return self._queue.lost if isinstance(self._queue, Inbox) else 0

    async def open(self) -> None:
        """Connect. Raises MqttError and whatever else connecting raises; nothing is left open then."""
        opening = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._opened_too_late)
            raise
        except BaseException:
            self.abort()
            raise

    def _opened_too_late(self, opening: "asyncio.Future[Any]") -> None:
        if not opening.cancelled():
            opening.exception()
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word: the broker publishes the will."""
        with contextlib.suppress(Exception):
            self._client._sock_close()

    async def close(self) -> None:
        """Say goodbye: the broker does not publish the will."""
        self.timeout = _FAREWELL_S
        try:
            await self.__aexit__(None, None, None)
        except Exception:  # it is broken already
            self.abort()

    async def listen(self, topic: str) -> str | None:
        """Subscribe; why the broker refuses it, or None. Raises MqttError."""
        codes = await self.subscribe(topic, qos=1)
        bad = [code for code in codes if (code.value if isinstance(code, ReasonCode) else int(code)) >= 0x80]
        return str(bad[0]) if bad else None

    async def received(self) -> AsyncIterator[aiomqtt.Message]:
        """What comes, until the connection breaks. Raises MqttError then.

        The library needs three rounds of the loop for a message, and reads one in each: what waits already is taken at once.
        """
        async for message in self.messages:
            yield message
            for _ in range(_MOST_AT_ONCE):
                if self._queue.empty():
                    break
                yield self._queue.get_nowait()

    async def send(self, *messages: Message) -> list[BaseException | None]:
        """Publish, and wait until the broker has all of them, or is silent for too long; why each was not sent, or None.

        A broker that says other things meanwhile is not silent: under a flood its receipts come late.
        """
        tasks = [asyncio.ensure_future(self._send(message)) for message in messages]
        try:
            waiting, began = set(tasks), time.monotonic()
            while waiting:
                _, waiting = await asyncio.wait(waiting, timeout=ANSWERS_WITHIN_S / 4)
                if waiting and time.monotonic() - max(began, self._heard) > ANSWERS_WITHIN_S:
                    break
        finally:
            for task in tasks:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        silent = aiomqtt.MqttError("the broker does not answer")
        return [silent if isinstance(result, asyncio.CancelledError) else result for result in results]

    async def _send(self, message: Message) -> None:
        properties = None
        if self._modern and message.kind == "answer":
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = "application/json"
            if message.correlation is not None:
                properties.CorrelationData = message.correlation
        await self.publish(message.topic, message.payload, message.qos, message.retain, properties, timeout=math.inf)

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Properties | None = None
    ) -> None:
        self.largest = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Properties | None = None
    ) -> None:
        if not self._connected.done():  # the library would wait for an answer that cannot come
            said = "the broker closed the connection before it answered; check mqtt.port and mqtt.tls"
            self._connected.set_exception(aiomqtt.MqttError(f"{said} ({self._error})" if self._error else said))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_log(self, client: Any, userdata: Any, level: int, text: str) -> None:
        if level == _ERROR:
            self._error = text

    def takes(self, message: Message) -> bool:
        """Whether the broker takes a message of this size; too large ones would end the connection."""
        size = len(message.payload) + len(message.topic.encode()) + len(message.correlation or b"") + _HEAD
        return self.largest is None or size <= self.largest

    def _watch_packets(self) -> None:
        """Note when something comes, and keep only the beginning of packets that are too large: MQTT allows 256 MB, and 3.1.1 has no way
        to refuse them. The client library collects a packet in a bytearray before it looks at it."""
        client: Any = self._client
        read = client._packet_read

        def watched() -> Any:
            packet = client._in_packet
            self._heard = time.monotonic()
            if type(packet["packet"]) is bytearray and not packet["packet"]:
                packet["packet"] = _Bounded()
            return read()

        client._packet_read = watched

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if getattr(reason_code, "is_failure", False):
            self.refused[str(reason_code)] += 1
        super()._on_publish(client, userdata, mid, reason_code, properties)


class _Bounded(bytearray):
    def __iadd__(self, data: Any) -> "_Bounded":  # type: ignore[misc]
        self.extend(data[: max(0, LARGEST_PACKET - len(self))])
        return self


def why(error: BaseException) -> str:
    """Why there is no connection, in words, without secrets."""
    error = error.__cause__ if isinstance(error, aiomqtt.MqttError) and error.__cause__ is not None else error
    code = getattr(error, "rc", None)
    text = str(code) if isinstance(code, ReasonCode) else str(error) or type(error).__name__
    for known, said in _REASONS.items():
        if known.lower() in text.lower():
            return said
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the broker's certificate is not accepted ({text.rpartition(': ')[2]}); check mqtt.host and mqtt.tls.ca"
    if "alert" in text and "certificate" in text:
        return "the broker wants a certificate of this client; set mqtt.tls.certificate and key"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "the broker speaks no TLS on this port; leave out mqtt.tls, or set mqtt.port"
    if isinstance(code, int) and not isinstance(code, ReasonCode) and code == 7:
        return "the connection broke"
    number, _, said = text.partition("] ")
    if number.startswith("[Errno"):
        return f"cannot be reached: {said}; check mqtt.host and mqtt.port"
    if text == "timed out":
        return "cannot be reached: it does not answer; check mqtt.host, mqtt.port and firewalls"
    return redact(" ".join(text.split()))[:200]
