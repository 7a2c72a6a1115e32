"""Two users of one service: each sees only the own cameras by every tool, and learns nothing of the others' cameras and answers."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp.types import CallToolResult

from afterview.stream.service.mcp.arguments import FORMS
from afterview.stream.service.people.users import User, Users, change_users, new_token
from tests.stream.service.mcp.conftest import call, text_of
from tests.stream.service.mcp.test_door import post
from tests.support.held_model import HeldModel
from tests.support.servers import wait_until
from tests.support.service import ServiceHere, record_camera

QUESTION = "Did you see a red ring?"
HIDDEN = "vault"


def add_users(memory: Path) -> dict[str, str]:
    """An admin, and viewers of one camera or of none; their tokens."""
    tokens: dict[str, str] = {}

    def change(users: Users) -> Users:
        for name, cameras in (("anna", ("yard",)), ("bert", (HIDDEN,)), ("none", ()), ("chief", None)):
            token, tokens[name] = new_token(f"of-{name}", name, days=None)
            role = "viewer" if cameras is not None else "admin"
            users = users.with_user(User(name, role, "", cameras, time.time())).with_token(token)
        return users

    change_users(memory, change)
    return tokens


@pytest.fixture(scope="module")
def memory(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("memory")
    record_camera(made, "yard", tiny, 20)
    record_camera(made, HIDDEN, tiny, 30)
    return made


@pytest.fixture(scope="module")
def tokens(memory: Path) -> dict[str, str]:
    return add_users(memory)


def serve(memory: Path, tiny: Any, tokens: dict[str, str]) -> Iterator[ServiceHere]:
    with ServiceHere(memory, tiny, wait=False) as running:
        known = {"Authorization": f"Bearer {tokens['chief']}"}
        ready = "/health/ready"
        assert wait_until(lambda: running.client.get(ready, headers=known).json()["model"]["state"] == "ready", 20)
        yield running


@pytest.fixture(scope="module")
def service(memory: Path, tiny: Any, tokens: dict[str, str]) -> Iterator[ServiceHere]:
    yield from serve(memory, tiny, tokens)


@pytest.fixture
def hasty(tiny: Any, tmp_path: Path, impatient: None) -> Iterator[tuple[ServiceHere, dict[str, str]]]:
    """A service that gives handles at once, with users of its own."""
    record_camera(tmp_path, "yard", tiny, 20)
    tokens = add_users(tmp_path)
    for running in serve(tmp_path, tiny, tokens):
        yield running, tokens


def cameras_of(result: CallToolResult) -> list[str]:
    return [one["camera"] for one in result.structured_content["cameras"]]


def test_each_user_sees_the_own_cameras(service: ServiceHere, tokens: dict[str, str], mode: str) -> None:
    seen = {name: cameras_of(call(service.url, mode, "cameras", {}, token=token)) for name, token in tokens.items()}
    assert seen == {"anna": ["yard"], "bert": [HIDDEN], "none": [], "chief": [HIDDEN, "yard"]}
    answers = {
        name: call(service.url, mode, "ask", {"question": QUESTION}, token=tokens[name]) for name in ("anna", "chief")
    }
    assert {name: cameras_of(result) for name, result in answers.items()} == {
        "anna": ["yard"],
        "chief": [HIDDEN, "yard"],
    }
    assert {one["camera"] for one in answers["anna"].structured_content["evidence"]} == {"yard"}
    nothing = call(service.url, mode, "ask", {"question": QUESTION}, token=tokens["none"])
    assert nothing.is_error


PROBES = {
    "ask": [{"question": QUESTION, "cameras": ["{camera}"]}, {"question": QUESTION, "follows": "{answer}"}],
    "search": [{"text": "a red ring", "cameras": ["{camera}"]}, {"text": "a red ring", "cameras": ["yard", "{camera}"]}],
    "cameras": [{}],
    "timeline": [{"camera": "{camera}"}, {"camera": "{camera}", "start": "now"}],
    "frame": [
        {"camera": "{camera}"}, {"camera": "{camera}", "frame": 3, "picture": True}, {"camera": "{camera}", "at": "now"},
    ],
    "answer_status": [{"handle": "{handle}"}],
}  # fmt: skip


def filled(value: Any, **words: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(one, **words) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, **words) for one in value]
    return value.format(**words) if isinstance(value, str) else value


def test_every_tool_says_the_same_of_a_hidden_camera_as_of_none(
    service: ServiceHere, tokens: dict[str, str], held: HeldModel
) -> None:
    assert set(PROBES) == set(FORMS), "a new tool needs its probes here"
    held.go.set()
    of_bert = post(service, "ask", {"question": QUESTION}, Authorization=f"Bearer {tokens['bert']}").json()["result"]
    answer = of_bert["structuredContent"]["id"]
    own = {"Authorization": f"Bearer {tokens['anna']}"}
    for tool, probes in PROBES.items():
        for probe in probes:
            hidden = post(service, tool, filled(probe, camera=HIDDEN, answer=answer, handle="x" * 24), **own)
            absent = post(service, tool, filled(probe, camera="vantu", answer="0" * 12, handle="y" * 24), **own)
            assert hidden.status_code == absent.status_code == 200
            said = hidden.text.replace(HIDDEN, "vantu").replace(answer, "0" * 12)
            if tool == "cameras":
                assert HIDDEN not in hidden.text
            else:
                assert said == absent.text
                assert hidden.json()["result"]["isError"]


def test_a_handle_works_for_its_user_alone_and_only_while_the_cameras_are_theirs(
    hasty: tuple[ServiceHere, dict[str, str]], held: HeldModel
) -> None:
    service, tokens = hasty

    def asked(tool: str, given: Any, name: str) -> Any:
        while True:
            response = post(service, tool, given, Authorization=f"Bearer {tokens[name]}")
            if response.status_code != 401:  # a call that is there while the rights change
                return response.json()["result"]

    handle = {"handle": asked("ask", {"question": QUESTION}, "anna")["structuredContent"]["handle"]}
    refused = asked("answer_status", handle, "bert")
    assert refused["isError"]
    assert refused["content"] == asked("answer_status", {"handle": "unknown"}, "bert")["content"]
    held.go.set()
    assert wait_until(lambda: asked("answer_status", handle, "anna")["structuredContent"]["status"] == "answered", 20)
    change_users(service.memory, lambda users: users.changed(replace(users.user("anna"), cameras=())))
    assert wait_until(lambda: asked("answer_status", handle, "anna")["isError"], 5)
    change_users(service.memory, lambda users: users.changed(replace(users.user("anna"), cameras=("yard",))))
    assert wait_until(lambda: not asked("answer_status", handle, "anna")["isError"], 5)


def test_a_revoked_token_ends_a_call_that_waits(
    service: ServiceHere, tokens: dict[str, str], held: HeldModel, mode: str
) -> None:
    token, text = new_token(f"of-guest-{mode}", "bert", days=None)
    change_users(service.memory, lambda users: users.with_token(token))
    headers = {"Authorization": f"Bearer {text}"}
    assert wait_until(lambda: post(service, "cameras", {}, **headers).status_code == 200, 5)
    ended: list[Any] = []

    def ask() -> None:
        try:
            ended.append(call(service.url, mode, "ask", {"question": QUESTION}, token=text))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert wait_until(lambda: held.asked == 1, 10)
    revoked = time.monotonic()
    change_users(service.memory, lambda users: users.without_token(token.name))
    assert wait_until(lambda: held.cancelled == 1, 5)
    assert time.monotonic() - revoked < 1.0
    thread.join(10)
    assert not thread.is_alive()
    assert not isinstance(ended[0], CallToolResult) or ended[0].is_error


def test_what_is_said_names_no_other_user(service: ServiceHere, tokens: dict[str, str]) -> None:
    result = call(service.url, "auto", "ask", {"question": QUESTION, "cameras": [HIDDEN]}, token=tokens["anna"])
    assert text_of(result) == f"no camera '{HIDDEN}' in the memory; there are: yard"
