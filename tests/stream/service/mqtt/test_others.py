"""Two services at one broker, TLS, and rules of the broker."""

import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.stream.service.mqtt.conftest import Serve
from tests.stream.service.mqtt.test_door import BOTH, QUESTION, metric, notes
from tests.support.certificates import make_certificates
from tests.support.mosquitto import Client, Mosquitto
from tests.support.servers import wait_until

pytestmark = pytest.mark.integration


def test_two_services_with_prefixes_of_their_own(serve: Serve, broker: Mosquitto) -> None:
    services = serve("yard", memory="one", prefix="one"), serve("yard", memory="two", prefix="two")
    with services[0] as one, services[1] as two, Client(broker.port) as client:
        for prefix in ("one", "two"):
            client.wait(f"{prefix}/yard/state", b"online")
            client.wait(f"homeassistant/device/{prefix}_yard/config")
        client.send("one/yard/paused/set", "ON")
        client.wait("one/yard/paused/state", b"ON")
        client.send("two/ask", QUESTION)
        assert client.json("two/answer")["answer"]
        assert client.now["two/yard/paused/state"] == b"OFF"
        assert "one/answer" not in client.now
        assert notes(one) == notes(two) == []
        one.stop()
        client.wait("one/available", b"offline")
        assert client.now["two/available"] == b"online"


def test_two_services_with_one_prefix_say_so(serve: Serve, broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    with serve("yard", memory="one") as one, Client(broker.port) as client:
        client.wait("afterview/yard/state", b"online")
        with serve("attic", memory="two", client_id="second") as two:
            client.wait("afterview/attic/state", b"online")
            assert wait_until(lambda: notes(one) and notes(two), 10)
            assert "(client id 'second') has the prefix 'afterview'" in notes(one)[0]
            assert "set mqtt.prefix" in notes(two)[0]
            assert client.now["afterview/yard/state"] == b"online"  # each clears only its own topics
        said = [b"offline", b"online"]  # one is still there
        assert wait_until(
            lambda: [m.payload for m in client.heard if m.topic == "afterview/available"][-2:] == said, 10
        )
    assert any(record.levelno == logging.ERROR and "has the prefix" in record.getMessage() for record in caplog.records)


@BOTH
def test_two_services_with_one_client_id_say_so(serve: Serve, broker: Mosquitto, protocol: str) -> None:
    word = "set mqtt.client_id"
    same = {"client_id": "twin", "protocol": protocol}
    with serve(memory="one", prefix="one", **same) as one, serve(memory="two", prefix="two", **same) as two:
        assert wait_until(lambda: any(word in note for note in notes(one) + notes(two)), 30)
        assert one.json("POST", "/ask", QUESTION)["answer"]


def test_tls_with_certificates_of_both_sides(serve: Serve, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    (tmp_path / "tls").mkdir()
    rules = (
        f"cafile {made}/ca.pem",
        f"certfile {made}/server.pem",
        f"keyfile {made}/server.key",
        "require_certificate true",
    )
    own = {"ca": made / "ca.pem", "certificate": made / "client.pem", "key": made / "client.key"}
    context = ssl.create_default_context(cafile=made / "ca.pem")
    context.load_cert_chain(made / "client.pem", made / "client.key")
    with Mosquitto(tmp_path / "tls", *rules) as guarded:
        where: dict[str, Any] = {"host": "localhost", "port": guarded.port}
        with serve(**where, tls=own), Client(guarded.port, tls=context) as client:
            client.wait("afterview/available", b"online")
            client.send("afterview/ask", QUESTION)
            assert client.json("afterview/answer")["answer"]
        for tls, said in (
            ({"ca": made / "ca.pem"}, ("wants a certificate of this client",)),
            ({}, ("certificate is not accepted", "check mqtt.host and mqtt.tls.ca")),
            (None, ("check mqtt.port and mqtt.tls",)),
        ):
            with serve(**where, tls=tls) as service:
                assert wait_until(lambda: notes(service), 20), said
                assert any(word in notes(service)[0] for word in said), notes(service)
                assert metric(service, "mqtt_connected") == 0


def test_a_broker_without_tls_is_named(serve: Serve, broker: Mosquitto) -> None:
    with serve(tls={}) as service:
        assert wait_until(lambda: notes(service), 20)
        assert "TLS" in notes(service)[0] or "broke" in notes(service)[0], notes(service)


def test_rules_of_the_broker_that_refuse_topics_are_named(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "acl").mkdir()
    (tmp_path / "acl" / "acl").write_text("topic read afterview/#\ntopic write afterview/available\n")
    with (
        Mosquitto(tmp_path / "acl", f"acl_file {tmp_path}/acl/acl", "allow_anonymous true") as guarded,
        serve("yard", port=guarded.port) as service,
    ):
        assert wait_until(lambda: any("refused" in note for note in notes(service)), 20), notes(service)
        assert metric(service, 'mqtt_dropped_total{what="refused by the broker"}') > 0


def test_an_answer_that_the_broker_does_not_take(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with (
        Mosquitto(tmp_path / "small", "max_packet_size 2000") as small,
        serve(port=small.port) as service,
        Client(small.port) as client,
    ):
        client.wait("afterview/available", b"online")
        client.send("afterview/ask", {**QUESTION, "id": "1"})
        answer = client.json("afterview/answer")
        assert answer["request"] == "1"
        assert answer["error"]["kind"] == "too_large"
        assert answer["error"]["answer"]
        assert metric(service, "mqtt_reconnects_total") == 0
