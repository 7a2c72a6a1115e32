"""What strangers at the broker can do: nothing that others notice."""

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterview.stream.service.engine import Engine
from afterview.stream.service.mqtt import connection
from tests.stream.service.mqtt.conftest import Serve
from tests.stream.service.mqtt.test_door import BOTH, QUESTION, metric, notes
from tests.support.mosquitto import Client, Mosquitto
from tests.support.servers import wait_until
from tests.support.service import ServiceHere

pytestmark = pytest.mark.integration


def ignored(service: ServiceHere, reason: str) -> float:
    """Messages that were ignored for a reason."""
    return metric(service, f'mqtt_ignored_total{{reason="{reason}"}}')


@BOTH
def test_every_question_that_is_wrong_gets_an_error_of_one_shape(
    serve: Serve, broker: Mosquitto, protocol: str
) -> None:
    modern = protocol == "5"
    wrong: list[bytes] = [
        b"", b"\xff\xfe", b"{", b'{"question": ' + b"[" * 9000, b'{"question": 3}', b'{"question": "a", "camera": "b"}', b"x" * 40_000,
        b'{"question": "a", "cameras": ["nowhere"]}', b'{"question": "a", "last": "soon"}', b'{"question": "a", "follows": "zz"}',
        b'{"question": "\\ud800"}', b'{"question": "a", "seed": 1e999}',
    ]  # fmt: skip
    with serve(protocol=protocol) as service, Client(broker.port, modern=modern) as client:
        client.wait("afterview/available", b"online")
        for number, payload in enumerate(wrong):
            client.send("afterview/ask", payload)
            assert wait_until(lambda number=number: len(client.all("afterview/answer")) > number, 20), payload  # type: ignore[misc]
        for answer in client.all("afterview/answer"):
            assert answer.keys() == {"request", "error"}
            assert answer["error"].keys() == {"kind", "message"}
            assert str(service.memory) not in json.dumps(answer)
        kinds = [answer["error"]["kind"] for answer in client.all("afterview/answer")]
        assert "memory_not_found" in kinds
        assert "unexpected" not in kinds
        if modern:
            client.forget()
            for topic in (
                "zigbee/lock/set",
                "afterview/ask",
                "homeassistant/device/x/config",
                "afterview/hall/paused/set",
            ):
                client.send("afterview/ask", {**QUESTION, "id": "deputy"}, response=topic)
            assert wait_until(lambda: len(client.all("afterview/answer")) == 4, 10)
            for answer in client.all("afterview/answer"):
                assert answer["request"] == "deputy"
                assert "the response topic must begin with afterview/answer/" in answer["error"]["message"]
            client.send("afterview/ask", QUESTION, response="afterview/answer/x", correlation=b"x" * 300)
            assert wait_until(lambda: "correlation data" in client.all("afterview/answer")[-1]["error"]["message"], 10)
            assert "zigbee/lock/set" not in client.now
        assert notes(service) == []


def test_commands_that_are_wrong(serve: Serve, broker: Mosquitto) -> None:
    with serve("yard") as service, Client(broker.port) as client:
        client.wait("afterview/yard/state", b"online")
        client.send("afterview/yard/paused/set", "perhaps")
        error = client.json("afterview/error")
        assert (
            error
            == {"topic": "afterview/yard/paused/set", "error": {"kind": "usage", "message": "send ON or OFF"}} | error
        )
        client.send("afterview/nowhere/paused/set", "ON")
        assert wait_until(lambda: ignored(service, "unknown camera") == 1, 10)
        client.send("afterview/instance", "[" * 5000)
        assert wait_until(lambda: ignored(service, "damaged") >= 1, 10)
        assert service.state_of("yard") == "online"


@BOTH
def test_retained_commands_and_questions_are_not_executed_again(serve: Serve, broker: Mosquitto, protocol: str) -> None:
    with Client(broker.port) as client:
        client.send("afterview/yard/paused/set", "ON", retain=True)
        client.send("afterview/ask", QUESTION, retain=True)
        client.send("homeassistant/status", "online", retain=True)
        with serve("yard", protocol=protocol) as service:
            client.wait("afterview/yard/state", b"online")
            assert wait_until(lambda: ignored(service, "retained") == 3, 10)
            assert client.wait("afterview/yard/paused/state") == b"OFF"
            assert "afterview/answer" not in client.now


