"""Who is at the broker under a prefix: we, what an earlier run of ours has left, or another service. Belongs to the event loop."""

import logging
import time
from typing import Any

from afterview.stream.service.mqtt.outbox import Outbox
from afterview.stream.service.mqtt.payloads import as_json, read_own
from afterview.stream.service.mqtt.topics import Topics, level_of
from afterview.stream.service.mqtt_config import is_prefix

OTHER_COUNTS_S = 150.0  # after its last word
_ANSWER_EVERY_S = 10.0
_RESTORE_EVERY_S = 1.0
_MOST_FOUND = 1000

_LOGGER = logging.getLogger(__name__)


class Presence:
    """found: cameras that an earlier run has shown, by the levels of their topics. evidence: the frames of their pictures.

    former_discovery: the prefix under which an earlier run has told Home Assistant. former_cameras: those that its account saw.
    """

    def __init__(
        self, outbox: Outbox, topics: Topics, place: str, *, instance: str, identity: str, version: str,
        cameras: list[str] | None,
    ) -> None:  # fmt: skip
        """place: of the broker, for people. instance: by which a service knows its own topics. identity: the client id.

        cameras: ids of those that the account sees; None: all.
        """
        self._outbox, self._topics, self._place = outbox, topics, place
        self._instance, self._identity, self._version = instance, identity, version
        self._cameras = cameras
        self._began = round(time.time(), 3)
        self._other, self._other_at = "", float("-inf")
        self._answered = self._restored = float("-inf")
        self.found: dict[str, str] = {}
        self.evidence: dict[str, dict[str, Any]] = {}
        self.former_discovery: str | None = None
        self.former_cameras: list[str] | None = cameras

    def begin(self) -> None:
        """A new connection."""
        self.found.clear()
        self.evidence.clear()

    @property
    def account_changed(self) -> bool:
        """Whether an earlier run has shown other cameras: its last answer may be about one of them."""
        return self.former_cameras != self._cameras

    def say(self) -> None:
        """Say who is here: the broker keeps it for our next run, and another service with this prefix hears it."""
        document = {
            "instance": self._instance, "client_id": self._identity, "version": self._version, "began": self._began,
            "discovery": self._topics.discovery,
            "cameras": self._cameras, "time": round(time.time(), 3),
        }  # fmt: skip
        self._outbox.put_state(self._topics.of("instance"), as_json(document))

    def guard(self, payload: bytes, *, live: bool) -> None:
        """Somebody has said whether we are available: the will of a connection that is dead, or another service with this prefix."""
        now = time.monotonic()
        if live and payload != b"online" and now - self._restored >= _RESTORE_EVERY_S:
            self._restored = now
            self._outbox.forget_sent(self._topics.of("available"))
            self._outbox.put_state(self._topics.of("available"), b"online")

    def hear(self, payload: bytes, *, live: bool) -> None:
        """Somebody has said who they are. Raises UsageError."""
        if not payload:
            return
        document = read_own(payload)
        if document.get("instance") == self._instance:
            former = document.get("discovery")
            if not live and isinstance(former, str) and is_prefix(former):
                self.former_discovery = former
            if not live:
                self.former_cameras = document.get("cameras")
        elif live:
            self._meet(str(document.get("client_id"))[:64])

    def look(self, level: str, payload: bytes) -> None:
        """A retained document about a camera. Raises UsageError."""
        if not payload:
            return
        document = read_own(payload)
        camera = document.get("camera")
        if document.get("instance") != self._instance or not isinstance(camera, str) or level_of(camera) != level:
            return  # of another service, or of another program: it stays
        if len(self.found) < _MOST_FOUND:
            self.found[level] = camera
            evidence = document.get("evidence")
            if isinstance(evidence, dict) and type(evidence.get("frame")) is int:
                self.evidence[camera] = evidence

    def _meet(self, client: str) -> None:
        now = time.monotonic()
        client = client if client.isprintable() else ascii(client)
        if now - self._other_at > OTHER_COUNTS_S:
            _LOGGER.error("MQTT: %s", self._clash(client))
        self._other, self._other_at = client, now
        if now - self._answered > _ANSWER_EVERY_S:
            self._answered = now
            self.say()

    def _clash(self, client: str) -> str:
        return (
            f"another service (client id '{client}') has the prefix '{self._topics.prefix}' at {self._place}, too: questions are "
            "answered twice; set mqtt.prefix of one of them"
        )

    def notes(self) -> list[str]:
        """What is wrong."""
        return [f"MQTT: {self._clash(self._other)}"] if time.monotonic() - self._other_at < OTHER_COUNTS_S else []
