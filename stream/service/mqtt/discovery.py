"""What Home Assistant is told, so that it shows the service and its cameras by itself: one retained document per device. Pure.

The form is that of device discovery, Home Assistant 2024.12 and later: `homeassistant/device/ID/config`. An empty document removes the
device with all its entities; a component with nothing but its platform removes that entity.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from afterview.stream.ingest.status import State
from afterview.stream.service.events import Kind
from afterview.stream.service.mqtt.topics import Topics

BIRTH = b"online"  # on PREFIX/status, when Home Assistant has started
LONGEST_QUESTION = 255  # characters that a text entity takes
_LONGEST_ID = 100  # characters

Document = dict[str, Any]


@dataclass(frozen=True)
class Devices:
    """Documents for the devices of one service. commands: whether cameras can be paused by MQTT."""

    topics: Topics
    version: str
    commands: bool = True

    @property
    def service_id(self) -> str:
        """Of the service's device. Without `_` in the prefix, no camera of another service can have the same id as one of ours."""
        return plain_id(self.topics.prefix, "_")

    def camera_id(self, camera: str) -> str:
        """Of a camera's device; the same as long as prefix and camera are called the same."""
        return f"{self.service_id}_{plain_id(camera)}"

    def topic(self, device: str) -> str:
        """Where the document of a device lies."""
        return f"{self.topics.discovery}/device/{device}/config"

    def _document(self, device: Mapping[str, Any], components: Mapping[str, Document]) -> Document:
        return {
            "device": {"manufacturer": "Afterview", "sw_version": self.version, **device},
            "origin": {"name": "Afterview", "sw_version": self.version},
            "availability": [
                {
                    "topic": self.topics.of("available"),
                    "payload_available": "online",
                    "payload_not_available": "offline",
                }
            ],
            "qos": 1,
            "components": dict(components),
        }

    def service(self) -> Document:
        """The service: ask from a dashboard, the last answer, events, and how it is."""
        answer, statistics = self.topics.of("last_answer"), self.topics.of("statistics")
        return self._document(
            {"identifiers": [self.service_id], "name": _name("Afterview", self.topics.prefix), "model": "Service"},
            self._ids(
                self.service_id,
                {
                    "ask": {
                        "platform": "text", "name": "Ask", "icon": "mdi:comment-question-outline",
                        "command_topic": self.topics.of("ask"), "state_topic": answer,
                        "value_template": "{{ value_json.question }}", "min": 1, "max": LONGEST_QUESTION, "mode": "text",
                        "retain": False,
                    },
                    "last_answer": {
                        "platform": "sensor", "name": "Last answer", "icon": "mdi:comment-text-outline", "state_topic": answer,
                        "value_template": "{{ value_json.state }}", "json_attributes_topic": answer,
                    },
                    "events": {
                        "platform": "event", "name": "Events", "icon": "mdi:bell-outline",
                        "state_topic": self.topics.of("events"), "event_types": list(get_args(Kind)),
                    },
                    "model": {
                        "platform": "sensor", "name": "Model", "icon": "mdi:brain", "device_class": "enum",
                        "options": ["loading", "ready", "failed"], "entity_category": "diagnostic", "state_topic": statistics,
                        "value_template": "{{ value_json.model.state }}",
                    },
                    "disk_free": {
                        "platform": "sensor", "name": "Free disk space", "device_class": "data_size", "state_class": "measurement",
                        "unit_of_measurement": "GB", "suggested_display_precision": 1, "entity_category": "diagnostic",
                        "state_topic": statistics, "value_template": "{{ value_json.disk.free_gigabytes }}",
                    },
                },
            ),
        )  # fmt: skip

    def camera(self, camera: str, name: str) -> Document:
        """A camera: whether it is recorded, its newest frame, the pause switch, and the picture behind the last answer."""
        own, state = self.camera_id(camera), self.topics.of_camera(camera, "state")
        return self._document(
            {
                "identifiers": [own],
                "name": name,
                "model": "Camera",
                "via_device": self.service_id,
            },
            self._ids(
                own,
                {
                    "connectivity": {
                        "platform": "binary_sensor", "name": "Recording", "device_class": "connectivity", "state_topic": state,
                        "value_template": "{{ 'ON' if value == 'online' else 'OFF' }}", "payload_on": "ON", "payload_off": "OFF",
                        "json_attributes_topic": self.topics.of_camera(camera, "attributes"),
                    },
                    "status": {
                        "platform": "sensor", "name": "Status", "device_class": "enum", "options": list(get_args(State)),
                        "icon": "mdi:cctv", "entity_category": "diagnostic", "state_topic": state,
                    },
                    "last_frame": {
                        "platform": "sensor", "name": "Newest frame", "device_class": "timestamp",
                        "entity_category": "diagnostic", "state_topic": self.topics.of_camera(camera, "last_frame"),
                    },
                    "evidence": {
                        "platform": "image", "name": "Evidence", "content_type": "image/jpeg",
                        "image_topic": self.topics.of_camera(camera, "evidence"),
                    },
                    **self._paused(camera),
                },
            ),
        )  # fmt: skip

    def _paused(self, camera: str) -> dict[str, Document]:
        """A switch; or, without commands, whether it is paused. The other entity is removed."""
        shown = {"name": "Paused", "icon": "mdi:pause", "state_topic": self.topics.of_camera(camera, "paused/state")}
        if not self.commands:
            return {
                "paused_state": {"platform": "binary_sensor", "payload_on": "ON", "payload_off": "OFF", **shown},
                "paused": {"platform": "switch"},
            }
        command = {"command_topic": self.topics.of_camera(camera, "paused/set"), "retain": False}
        return {
            "paused": {"platform": "switch", "payload_on": "ON", "payload_off": "OFF", **shown, **command},
            "paused_state": {"platform": "binary_sensor"},
        }

    @staticmethod
    def _ids(device: str, components: Mapping[str, Document]) -> dict[str, Document]:
        """The components under the names by which Home Assistant knows them for ever."""
        return {
            name: {**values, "unique_id": f"{device}_{name}"} if len(values) > 1 else values
            for name, values in components.items()
        }


def plain_id(text: str, without: str = "") -> str:
    """A text as an id of Home Assistant: ASCII letters, digits, `_` and `-`. Different texts have different ids.

    without: a letter that sets a text apart, like those that an id cannot have.
    """
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", text)[:_LONGEST_ID]
    if plain == text and not (without and without in text):
        return plain
    return f"{plain.strip('_')}_{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}".lstrip("_")


def _name(name: str, prefix: str) -> str:
    """Of the service's device: with the prefix where it is not the usual one, because there may be several."""
    return name if prefix == "afterview" else f"{name} ({prefix})"