def test_too_many_questions_are_answered_at_once_with_an_error(serve: Serve, broker: Mosquitto) -> None:
    with serve(longest_queue=2) as service, Client(broker.port) as client:
        client.wait("afterview/available", b"online")
        for number in range(20):
            client.send("afterview/ask", {**QUESTION, "id": str(number)}, qos=0)
        assert wait_until(lambda: len(client.all("afterview/answer")) == 20, 30)
        answers = client.all("afterview/answer")
        refused = [answer for answer in answers if answer.get("error", {}).get("kind") == "too_many_questions"]
        assert refused
        assert len(refused) + sum("answer" in answer for answer in answers) == 20
        assert {answer["request"] for answer in answers} == {str(number) for number in range(20)}
        assert metric(service, "mqtt_questions_refused_total") == len(refused)
        assert service.json("POST", "/ask", QUESTION)["answer"]


def test_a_message_of_many_megabytes(serve: Serve, broker: Mosquitto) -> None:
    """MQTT 3.1.1 cannot refuse it; only its beginning is kept."""
    with serve(protocol="3.1.1") as service, Client(broker.port, topic="afterview/answer") as client:
        assert wait_until(
            lambda: (
                metric(service, "mqtt_connected") and metric(service, 'mqtt_messages_total{direction="published"}') > 3
            ),
            10,
        )
        client.send("afterview/ask", b"y" * 30_000_000)
        assert "more than 32768 bytes" in client.json("afterview/answer", within_s=30)["error"]["message"]
        client.forget()
        client.send("afterview/ask", QUESTION)
        assert client.json("afterview/answer")["answer"]
        assert metric(service, "mqtt_reconnects_total") == 0


def test_packets_are_bounded() -> None:
    packet = connection._Bounded()
    for _ in range(100):
        packet += b"x" * 10_000
    assert len(packet) == connection.LARGEST_PACKET


@pytest.fixture
def running(serve: Serve, broker: Mosquitto) -> Any:
    with serve("yard") as service, Client(broker.port, topic="afterview/answer") as client:
        assert wait_until(lambda: metric(service, 'mqtt_messages_total{direction="published"}') > 5, 10)
        yield service, client


LEVELS = st.text(
    st.characters(exclude_characters="\0+#", exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=12
)
TOPICS = st.one_of(
    st.sampled_from(["ask", "available", "instance", "yard/paused/set", "yard/attributes", "yard/state", "x/y/z/set"]),
    st.lists(LEVELS, min_size=1, max_size=4).map("/".join),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(topic=TOPICS, payload=st.binary(max_size=60) | st.text(max_size=60).map(str.encode), retain=st.booleans())
def test_nothing_that_is_sent_breaks_the_connection(running: Any, topic: str, payload: bytes, retain: bool) -> None:
    _, client = running
    client.send(f"afterview/{topic}", payload, retain=retain, qos=0)


def test_after_all_that_it_answers(running: Any) -> None:
    service, client = running
    for topic in ("ask", "available", "instance", "yard/attributes", "a/b/c/d/e"):
        for payload in (
            b"",
            b"\0",
            b"{}",
            b'{"instance": []}',
            b'{"instance": "x", "client_id": {"a": 1}}',
            b"null",
            b"\xf0\x28",
        ):
            client.send(f"afterview/{topic}", payload, retain=True, qos=0)
    time.sleep(0.5)
    client.forget()
    client.send("afterview/ask", {**QUESTION, "id": "still there"})
    assert wait_until(
        lambda: any(
            answer.get("request") == "still there" and "answer" in answer for answer in client.all("afterview/answer")
        ),
        20,
    )
    assert metric(service, "mqtt_reconnects_total") == 0
    assert ignored(service, "failed") == 0


def test_a_flood_costs_no_frame(serve: Serve, broker: Mosquitto) -> None:
    """1,000 messages; tests.bench.mqtt measures a minute of them."""
    with serve("yard", longest_queue=1) as service, Client(broker.port, topic="afterview/answer") as client:
        assert wait_until(lambda: metric(service, 'mqtt_messages_total{direction="published"}') > 5, 10)
        before = metric(service, 'mqtt_messages_total{direction="received"}')
        topics = ("afterview/ask", "afterview/yard/paused/set", "afterview/nowhere/paused/set", "afterview/available")
        for number in range(1000):
            client.send(topics[number % 4], b"OFF" if number % 4 else b"{}", qos=0)
        assert wait_until(lambda: metric(service, 'mqtt_messages_total{direction="received"}') >= before + 1000, 30)
        assert wait_until(lambda: len(client.heard) >= 250, 20)
        yard = service.json("GET", "/cameras/yard")
        assert (yard["dropped"], yard["state"]) == (0, "online")
        assert metric(service, 'mqtt_dropped_total{what="incoming"}') == 0
        assert metric(service, "mqtt_reconnects_total") == 0

        async def waiting(engine: Engine) -> int:
            return len(service.service._mqtt._door._asking._tasks)  # type: ignore[union-attr]

        assert service.in_loop(waiting) <= 1
