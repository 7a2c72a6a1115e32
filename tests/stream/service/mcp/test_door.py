"""The tools as assistants call them: by the SDK's client, in both eras of the protocol, over real connections."""

import asyncio
import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.shared.exceptions import MCPError

from afterview.configs import UsageError
from afterview.stream.service.mcp import looking, tools
from afterview.stream.service.mcp.arguments import FORMS, check
from tests.stream.service.mcp.conftest import ERAS, call, text_of, with_client
from tests.support.held_model import HeldModel
from tests.support.memory_world import START
from tests.support.servers import wait_until
from tests.support.service import ServiceHere, record_camera

FRAMES, GAP = 150, range(60, 90)
QUESTION = "Did you see a red ring?"
TOKEN = "correct-horse-battery-staple"
MODERN = {
    "Accept": "application/json, text/event-stream", "Content-Type": "application/json",
    "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call",
}  # fmt: skip
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "front door", tiny, FRAMES, missing=GAP)
    record_camera(memory, "yard", tiny, 70)
    with ServiceHere(memory, tiny) as running:
        yield running


@pytest.fixture
def waiting(tiny: Any, tmp_path: Path, held: HeldModel, impatient: None) -> Iterator[ServiceHere]:
    """A service whose answers wait, and whose clients get a handle at once."""
    record_camera(tmp_path, "yard", tiny, 3)
    with ServiceHere(tmp_path, tiny) as running:
        yield running


def post(service: ServiceHere, tool: str, given: Any, **headers: str) -> httpx2.Response:
    """A call of the stateless era, made by hand."""
    params = {"name": tool, "arguments": given, "_meta": ENVELOPE}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return service.client.post("/mcp", content=body.encode(), headers={**MODERN, "Mcp-Name": tool, **headers})


def test_the_tools_teach_and_only_read(service: ServiceHere, mode: str) -> None:
    async def work(client: Client) -> Any:
        return client.session.protocol_version, client.server_info, (await client.list_tools()).tools

    version, server, listed = with_client(service.url, mode, work)
    assert version == ERAS["stateless" if mode == "auto" else "handshake"]
    assert (server.name, server.version) == ("afterview", "test")
    assert [tool.name for tool in listed] == list(FORMS)
    for tool in listed:
        assert tool.annotations.read_only_hint is True
        assert len(tool.description) > 100
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in one for one in tool.input_schema["properties"].values())
        assert "anyOf" not in json.dumps(tool.input_schema)


def test_an_answer_is_that_of_the_api_with_links_to_its_evidence(service: ServiceHere, mode: str) -> None:
    given = {"question": QUESTION, "cameras": ["front door"], "start": f"{START:.0f}", "pictures": 2}
    result = call(service.url, mode, "ask", given)
    api = service.json("POST", "/ask", {"question": QUESTION, "cameras": ["front door"], "start": START})
    found = result.structured_content
    assert not result.is_error
    assert found["answer"] == api["answer"]
    assert [(one["camera"], one["frame"], one["weight"]) for one in found["evidence"]] == [
        (one["camera"], one["frame"], one["weight"]) for one in api["evidence"]
    ]
    moving = dict.fromkeys(["lag_s"])
    assert {**found["coverage"], **moving} == {**api["coverage"], **moving}
    assert found["notes"] == api["notes"]
    assert service.json("GET", f"/answers/{found['id']}")["answer"] == api["answer"]
    assert text_of(result).startswith(f"{api['answer']}\n")
    assert "1 gap, from" in text_of(result)
    links = [one for one in result.content if one.type == "resource_link"]
    assert [link.uri for link in links] == [service.url + one["image"] for one in api["evidence"][:5]]
    pictures = [base64.b64decode(one.data) for one in result.content if one.type == "image"]
    assert pictures == [service.client.get(one["image"]).content for one in api["evidence"][:2]]


