"""One question through every door: the same answer, evidence and coverage."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from afterview.cli.main import main
from tests.stream.service.mcp.conftest import call
from tests.support.memory_world import START
from tests.support.mosquitto import Client, Mosquitto
from tests.support.openai_client import client_of, user, video
from tests.support.service import ServiceHere, record_camera, sent_events

QUESTION, AT = "Did you see a red ring?", START + 120
pytestmark = pytest.mark.integration  # it needs Mosquitto


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def service(tiny: Any, broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    """Two cameras; one was away for half a minute."""
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "front door", tiny, 150, missing=range(60, 90))
    record_camera(memory, "yard", tiny, 70)
    with ServiceHere(memory, tiny, mqtt={"host": "127.0.0.1", "port": broker.port}) as running:
        yield running


def by_command(service: ServiceHere, broker: Mosquitto, cameras: list[str]) -> Any:
    named = [part for camera in cameras for part in ("--camera", camera)]
    assert main(["ask", QUESTION, "--memory", str(service.memory), "--at", f"{AT:.0f}", "--json", *named]) == 0


def by_http(service: ServiceHere, broker: Mosquitto, cameras: list[str]) -> Any:
    return service.json("POST", "/ask", {"question": QUESTION, "cameras": cameras, "at": AT})


def by_events(service: ServiceHere, broker: Mosquitto, cameras: list[str]) -> Any:
    body = {"question": QUESTION, "cameras": cameras, "at": AT, "stream": True}
    with service.client.stream("POST", "/api/v1/ask", json=body) as response:
        events = list(sent_events(response.iter_lines()))
    kind, document = events[-1]
    assert kind == "answer"
    assert "".join(event["text"] for kind, event in events if kind == "text").strip() == document["answer"]
    return document


def by_openai(service: ServiceHere, broker: Mosquitto, cameras: list[str]) -> Any:
    places = [f"afterview://camera/{camera.replace(' ', '%20')}?to={AT}" for camera in cameras]
    message = user(QUESTION, *map(video, places or [f"afterview://cameras?to={AT}"]))
    found = client_of(service).chat.completions.create(model="afterview", messages=[message])
    return {**found.to_dict()["afterview"], "answer": found.choices[0].message.content}


def by_mcp(service: ServiceHere, broker: Mosquitto, cameras: list[str]) -> Any:
    given = {"question": QUESTION, "at": f"{AT:.0f}"} | ({"cameras": cameras} if cameras else {})
    return call(service.url, "auto", "ask", given).structured_content


def by_mqtt(service: ServiceHere, broker: Mosquitto, cameras: list[str]) -> Any:
    with Client(broker.port, modern=True) as client:
        client.wait("afterview/available", b"online")
        asked = {"question": QUESTION, "cameras": cameras, "at": AT}
        client.send("afterview/ask", asked, response="afterview/answer/test")
        return client.json("afterview/answer/test")


DOORS = (by_command, by_events, by_openai, by_mcp, by_mqtt)


def told(answer: Any) -> dict[str, Any]:
    """What every door must say alike."""
    return {
        "answer": answer["answer"],
        "evidence": [(one["camera"], one["frame"], one["time"], round(one["weight"], 6)) for one in answer["evidence"]],
        "coverage": [part["coverage"] for part in answer["cameras"]],
        "skipped": answer["skipped"],
    }


@pytest.mark.parametrize("cameras", [["front door"], []], ids=["named", "all"])
@pytest.mark.parametrize("door", DOORS)
def test_every_door_tells_the_same(
    door: Callable[..., Any], cameras: list[str], service: ServiceHere, broker: Mosquitto,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("afterview.cli.asking.__version__", "test")  # that of the service
    capsys.readouterr()
    found = door(service, broker, cameras)
    wanted = told(by_http(service, broker, cameras))
    assert wanted["evidence"]
    assert wanted["coverage"][0]["gaps"]
    assert told(json.loads(capsys.readouterr().out) if found is None else found) == wanted
