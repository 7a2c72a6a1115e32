"""The section `mqtt`: what is wrong is named, and no secret is ever shown."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.configs import ConfigError
from afterview.stream.service.config import ServiceConfig, load_service_config
from afterview.stream.service.mqtt.broker import Broker, instance_of
from afterview.stream.service.mqtt_config import MqttConfig
from afterview.stream.source.address.redact import redact
from tests.support.certificates import make_certificates


def load(tmp_path: Path, text: str) -> ServiceConfig:
    path = tmp_path / "home.yaml"
    path.write_text(text)
    return load_service_config(path)


def config(**values: Any) -> MqttConfig:
    return MqttConfig.model_validate({"host": "broker", **values})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mqtt: {}", "mqtt.host: is missing"),
        ("mqtt: {host: h, topic: x}", "mqtt.topic: unknown key"),
        ("mqtt: {host: h, prefix: 'a/#'}", "mqtt.prefix: levels of letters"),
        ("mqtt: {host: h, prefix: /a}", "mqtt.prefix: levels of letters"),
        ("mqtt: {host: h, prefix: $SYS}", "mqtt.prefix: levels of letters"),
        ("mqtt: {host: h, prefix: homeassistant/x}", "prefix and discovery_prefix must not lie in each other"),
        ("mqtt: {host: h, protocol: 4}", "mqtt.protocol: must be '5' or '3.1.1'"),
        ("mqtt: {host: h, password: secretsecret}", "a password needs a username"),
        ("mqtt: {host: h, username: u, password: 12345678}", "password: must be text; write it in quotes"),
        ("mqtt: {host: h, username: u, password: p, password_file: f}", "the password is given twice"),
        ("mqtt: {host: h, tls: {key: a}}", "give both certificate and key, or neither"),
        ("mqtt: {host: h, cameras: ['?']}", "use letters or digits"),
        ("mqtt: {host: h, user: owner}", "must be another printable name"),
        ("mqtt: {host: h, port: 0}", "mqtt.port: must be at least 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert said in str(error.value)
    assert "12345678" not in str(error.value)
    assert "secretsecret" not in str(error.value)


def test_defaults_and_paths(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "mqtt: {host: broker, protocol: 5, password_file: secret, username: u, tls: {ca: ca.pem}, cameras: [Front door]}",
    ).mqtt
    assert found is not None
    assert (found.place, found.prefix, found.protocol, found.discovery) == ("broker:8883", "afterview", "5", True)
    assert found.password_file == tmp_path / "secret"
    assert found.tls is not None
    assert found.tls.ca == tmp_path / "ca.pem"
    assert found.cameras == ("front-door",)
    assert config(host="::1").place == "[::1]:1883"
    assert load(tmp_path, "").mqtt is None


def test_the_account() -> None:
    whole = Broker.of(config(), {}).account
    assert (whole.user, whole.admin, whole.cameras, whole.door) == ("mqtt", True, None, "mqtt")
    limited = Broker.of(config(cameras=["Front door"], commands=False, user="house"), {}).account
    assert (limited.user, limited.admin, limited.cameras) == ("house", False, frozenset({"front-door"}))


def test_passwords(tmp_path: Path) -> None:
    broker = Broker.of(config(username="u", password="{AFTERVIEW_MQTT}"), {"AFTERVIEW_MQTT": "hunter2hunter2"})
    assert broker.password == "hunter2hunter2"
    assert "hunter2" not in redact("hunter2hunter2 in a log")
    for shown in (repr(broker), repr(broker.config), str(broker.config.model_dump(mode="json"))):
        assert "hunter2" not in shown
    with pytest.raises(ConfigError, match="the variable AFTERVIEW_MQTT is not set"):
        Broker.of(config(username="u", password="{AFTERVIEW_MQTT}"), {})
    secret = tmp_path / "secret"
    secret.write_text("hunter3hunter3\n")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        Broker.of(config(username="u", password_file=secret), {})
    secret.chmod(0o600)
    assert Broker.of(config(username="u", password_file=secret), {}).password == "hunter3hunter3"
    assert "plainplain" not in repr(config(username="u", password="plainplain"))


def test_certificates(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    context = Broker.of(
        config(tls={"ca": made / "ca.pem", "certificate": made / "client.pem", "key": made / "client.key"}), {}
    ).tls
    assert context is not None
    assert context.check_hostname
    insecure = Broker.of(config(tls={"insecure": True}), {}).tls
    assert insecure is not None
    assert insecure.verify_mode == ssl.CERT_NONE
    for tls, said in (
        ({"ca": tmp_path / "none"}, "mqtt.tls.ca: .*: no such file"),
        ({"ca": made / "client.key"}, "mqtt.tls.ca: .* is not a PEM certificate"),
        ({"certificate": tmp_path / "none", "key": made / "client.key"}, "mqtt.tls.certificate: .*: no such file"),
        ({"certificate": made / "client.pem", "key": made / "server.key"}, "are not a PEM certificate and its key"),
    ):
        with pytest.raises(ConfigError, match=said):
            Broker.of(config(tls=tls), {})


def test_the_instance_stays(tmp_path: Path) -> None:
    first = instance_of(tmp_path)
    assert instance_of(tmp_path) == first
    assert len(first) == 12
    (tmp_path / ".mqtt").write_bytes(b"\xff damaged")
    assert instance_of(tmp_path) == instance_of(tmp_path) != first
    assert instance_of(tmp_path / "none") == instance_of(tmp_path / "none")  # nothing can be written there


def test_the_check_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "home.yaml"
    path.write_text("mqtt: {host: broker, username: u, password: '{AFTERVIEW_MQTT}'}")
    assert main(["config", "check", str(path)]) == 2
    assert "AFTERVIEW_MQTT is not set" in capsys.readouterr().err
    monkeypatch.setenv("AFTERVIEW_MQTT", "hunter2hunter2")
    assert main(["config", "check", str(path)]) == 0
    assert "mqtt: broker:1883, topics begin with afterview/" in capsys.readouterr().out
    assert main(["config", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mqtt"] == "broker:1883"