def test_search_cameras_timeline_and_frames(service: ServiceHere, mode: str) -> None:
    async def work(client: Client) -> Any:
        calls = {"search": {"text": "a red ring", "top": 3}, "cameras": {}, "timeline": {"camera": "front door"},
                 "frame": {"camera": "yard", "frame": 42, "picture": True}}  # fmt: skip
        return {tool: await client.call_tool(tool, given) for tool, given in calls.items()}

    found = with_client(service.url, mode, work)
    api = service.json("POST", "/search", {"text": "a red ring", "top": 3})
    hits = [(hit["camera"], hit["frame"]) for hit in found["search"].structured_content["hits"]]
    assert hits == [(hit["camera"], hit["frame"]) for hit in api["hits"]]
    cameras = found["cameras"].structured_content["cameras"]
    assert [(one["camera"], one["frames"], one["state"]) for one in cameras] == [
        ("front-door", FRAMES - len(GAP), "not recorded"), ("yard", 70, "not recorded"),
    ]  # fmt: skip
    assert "Europe/Berlin" in text_of(found["cameras"])
    assert [one["frames"] for one in found["timeline"].structured_content["coverage"]] == [60, 60]
    assert "jump" in text_of(found["timeline"])
    frame = found["frame"]
    assert frame.structured_content["time"] == START + 42
    picture = base64.b64decode(frame.content[1].data)
    assert picture == service.client.get(frame.structured_content["image"]).content


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("ask", {"question": QUESTION, "camera": "yard"}, "camera: unknown argument; did you mean 'cameras'?"),
        ("ask", {}, "question: is missing"),
        ("ask", {"question": " "}, "the question is empty"),
        ("ask", {"question": QUESTION, "cameras": ["nowhere"]}, "no camera 'nowhere'"),
        ("ask", {"question": QUESTION, "cameras": "yard"}, "cameras: must be a list"),
        ("ask", {"question": QUESTION, "start": "teatime"}, "'teatime' is not a time"),
        ("ask", {"question": QUESTION, "start": 1, "last": "2h"}, "give one of them"),
        ("ask", {"question": QUESTION, "at": START - 100}, "yard"),
        ("ask", {"question": QUESTION, "follows": "nothing"}, "no saved answer 'nothing'"),
        ("search", {"text": "x", "top": 10_000}, "top: must be at most 50"),
        ("timeline", {"camera": "yard", "start": "now", "end": START}, "ends before it begins"),
        ("frame", {"camera": "yard", "at": "now", "frame": 3}, "give one of them"),
        ("frame", {"camera": "yard", "frame": 12345}, "has no frame 12345"),
        ("answer_status", {"handle": "guess"}, "no answer has this handle"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(service: ServiceHere, tool: str, given: Any, said: str) -> None:
    response = post(service, tool, given)
    assert response.status_code == 200
    result = response.json()["result"]
    assert result["isError"]
    assert said in result["content"][0]["text"]
    assert result["structuredContent"]["error"]["message"] == result["content"][0]["text"]
    assert str(service.memory) not in response.text


def test_an_unknown_tool_is_an_error_of_the_protocol_that_names_the_tools(service: ServiceHere, mode: str) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(MCPError, match="unknown tool 'forget'; the tools: ask, search"):
            await client.call_tool("forget", {})

    with_client(service.url, mode, work)


def test_a_late_answer_has_a_handle(waiting: ServiceHere, held: HeldModel, mode: str) -> None:
    async def work(client: Client) -> Any:
        first = await client.call_tool("ask", {"question": QUESTION, "pictures": 1})
        handle = {"handle": first.structured_content["handle"]}
        again = await client.call_tool("answer_status", handle)
        held.go.set()
        answers = [await client.call_tool("answer_status", handle) for _ in range(20)]
        return first, again, answers[-1]

    first, again, last = with_client(waiting.url, mode, work)
    assert first.structured_content["status"] == again.structured_content["status"] == "waiting"
    assert "answer_status" in text_of(first)
    api = waiting.json("POST", "/ask", {"question": QUESTION})
    assert last.structured_content["answer"] == api["answer"]
    assert [one["frame"] for one in last.structured_content["evidence"]] == [one["frame"] for one in api["evidence"]]
    assert [one.type for one in last.content][:2] == ["text", "image"]
    assert held.asked == 2, "the handle asked again"
    waiting.json("DELETE", f"/answers/{last.structured_content['id']}", status=204)


def test_an_answer_that_was_deleted_is_not_given_by_its_handle(waiting: ServiceHere, held: HeldModel) -> None:
    handle = post(waiting, "ask", {"question": QUESTION}).json()["result"]["structuredContent"]["handle"]
    held.go.set()

    def answered() -> Any:
        found = post(waiting, "answer_status", {"handle": handle}).json()["result"]
        return found if found["structuredContent"].get("status") == "answered" else None

    assert wait_until(lambda: answered() is not None, 20)
    waiting.json("DELETE", f"/answers/{answered()['structuredContent']['id']}", status=204)
    gone = post(waiting, "answer_status", {"handle": handle}).json()["result"]
    assert gone["isError"]
    assert "no saved answer" in gone["content"][0]["text"]


def test_a_cancelled_call_ends_the_generation(tiny: Any, tmp_path: Path, held: HeldModel, mode: str) -> None:
    record_camera(tmp_path, "yard", tiny, 3)

    async def work(client: Client) -> None:
        asking = asyncio.ensure_future(client.call_tool("ask", {"question": QUESTION}))
        while not held.asked:
            await asyncio.sleep(0.01)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        for _ in range(500):
            if held.cancelled:
                break
            await asyncio.sleep(0.01)
        assert held.cancelled == 1, "while the client is still there"
        assert not (await client.call_tool("cameras", {})).is_error

    with ServiceHere(tmp_path, tiny) as service:
        with_client(service.url, mode, work)
        assert service.in_loop(_tasks_named_ask) == 0


async def _tasks_named_ask(engine: Any) -> int:
    await asyncio.sleep(0.05)
    return sum("Tools._answer" in str(task.get_coro()) for task in asyncio.all_tasks())


def test_a_client_that_leaves_ends_the_generation(waiting: ServiceHere, held: HeldModel) -> None:
    with httpx2.Client(base_url=waiting.url, trust_env=False, timeout=0.1) as client:
        legacy = {"Accept": MODERN["Accept"], "Content-Type": "application/json"}
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "ask", "arguments": {"question": QUESTION}},
        }
        with contextlib.suppress(httpx2.TimeoutException):
            client.post("/mcp", json=body, headers=legacy)
    assert wait_until(lambda: held.cancelled == held.asked, 10)


