"""The configuration of the service: strict, errors with line and key, and what a change of it means."""

import json
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.configs import ConfigError
from afterview.stream.service.config import (
    CameraConfig,
    ServiceConfig,
    camera_changes,
    json_schema,
    load_service_config,
    needs_restart,
    settings_of,
)

WHOLE = """\
memory: ./cameras
model: tiny
zone: Europe/Berlin
cameras:
  front door:
    source: rtsp://viewer:{AFTERVIEW_DOOR}@10.0.0.7/stream
    paused: false
    masks: [[[0.8, 0], [1, 0], [1, 1]]]
    retain: {days: 30, gigabytes: 50}
http: {bind: 127.0.0.1, port: 8077, token_file: null, tls: {certificate: null, key: null}, allowed_hosts: []}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "home.yaml"
    path.write_text(text)
    return path


def test_the_whole_file(tmp_path: Path) -> None:
    config = load_service_config(write(tmp_path, WHOLE))
    assert config.memory == tmp_path / "cameras"
    door = config.cameras["front door"]
    assert settings_of(door) == {"paused": False, "masks": [[[0.8, 0], [1, 0], [1, 1]]], "days": 30, "gigabytes": 50}
    assert load_service_config(write(tmp_path, "")) == ServiceConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cameras:\n  door:\n    sorce: rtsp://h/", "home.yaml, line 3: cameras.door.sorce: unknown key; did you mean 'source'?"),
        ("cameras:\n  yard: {source: rtsp://h/}\n  door: {paused: true}", "home.yaml, line 3: cameras.door.source: is missing"),
        ("model: tiny\nhttp:\n  port: 99999", "home.yaml, line 3: http.port: must be at most 65535 (got 99999)"),
        ("zone: Mars/Base", "home.yaml, line 1: zone: unknown time zone 'Mars/Base'"),
        ("cameras:\n  a:\n    source: rtsp://h/\n    masks:\n      - [[0, 0], [1, 1]]", "line 4: cameras.a.masks: a polygon needs 3"),
        ("cameras:\n  a b: {source: rtsp://h/}\n  A-b: {source: rtsp://g/}", "line 1: cameras: 'a b' and 'A-b' would both be camera 'a-b'"),
        ("cameras:\n  a: {source: rtsp://h/}\n  a: {source: rtsp://g/}", "home.yaml: key 'a' is given twice, again in line 3"),
        ("cameras:\n\ta: 1", "home.yaml: not valid YAML in line 2; indent by blanks, not by tabs"),
        ("- a", "home.yaml: must hold keys with values"),
        ("mqtt: {host: 'mqtt://broker:1884'}", "line 1: mqtt.host: must be the name or address of a host alone, without scheme, port "
         "and path; write broker, and the port as mqtt.port"),
        ("mqtt: {host: 'broker:1884'}", "write broker, and the port as mqtt.port"),
        ("mqtt: {host: 'mqtt://u:pw@broker'}", "mqtt: host: holds a user or a password; give them as mqtt.username and mqtt.password"),
        ("http:\n  allowed_hosts: ['https://nvr.home:8443/']", "line 2: http.allowed_hosts: must be the name or address of a host alone, "
         "without scheme, port and path; write nvr.home"),
        ("http: {allowed_hosts: ['*']}", "http.allowed_hosts: must be the name or address of a host alone"),
        ("openai: {allow_urls: ['*', 'http://nvr.home/']}", "openai.allow_urls: must be the name or address of a host alone"),
        ("cameras: {1: {source: rtsp://h/}}", "line 1: cameras.1: a name must be text: write it in quotes"),
        ("mqtt: {hosts: broker}", "home.yaml, line 1: mqtt.hosts: unknown key; did you mean 'host'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_service_config(write(tmp_path, text))
    assert said in str(error.value)


def test_errors_quote_no_secret(tmp_path: Path) -> None:
    text = "cameras:\n  door: {source: 'rtsp://viewer:hunter2hunter2@h/', retain: 'rtsp://u:hunter2hunter2@h'}"
    with pytest.raises(ConfigError) as error:
        load_service_config(write(tmp_path, text))
    assert "hunter2" not in str(error.value)


def test_what_a_new_configuration_changes() -> None:
    one, other = CameraConfig(source="rtsp://h/1"), CameraConfig(source="rtsp://h/2")
    changes = camera_changes({"stays": one, "moves": one, "goes": one}, {"stays": one, "moves": other, "comes": one})
    assert changes == {"moves": "changed", "comes": "added", "goes": "removed"}
    after = ServiceConfig.model_validate({"model": "tiny", "http": {"port": 1}})
    assert needs_restart(ServiceConfig(), after) == ["model", "http.port"]


def test_what_is_left_out_changes_no_setting() -> None:
    assert settings_of(CameraConfig(source="rtsp://h/")) == {}
    limited = CameraConfig.model_validate({"source": "rtsp://h/", "retain": {"days": None}})
    assert settings_of(limited) == {"days": None}


def test_hosts_are_names_and_addresses(tmp_path: Path) -> None:
    for host in ("nvr.home", "10.0.0.7", "::1", "küche_2"):
        path = write(tmp_path, f"mqtt: {{host: '{host}'}}\nopenai: {{allow_urls: ['*', '{host}']}}")
        config = load_service_config(path)
        assert config.mqtt is not None
        assert (config.mqtt.host, config.openai.allow_urls) == (host, ("*", host))


def test_an_address_of_a_broker_with_a_password_is_not_quoted(tmp_path: Path) -> None:
    for host in ("mqtt://u:hunter2@broker", "u:hunter2@broker", "u:hunter2@broker:1883"):
        with pytest.raises(ConfigError) as error:
            load_service_config(write(tmp_path, f"mqtt: {{host: '{host}'}}"))
        assert "hunter2" not in str(error.value)


def test_the_check_finds_what_would_stop_the_service_or_surprise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for text, said in (
        ("http: {tls: {certificate: none.pem}}", "http.tls: give both certificate and key"),
        ("http: {tls: {certificate: none.pem, key: none.pem}}", "none.pem: no such file"),
        (f"cameras: {{film: {{source: '{__file__}'}}}}", "home.yaml: cameras.film.source: "),
        ("model: tinny", "did you mean 'tiny'?"),
        (
            "cameras: {hall: {source: 'rtsp://h/'}, yard: {source: '{AFTERVIEW_NONE}'}}",
            "home.yaml: cameras.yard.source: ",
        ),
    ):
        assert main(["config", "check", str(write(tmp_path, text))]) == 2, text
        assert said in capsys.readouterr().err
    path = write(
        tmp_path, "openai: {folders: [films]}\nmqtt: {host: h, cameras: [yrd]}\ncameras: {yard: {source: 'rtsp://h/'}}"
    )
    assert main(["config", "check", str(path)]) == 0
    assert f"openai.folders: there is no directory {tmp_path / 'films'} yet" in caplog.text
    assert "mqtt.cameras: there is no camera 'yrd' in the file" in caplog.text


def test_the_schema_and_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["config", "schema", "--json"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(json_schema()))
    assert schema["properties"].keys() == ServiceConfig.model_fields.keys()
    assert schema["additionalProperties"] is False
    path = write(tmp_path, WHOLE)
    assert main(["config", "check", str(path)]) == 2
    assert "AFTERVIEW_DOOR, which is not set" in capsys.readouterr().err
    secret = tmp_path / "door"
    secret.write_text("hunter2hunter2\n")
    monkeypatch.setenv("AFTERVIEW_DOOR_FILE", str(secret))
    assert main(["config", "check", str(path)]) == 0
    assert "front door: rtsp://***@10.0.0.7/stream" in capsys.readouterr().out
