"""The service at a real broker, MQTT 5 and 3.1.1."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from afterview.stream.service.engine import Engine
from afterview.stream.service.mqtt.broker import Broker
from afterview.stream.service.mqtt_config import MqttConfig
from tests.stream.service.mqtt.conftest import Serve
from tests.support.mosquitto import Client, Mosquitto
from tests.support.servers import wait_until
from tests.support.service import ServiceHere

pytestmark = pytest.mark.integration
BOTH = pytest.mark.parametrize("protocol", ["5", "3.1.1"])
QUESTION = {"question": "Which scene do you see now?", "cameras": ["hall"], "at": 1_700_000_019.5}


def metric(service: ServiceHere, name: str) -> float:
    """A number of /metrics, with its labels as they stand there."""
    lines = service.client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"afterview_{name} ")), 0.0)


def notes(service: ServiceHere) -> list[str]:
    """What /health/ready says is wrong with MQTT."""
    return [note for note in service.client.get("/health/ready").json()["notes"] if "MQTT" in note]


def same(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without what differs each time it is asked."""
    found = {
        key: value
        for key, value in answer.items()
        if key not in ("id", "asked", "timing", "request", "total_s", "user")
    }
    return found | {"cameras": [{**part, "timing": None} for part in answer["cameras"]]}


@BOTH
def test_what_is_shown_stays_at_the_broker_and_cameras_can_be_paused(
    serve: Serve, broker: Mosquitto, protocol: str
) -> None:
    modern = protocol == "5"
    with serve("Front door", protocol=protocol) as service:
        with Client(broker.port, modern=modern) as client:
            client.wait("afterview/available", b"online")
            client.wait("afterview/front-door/state", b"online")
            client.wait("afterview/front-door/paused/state", b"OFF")
            client.wait("afterview/front-door/last_frame")
        with Client(broker.port, modern=modern) as late:  # who subscribes later hears all of it
            assert late.wait("afterview/available") == b"online"
            assert late.wait("afterview/front-door/state") == b"online"
            attributes = late.json("afterview/front-door/attributes")
            assert attributes["name"] == "Front door"
            assert "source" not in attributes
            assert "Front door" in late.wait("homeassistant/device/afterview_front-door/config").decode()
            assert all(message.retain for message in late.heard if message.topic.endswith("/state"))
            for payload, state, paused in (("ON", b"paused", b"ON"), ("OFF", b"online", b"OFF")):
                late.send("afterview/front-door/paused/set", payload)
                late.wait("afterview/front-door/paused/state", paused)
                late.wait("afterview/front-door/state", state)
            statistics = late.json("afterview/statistics")
            assert statistics["model"] == {"state": "ready"}
            assert statistics["cameras"]["front-door"]["dropped"] == 0
            changes = [event["change"] for event in late.all("afterview/events") if event["event_type"] == "camera"]
            assert changes[:2] == ["paused", "online"]
            assert not any(message.retain for message in late.heard if message.topic == "afterview/events")
            service.json("POST", "/cameras/front-door/pause?wait=10", {"paused": True}, status=202)  # another door
            late.wait("afterview/front-door/paused/state", b"ON")
            assert metric(service, "mqtt_connected") == 1
            assert notes(service) == []
            service.stop()
            late.wait("afterview/available", b"offline")


@BOTH
def test_an_answer_is_that_of_the_http_api(serve: Serve, broker: Mosquitto, protocol: str) -> None:
    modern = protocol == "5"
    with serve(protocol=protocol) as service, Client(broker.port, modern=modern) as client:
        client.wait("afterview/available", b"online")
        wanted = same(service.json("POST", "/ask", QUESTION))
        client.send("afterview/ask", {**QUESTION, "id": "seven"})
        answer = client.json("afterview/answer")
        assert answer["request"] == "seven"
        assert same(answer) == wanted
        assert answer["evidence"]
        client.forget()
        client.send("afterview/ask", QUESTION["question"])  # plain text
        answer = client.json("afterview/answer")
        assert answer["request"] is None
        assert answer["question"] == QUESTION["question"]
        last = client.json("afterview/last_answer")
        assert last["state"] == answer["answer"]
        assert last["evidence"][0]["frame"] == answer["evidence"][0]["frame"]
        if modern:
            client.send("afterview/ask", QUESTION, response="afterview/answer/kitchen", correlation=b"\0\xff1")
            assert same(client.json("afterview/answer/kitchen")) == wanted
            properties = client.heard[-1].properties
            message = next(one for one in client.heard if one.topic == "afterview/answer/kitchen")
            assert message.properties.CorrelationData == b"\0\xff1"
            assert message.properties.ContentType == "application/json"
            assert properties is not None