def test_the_guard_stands_before_it(tiny: Any, tmp_path: Path, mode: str) -> None:
    record_camera(tmp_path / "memory", "yard", tiny, 3)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with ServiceHere(tmp_path / "memory", tiny, http={"token_file": str(token)}, wait=False) as service:
        refused = post(service, "cameras", {})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        with pytest.raises(BaseException):  # noqa: B017, PT011 - the SDK's own, in a group
            call(service.url, mode, "cameras", {})
        assert not call(service.url, mode, "cameras", {}, token=TOKEN).is_error
        known = {"Authorization": f"Bearer {TOKEN}"}
        assert post(service, "cameras", {}, **known, Host="evil.example").status_code == 421
        assert post(service, "cameras", {}, **known, Origin="http://evil.example").status_code == 403
        assert service.client.post("/mcp", content=b"x" * (2 << 20), headers=known).status_code == 413


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_other_methods_are_refused(service: ServiceHere, method: str, path: str) -> None:
    response = service.client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25", "1999-01-01", None])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"jsonrpc":"2.0"}', b'{"a":' * 50_000,
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}', b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}',
        b'{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{"name":"ask","arguments":{}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5,"arguments":[]}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}',
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused_without_a_failure(service: ServiceHere, body: bytes, version: str | None) -> None:
    headers = {**MODERN, "Mcp-Session-Id": "x"}
    del headers["MCP-Protocol-Version"]
    if version is not None:
        headers["MCP-Protocol-Version"] = version
    response = service.client.post("/mcp", content=body, headers=headers)
    assert response.status_code < 500
    assert "Traceback" not in response.text
    assert len(response.content) < 20_000


def test_a_memory_that_does_not_answer_is_said_in_time(service: ServiceHere, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(looking, "pictures_of", lambda *given: go.wait(20))
    monkeypatch.setattr(tools, "_PICTURES_WITHIN_S", 0.05)
    result = post(service, "frame", {"camera": "yard", "picture": True}).json()["result"]
    go.set()
    assert not result["isError"]
    assert "the pictures did not come in time" in result["content"][0]["text"]
    monkeypatch.setattr(looking, "camera_list", lambda *given: time.sleep(0.3))
    monkeypatch.setattr(tools, "_GRACE_S", 0.05 - tools.PATIENCE_S)
    result = post(service, "cameras", {}).json()["result"]
    assert result["isError"]
    assert "cameras: the memory did not answer within" in result["content"][0]["text"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["yard", "now", "front door"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted({name for form in FORMS.values() for name in form.model_fields})) | st.text(max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tool=st.sampled_from(list(FORMS)), arguments=st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_arguments_are_answered_within_bounds(service: ServiceHere, tool: str, arguments: dict[str, Any]) -> None:
    response = post(service, tool, arguments)
    assert response.status_code == 200, response.text
    result = response.json()["result"]
    assert len(response.content) < 1 << 20
    assert "Traceback" not in response.text
    assert result["structuredContent"].get("error", {}).get("kind") != "unexpected"
    assert bool(result.get("isError")) == ("error" in result["structuredContent"])
    assert response.text.encode()  # no half of a surrogate pair


def test_the_service_ends_while_a_call_waits(tiny: Any, tmp_path: Path, held: HeldModel, mode: str) -> None:
    record_camera(tmp_path, "yard", tiny, 3)
    with ServiceHere(tmp_path, tiny) as service:

        async def work(client: Client) -> Any:
            asking = asyncio.ensure_future(client.call_tool("ask", {"question": QUESTION}))
            while not held.asked:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(service.stop, 10)
            with contextlib.suppress(MCPError):
                result = await asking
                assert result.is_error
                assert "ending" in text_of(result)

        with_client(service.url, mode, work)


@pytest.mark.parametrize("name", ["none", "str", "int"])
def test_an_unknown_argument_may_be_called_like_a_type(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: unknown argument"):
        check("cameras", {name: 1})
