"""MQTT as a part of the service: the door that is open now, what a new configuration means for it, and its numbers."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from afterview.configs import missing_extra
from afterview.stream.service.engine import Engine
from afterview.stream.service.jobs import Jobs
from afterview.stream.service.measured import Measured, Metric
from afterview.stream.service.mqtt.broker import Broker, instance_of
from afterview.stream.service.mqtt_config import MqttConfig
from afterview.stream.service.questions import Questions

if TYPE_CHECKING:  # needs the client library, which only a service with a broker needs
    from afterview.stream.service.mqtt.door import Door

_KEPT = ("host", "port", "prefix", "discovery", "discovery_prefix")  # if these stay, so do the topics


class Mqtt:
    """Has a door or none. Belongs to the event loop."""

    def __init__(self, engine: Engine, questions: Questions, jobs: Jobs, measured: Measured) -> None:
        self._parts = engine, questions, jobs, measured
        self._door: Door | None = None
        self._instance = ""

    async def use(self, broker: Broker | None) -> bool:
        """Open the door to a broker, or close it; what is open already stays. Returns whether anything changed."""
        before = self._door
        if _same(before.broker if before else None, broker):
            if before is not None and broker is not None:
                before.broker = broker  # certificates that were renewed count at the next connection
            return False
        if before is not None:
            self._door = None
            moved = broker is None or any(
                getattr(before.broker.config, name) != getattr(broker.config, name) for name in _KEPT
            )
            await before.close(clear=moved)
        if broker is not None:
            from afterview.stream.service.mqtt.door import Door

            if not self._instance:
                engine = self._parts[0]
                self._instance = await engine.read(lambda: instance_of(engine.path))
            self._door = Door(*self._parts, broker, self._instance)
            self._door.start()
        return True

    async def stop(self) -> None:
        """Say goodbye."""
        door, self._door = self._door, None
        if door is not None:
            await door.close()

    def notes(self) -> list[str]:
        """What does not work, in sentences."""
        return self._door.notes() if self._door else []

    def metrics(self) -> Iterable[Metric]:
        """Numbers for /metrics; none without a broker."""
        door = self._door
        if door is None:
            return []

        def each(label: str, counts: Mapping[str, int]) -> list[tuple[Mapping[str, str], float | None]]:
            return [({label: name}, count) for name, count in sorted(counts.items())]

        return [
            ("mqtt_connected", "gauge", "1 while the broker is connected.", [({}, int(door.connected))]),
            ("mqtt_reconnects_total", "counter", "Connections after the first one.", [({}, door.counts["reconnects"])]),
            ("mqtt_messages_total", "counter", "Messages that came, and that the broker took.",
             each("direction", {name: door.counts[name] for name in ("received", "published")})),
            ("mqtt_dropped_total", "counter", "Messages that were lost, by what they were.", each("what", door.dropped())),
            ("mqtt_ignored_total", "counter", "Messages that mean nothing here, by the reason.", each("reason", door.ignored)),
            ("mqtt_questions_refused_total", "counter", "Questions that found too many others.", [({}, door.refused_questions)]),
        ]  # fmt: skip


def _same(before: Broker | None, after: Broker | None) -> bool:
    """Whether a door can stay open."""
    if before is None or after is None:
        return before is after
    return (before.config, before.password) == (after.config, after.password)


def broker_of(config: MqttConfig | None, environment: Mapping[str, str]) -> Broker | None:
    """The broker of a configuration. Raises ConfigError, and UsageError without the client library."""
    if config is None:
        return None
    if find_spec("aiomqtt") is None:
        raise missing_extra("serve", "mqtt")
    return Broker.of(config, environment)