def test_evidence_is_shown_and_goes_when_it_is_forgotten(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard") as service, Client(broker.port) as client:
        client.wait("afterview/yard/last_frame")
        assert client.now.get("afterview/yard/evidence", b"") == b""
        client.send("afterview/ask", {"question": QUESTION["question"], "cameras": ["yard"]})
        evidence = client.json("afterview/answer")["evidence"][0]
        wait_until(lambda: client.now.get("afterview/yard/evidence"), 10)
        picture = client.now["afterview/yard/evidence"]
        assert picture == service.client.get(evidence["image"]).content
        assert wait_until(
            lambda: (client.json("afterview/yard/attributes")["evidence"] or {}).get("frame") == evidence["frame"], 10
        )
        span = {"start": 0, "end": evidence["time"] + 0.001}
        service.json("POST", "/cameras/yard/forget?wait=20", span, status=202)
        client.wait("afterview/yard/evidence", b"")
        assert wait_until(lambda: client.json("afterview/yard/attributes")["evidence"] is None, 10)


def test_evidence_of_an_earlier_run_is_known_again(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard"), Client(broker.port) as client:
        client.wait("afterview/yard/last_frame")
        client.send("afterview/ask", {"question": QUESTION["question"], "cameras": ["yard"]})
        frame = client.json("afterview/answer")["evidence"][0]["frame"]
        assert wait_until(lambda: client.now.get("afterview/yard/evidence"), 10)
        assert wait_until(lambda: client.json("afterview/yard/attributes")["evidence"], 10)
    with serve("yard") as service, Client(broker.port) as client:
        client.wait("afterview/available", b"online")
        assert client.json("afterview/yard/attributes")["evidence"]["frame"] == frame
        assert client.wait("afterview/yard/evidence")
        service.json("POST", "/cameras/yard/forget?wait=20", {"start": 0, "end": "now"}, status=202)
        client.wait("afterview/yard/evidence", b"")


def test_the_will_is_said_and_taken_back(serve: Serve, broker: Mosquitto) -> None:
    async def cut(engine: Engine) -> None:
        service.service._mqtt._door._connection.abort()  # type: ignore[union-attr]

    with serve() as service, Client(broker.port) as client:
        client.wait("afterview/available", b"online")
        client.forget()
        service.in_loop(cut)
        assert wait_until(
            lambda: (
                [m.payload for m in client.heard if m.topic == "afterview/available"][-2:] == [b"offline", b"online"]
            ),
            20,
        )
        client.send("afterview/available", "offline", retain=True)  # the will of a connection that was dead for long
        assert wait_until(lambda: client.now["afterview/available"] == b"online", 10)
        assert metric(service, "mqtt_reconnects_total") == 1


def test_a_broker_that_goes_and_comes(serve: Serve, broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with serve("yard") as service:
        with Client(broker.port) as client:
            client.wait("afterview/yard/last_frame")
        broker.stop()
        assert wait_until(lambda: notes(service), 10)
        assert "is not connected" in notes(service)[0]
        assert service.client.get("/health/ready").json()["status"] == "degraded"
        before = service.json("GET", "/cameras/yard")["recorded"]
        service.json("POST", "/cameras/yard/pause?wait=10", {"paused": True}, status=202)
        service.json("POST", "/cameras/yard/pause?wait=10", {"paused": False}, status=202)
        assert wait_until(lambda: metric(service, 'mqtt_dropped_total{what="event"}') >= 2, 10)
        assert wait_until(
            lambda: service.json("GET", "/cameras/yard")["recorded"] > before + 1, 10
        )  # recording goes on
        assert metric(service, "mqtt_connected") == 0
        broker.start()  # without what was retained
        with Client(broker.port) as client:
            client.wait("afterview/available", b"online")
            client.wait("afterview/yard/state", b"online")
            client.wait("homeassistant/device/afterview_yard/config")
            assert not [event for event in client.all("afterview/events") if event.get("state") == "paused"]
            client.send("afterview/ask", QUESTION)
            assert client.json("afterview/answer")["answer"]
        assert notes(service) == []
        assert service.json("GET", "/cameras/yard")["dropped"] == 0
    assert sum("not connected" in record.getMessage() for record in caplog.records) <= 3


def test_a_broker_that_does_not_read(serve: Serve, broker: Mosquitto) -> None:
    """It is frozen: nothing of it may be felt elsewhere, and the service can stop."""
    with serve("yard") as service:
        with Client(broker.port) as client:
            client.wait("afterview/yard/last_frame")
        broker.freeze()
        before = service.json("GET", "/cameras/yard")["recorded"]
        for _ in range(3):
            assert service.json("POST", "/ask", QUESTION)["answer"]
        assert wait_until(lambda: service.json("GET", "/cameras/yard")["recorded"] > before + 2, 15)
        assert wait_until(lambda: notes(service), 20)
        assert service.json("GET", "/cameras/yard")["dropped"] == 0
        service.stop(within_s=20)
        broker.thaw()


def test_topics_of_cameras_that_go_are_cleared(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard", "attic"), Client(broker.port) as client:
        for camera in ("yard", "attic"):
            client.wait(f"afterview/{camera}/state", b"online")
        client.send(
            "afterview/lamp/attributes", '{"brightness": 3, "camera": "lamp"}', retain=True
        )  # of another program
        client.send("afterview/lamp/state", "ON", retain=True)
    with serve("yard") as service:  # the attic went while it was down
        with Client(broker.port) as client:
            client.wait("afterview/available", b"online")
            assert wait_until(lambda: not client.now.get("afterview/attic/state"), 10)
        service.json("PUT", "/cameras/shed", {"source": "lavfi:testsrc2=size=320x180:rate=5"}, status=201)
        with Client(broker.port) as client:
            client.wait("afterview/shed/state", b"online")
            client.wait("homeassistant/device/afterview_shed/config")
            service.json("DELETE", "/cameras/shed", status=204)
            client.wait("homeassistant/device/afterview_shed/config", b"")
            client.wait("afterview/shed/state", b"")
        with Client(broker.port) as client:  # what is left
            client.wait("afterview/available", b"online")
            client.settle()
            left = {topic for topic, payload in client.now.items() if payload}
            assert not {topic for topic in left if "attic" in topic or "shed" in topic}
            assert {"afterview/yard/state", "afterview/lamp/attributes", "afterview/lamp/state"} <= left


def test_another_configuration_takes_its_topics_along(serve: Serve, broker: Mosquitto) -> None:
    def use(values: dict[str, Any] | None) -> None:
        config = values and MqttConfig.model_validate({"host": "127.0.0.1", "port": broker.port, **values})

        async def change(engine: Engine) -> bool:
            return await service.service._mqtt.use(config and Broker.of(config, {}))  # type: ignore[union-attr, arg-type]

        assert service.in_loop(change)

    with serve("yard") as service, Client(broker.port) as client:
        client.wait("afterview/yard/state", b"online")
        use({"prefix": "cabin", "discovery": False, "interval_s": 1})
        client.wait("cabin/yard/state", b"online")
        client.wait("homeassistant/device/afterview_yard/config", b"")
        client.wait("homeassistant/device/afterview/config", b"")

        def left() -> set[str]:
            return {topic for topic, payload in list(client.now.items()) if topic.startswith("afterview/") and payload}

        assert wait_until(lambda: left() <= {"afterview/events"}, 10), left()
        assert not [topic for topic in client.now if topic.startswith("homeassistant/device/cabin")]
        use({"prefix": "cabin", "discovery": True, "cameras": ["nothing"], "interval_s": 1})
        client.wait("homeassistant/device/cabin/config")
        assert wait_until(lambda: not client.now["cabin/yard/state"], 10)
        use(None)
        assert wait_until(lambda: not client.now["cabin/available"], 10)
        assert metric(service, "mqtt_connected") == 0


def test_discovery_that_was_switched_off_while_the_service_was_down(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard"), Client(broker.port) as client:
        client.wait("homeassistant/device/afterview_yard/config")
    with serve("yard", discovery=False), Client(broker.port) as client:
        client.wait("afterview/yard/state")
        for device in ("afterview_yard", "afterview"):
            assert wait_until(lambda device=device: not client.now.get(f"homeassistant/device/{device}/config"), 10)  # type: ignore[misc]


def test_home_assistant_that_starts_is_told_again(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard") as service, Client(broker.port) as client:
        client.wait("homeassistant/device/afterview_yard/config")
        client.wait("afterview/yard/last_frame")
        client.forget()
        for _ in range(50):  # a flood of births is one
            client.send("homeassistant/status", "online", qos=0)
        client.wait("homeassistant/device/afterview_yard/config")
        client.wait("homeassistant/device/afterview/config")
        client.wait("afterview/yard/state", b"online")
        count = sum(message.topic == "homeassistant/device/afterview/config" for message in client.heard)
        assert count <= 5
        assert notes(service) == []


def test_an_account_with_one_camera(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard", "attic", cameras=["yard"], commands=False) as service, Client(broker.port) as client:
        client.wait("afterview/yard/state", b"online")
        client.wait("afterview/yard/last_frame")
        client.send("afterview/attic/paused/set", "ON")
        client.send("afterview/yard/paused/set", "ON")
        client.send("afterview/ask", {"question": QUESTION["question"], "cameras": ["yard"]})
        assert client.json("afterview/answer")["answer"]
        assert service.state_of("attic") == "online"
        assert service.state_of("yard") == "online"
        told = {message.topic: message.payload for message in client.heard if "/set" not in message.topic}
        assert "attic" not in str(told)
        assert "questions" not in client.json("afterview/statistics")


def test_secrets_are_in_no_log(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, tiny: Any) -> None:
    (tmp_path / "guarded").mkdir()
    (tmp_path / "guarded" / "passwords").write_text("")
    caplog.set_level(logging.DEBUG)
    with Mosquitto(tmp_path / "guarded", "allow_anonymous false") as guarded:
        login = {"port": guarded.port, "username": "house", "password": "hunter4hunter4"}
        with serve(**login) as service:
            assert wait_until(lambda: notes(service), 20)
            assert (
                "mqtt.username and mqtt.password" in notes(service)[0]
                or "does not let this user in" in notes(service)[0]
            )
            said = json.dumps(service.client.get("/health/ready").json()) + service.client.get("/metrics").text
    assert "hunter4" not in said
    assert "hunter4" not in caplog.text
