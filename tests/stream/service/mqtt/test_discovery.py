"""What Home Assistant is told, checked against its own schemas.

home_assistant.json holds their keys, as read from homeassistant 2025.3.4. With AFTERVIEW_HOME_ASSISTANT set to a Python that has
homeassistant (2024.12 or later) and paho-mqtt, the schemas themselves check the documents:
AFTERVIEW_HOME_ASSISTANT=ha/bin/python pytest tests/stream/service/mqtt/test_discovery.py
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.service.mqtt.discovery import Devices, plain_id
from afterview.stream.service.mqtt.topics import Topics

SCHEMAS = json.loads((Path(__file__).parent / "home_assistant.json").read_text())
TOPIC = re.compile(
    r"homeassistant/(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config"
)
CHECK = """
import importlib, json, sys
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
for document in json.load(sys.stdin):
    DEVICE_DISCOVERY_SCHEMA(document)
    common = {key: value for key, value in document.items() if key != "components"}
    for name, component in document["components"].items():
        if len(component) == 1:
            continue  # it is removed
        own = {**common, **{key: value for key, value in component.items() if key != "platform"}}
        schema = importlib.import_module("homeassistant.components.mqtt." + component["platform"]).DISCOVERY_SCHEMA
        unknown = own.keys() - {str(key) for key in schema(own)}
        assert not unknown, (name, unknown)
print("good")
"""


def documents() -> list[dict[str, Any]]:
    """Of a service and its cameras, with commands and without."""
    found = []
    for commands in (True, False):
        devices = Devices(Topics("house/afterview", "homeassistant"), "0.1.0", commands)
        found += [devices.service(), devices.camera("front-door", "front door"), devices.camera("ünï-çødé", "\\x00")]
    return found


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["device"]["name"])
def test_documents_have_the_keys_that_home_assistant_knows(document: dict[str, Any]) -> None:
    def check(values: dict[str, Any], schema: dict[str, bool], ignore: frozenset[str] = frozenset()) -> None:
        assert values.keys() - ignore <= schema.keys()
        assert {key for key, required in schema.items() if required} <= values.keys() | {"platform"}

    check(document, SCHEMAS["_document"])
    check(document["device"], SCHEMAS["_device"])
    check(document["origin"], SCHEMAS["_origin"])
    for component in document["components"].values():
        platform = component["platform"]
        if component == {"platform": platform}:
            continue  # the form that removes an entity
        check(component, SCHEMAS[platform], frozenset({"platform"}))
        assert component["unique_id"]
        for key, value in component.items():
            if key.endswith("_topic"):
                assert value.startswith("house/afterview/")
                assert not set(value) & set("+#")
        if platform in ("sensor", "binary_sensor") and "device_class" in component:
            assert component["device_class"] in SCHEMAS[f"_{platform}_classes"]
        assert (component.get("device_class") == "enum") == ("options" in component)


def test_every_entity_has_an_id_of_its_own() -> None:
    names = [
        name
        for document in documents()[:3]
        for name in (c.get("unique_id") for c in document["components"].values())
        if name
    ]
    assert len(names) == len(set(names)) == 15


def test_ids_are_the_same_in_every_version() -> None:
    """An id that changes costs users their names, areas and history of an entity."""
    devices = Devices(Topics("afterview", "homeassistant"), "0.1.0")
    assert devices.topic(devices.service_id) == "homeassistant/device/afterview/config"
    assert devices.topic(devices.camera_id("front-door")) == "homeassistant/device/afterview_front-door/config"
    camera = devices.camera("front-door", "Front door")["components"]
    assert {name: (component["platform"], component.get("unique_id")) for name, component in camera.items()} == {
        "connectivity": ("binary_sensor", "afterview_front-door_connectivity"),
        "status": ("sensor", "afterview_front-door_status"),
        "last_frame": ("sensor", "afterview_front-door_last_frame"),
        "evidence": ("image", "afterview_front-door_evidence"),
        "paused": ("switch", "afterview_front-door_paused"),
        "paused_state": ("binary_sensor", None),
    }
    assert devices.camera_id("übergang-2") == "afterview_bergang-2_4d5c28a8"
    assert {name: component["platform"] for name, component in devices.service()["components"].items()} == {
        "ask": "text", "last_answer": "sensor", "events": "event", "model": "sensor", "disk_free": "sensor",
    }  # fmt: skip


def test_without_commands_the_switch_goes() -> None:
    found = Devices(Topics("afterview", "homeassistant"), "0.1.0", commands=False).camera("a", "a")["components"]
    assert found["paused"] == {"platform": "switch"}
    assert found["paused_state"]["platform"] == "binary_sensor"
    assert "paused/set" not in json.dumps(found)


def test_two_services_share_no_id() -> None:
    one, other = (Devices(Topics(prefix, "homeassistant"), "0.1.0") for prefix in ("cabin", "cabin_2"))
    assert one.camera_id("2_door") != other.camera_id("door")
    assert one.service_id == "cabin"
    assert other.service_id.startswith("cabin_2_")


@given(st.text(min_size=1, max_size=150), st.text(min_size=1, max_size=150))
def test_ids_are_plain_and_different(one: str, other: str) -> None:
    devices = Devices(Topics("afterview", "homeassistant"), "0.1.0")
    topic = devices.topic(devices.camera_id(one))
    assert TOPIC.fullmatch(topic)
    assert (plain_id(one) == plain_id(other)) == (one == other)


@pytest.mark.skipif(
    "AFTERVIEW_HOME_ASSISTANT" not in os.environ, reason="AFTERVIEW_HOME_ASSISTANT names no Python with homeassistant"
)
def test_home_assistant_itself_takes_the_documents() -> None:
    done = subprocess.run(
        [os.environ["AFTERVIEW_HOME_ASSISTANT"], "-c", CHECK], input=json.dumps(documents()), capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.stdout == "good\n", done.stderr[-2000:]
