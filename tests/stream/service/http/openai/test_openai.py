"""The door for clients of OpenAI, with the official client: models, conversations, streams, errors, and the shapes of other programs."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from afterview.stream.service.people.access import Access
from afterview.stream.service.people.users import User, change_users, new_token
from tests.support.memory_world import START
from tests.support.openai_client import client_of, user, video
from tests.support.servers import wait_until
from tests.support.service import ServiceHere, record_camera
from tests.support.slow_model import SlowModel
from tests.support.slow_session import answer_with

FRAMES = 60
QUESTION = "Did you see a red ring?"
DECLINED = "This model knows only a synthetic world"


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "front door", tiny, FRAMES)
    record_camera(memory, "yard", tiny, FRAMES)
    with ServiceHere(memory, tiny) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: ServiceHere) -> openai.OpenAI:
    return client_of(service)


def ask(client: openai.OpenAI, *messages: Any, model: str = "afterview", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=list(messages), **more)


def without_what_varies(document: Any) -> Any:
    """An answer's document without what differs from one to the next."""
    if isinstance(document, dict):
        varying = ("id", "timing", "lag_s", "asked", "asked_iso", "warnings", "end", "seconds")
        return {key: without_what_varies(value) for key, value in document.items() if key not in varying}
    return [without_what_varies(one) for one in document] if isinstance(document, list) else document


def test_models_have_names(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list().data] == ["afterview", "afterview:links", "tiny", "tiny:links"]
    assert client.models.retrieve("tiny:links").owned_by == "afterview"
    with pytest.raises(openai.NotFoundError) as found:
        client.models.retrieve("gpt-4o")
    assert (found.value.code, found.value.param) == ("model_not_found", "model")


def test_the_answer_is_that_of_the_api(service: ServiceHere, client: openai.OpenAI) -> None:
    own = service.json("POST", "/ask", {"question": QUESTION, "cameras": ["yard"], "at": START + 40})
    found = ask(client, user(QUESTION, video(f"afterview://camera/yard?to={START + 40}")))
    (choice,) = found.choices
    assert (choice.message.content, choice.finish_reason, choice.message.role) == (own["answer"], "stop", "assistant")
    added = found.to_dict()["afterview"]
    assert added["evidence"]
    for key in ("evidence", "coverage", "provenance", "cameras", "skipped", "notes", "declined"):
        assert without_what_varies(added[key]) == without_what_varies(own[key]), key
    assert service.json("GET", f"/answers/{added['id']}")["answer"] == own["answer"]
    tokens = own["cameras"][0]["tokens"]
    assert found.usage.prompt_tokens == tokens["prompt"] > 60
    assert found.usage.completion_tokens == tokens["answer"] == 1
    assert found.usage.total_tokens == tokens["prompt"] + tokens["answer"]


def test_cameras_are_chosen_by_the_question_if_none_is_named(client: openai.OpenAI) -> None:
    found = ask(client, user(QUESTION))
    assert found.choices[0].message.content == "front-door: no\nyard: no"
    both = [part["coverage"] for part in found.afterview["cameras"]]
    assert [one["camera"] for one in both] == ["front-door", "yard"]
    spanned = ask(client, user(QUESTION, video(f"afterview://cameras?from={START + 50}")))
    assert [part["coverage"]["frames"] for part in spanned.afterview["cameras"]] == [10, 10]
    own = ask(
        client, user(QUESTION), extra_body={"afterview": {"cameras": ["yard"], "start": START + 55, "evidence": 2}}
    )
    assert own.afterview["coverage"]["frames"] == 5
    assert len(own.afterview["evidence"]) == 2


def test_a_stream_has_the_same_text_its_evidence_and_its_usage(client: openai.OpenAI) -> None:
    whole = ask(client, user(QUESTION))
    chunks = list(ask(client, user(QUESTION), stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    *_, ended, usage = chunks
    assert ended.choices[0].finish_reason == "stop"
    assert without_what_varies(ended.afterview["evidence"]) == without_what_varies(whole.afterview["evidence"])
    assert usage.usage == whole.usage
    assert not usage.choices
    assert len({chunk.id for chunk in chunks}) == 1
    plain = list(ask(client, user(QUESTION), stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in plain)


def test_a_stream_ends_with_done(service: ServiceHere) -> None:
    body = {"model": "tiny", "messages": [user(QUESTION)], "stream": True}
    with service.client.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk" for line in lines[:-1])


async def test_the_asynchronous_client(service: ServiceHere) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client:
        chunks = [
            chunk.choices[0].delta.content or ""
            async for chunk in await client.chat.completions.create(
                model="tiny",
                messages=[user(QUESTION)],
                stream=True,  # type: ignore[list-item]
            )
        ]
        whole = await client.chat.completions.create(model="tiny", messages=[user(QUESTION)])  # type: ignore[list-item]
    assert "".join(chunks) == whole.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["model", "option"])
def test_evidence_as_numbered_links(service: ServiceHere, client: openai.OpenAI, stream: bool, how: str) -> None:
    more = {"model": "tiny:links"} if how == "model" else {"extra_body": {"afterview": {"links": True, "evidence": 3}}}
    found = ask(client, user(QUESTION, video("afterview://camera/yard")), stream=stream, **more)
    text = (
        "".join(chunk.choices[0].delta.content or "" for chunk in found) if stream else found.choices[0].message.content
    )
    answer, _, links = text.partition("\n\n")
    assert answer == "no"
    lines = links.splitlines()
    assert len(lines) == (8 if how == "model" else 3)
    assert lines[0].startswith("1. [yard, 2023-11-14 23:14:")
    address = lines[0].partition("](")[2].rstrip(")")
    assert address.startswith(service.url)
    assert service.client.get(address).status_code == 200


def test_a_question_that_is_declined_is_answered_in_the_projects_words(client: openai.OpenAI) -> None:
    found = ask(client, user("How is the weather?"))
    assert found.choices[0].message.content.startswith(DECLINED)
    assert found.afterview["declined"] is True
    assert found.usage.total_tokens == 0
    streamed = ask(client, user("How is the weather?"), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed).startswith(DECLINED)


def test_a_follow_up_keeps_cameras_and_span(client: openai.OpenAI) -> None:
    first = user(QUESTION, video(f"afterview://camera/front%20door?from={START + 10}&to={START + 19}"))
    answer = ask(client, first)
    again = [first, {"role": "assistant", "content": answer.choices[0].message.content}]
    found = ask(client, *again, user("Which scene do you see now?"))
    assert found.afterview["coverage"]["camera"] == "front-door"
    assert found.afterview["coverage"]["frames"] == 10
    assert "the model is asked the last question alone" in " ".join(found.afterview["warnings"])
    moved = ask(client, *again, user("yard: Which scene do you see now?"))
    assert (moved.afterview["coverage"]["camera"], moved.afterview["coverage"]["frames"]) == ("yard", 10)
    other = ask(client, *again, user(QUESTION, video("afterview://camera/yard?last=100000h")))
    assert (other.afterview["coverage"]["camera"], other.afterview["coverage"]["frames"]) == ("yard", FRAMES)


def test_a_relative_time_means_the_same_moment_in_the_next_question(client: openai.OpenAI) -> None:
    first = user(QUESTION, video("afterview://camera/yard?from=20 days ago&to=now"))
    with pytest.raises(openai.NotFoundError) as nothing:
        ask(client, first)
    assert "nothing was recorded in that span" in nothing.value.message
    first = user(QUESTION, video("afterview://camera/yard?from=2000-01-01&to=now"))
    answer = ask(client, first)
    at = answer.afterview["coverage"]
    history = [first, {"role": "assistant", "content": [{"type": "text", "text": answer.choices[0].message.content}]}]
    known = ask(client, *history, user(QUESTION))
    assert known.afterview["coverage"]["lag_s"] == at["lag_s"], "as of the same moment"
    assert not any("not known any more" in one for one in known.afterview["warnings"])
    changed = ask(client, first, {"role": "assistant", "content": "something else"}, user(QUESTION))
    assert any("not known any more" in one for one in changed.afterview["warnings"])
    assert changed.afterview["coverage"]["lag_s"] > at["lag_s"]


def test_system_messages_name_cameras_and_are_ignored_otherwise(client: openai.OpenAI) -> None:
    system = {"role": "system", "content": f"You are a guard. Look at afterview://camera/yard?to={START + 20}, please."}
    found = ask(client, system, user(QUESTION))
    assert (found.afterview["coverage"]["camera"], found.afterview["coverage"]["frames"]) == ("yard", 21)
    assert any(one.startswith("system messages are ignored") for one in found.afterview["warnings"])
    late = ask(client, user(QUESTION), {**system, "role": "developer"})
    assert late.afterview["coverage"]["frames"] == 21


def test_how_the_answer_is_generated(client: openai.OpenAI) -> None:
    more = {"temperature": 0.7, "top_p": 0.9, "seed": 7, "max_tokens": 50, "stop": ["x", "y"]}
    found = ask(client, user(QUESTION, video("afterview://camera/yard")), **more)
    assert found.afterview["provenance"]["seed"] == 7
    decoding = found.afterview["provenance"]["decoding"]
    assert (decoding["temperature"], decoding["top_p"], decoding["max_new_tokens"]) == (0.7, 0.9, 50)
    assert decoding["stop"] == ["x", "y"]
    cut = ask(client, user(QUESTION, video("afterview://camera/yard")), max_completion_tokens=1, max_tokens=9)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage.completion_tokens == 1


REFUSED = [
    ({"n": 2}, "n"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}], "tool_choice": "required"}, "tool_choice"),
    ({"logprobs": True}, "logprobs"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 2}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"seed": -1}, "seed"),
    ({"stop": [""]}, "stop"),
    ({"stop": list("abcdefghijklmnopq")}, "stop"),
    ({"extra_body": {"afterview": {"link": True}}}, "afterview.link"),
    ({"extra_body": {"afterview": {"cameras": ["garage"]}}}, "messages.0"),
    ({"extra_body": {"afterview": {"start": "yesterdayy"}}}, "messages.0"),
    ({"stream_options": 3}, "stream_options"),
]


@pytest.mark.parametrize(
    ("more", "param"), REFUSED, ids=[f"{param} {index}" for index, (_, param) in enumerate(REFUSED)]
)
def test_what_is_refused_is_named(client: openai.OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as found:
        ask(client, user(QUESTION), **more)
    assert found.value.type == "invalid_request_error"
    assert found.value.param == param, found.value.message
    assert found.value.response.headers["x-should-retry"] == "false"


MESSAGES = [
    ([], "messages"),
    ([{"role": "assistant", "content": "hello"}], "messages"),
    ([user(QUESTION), {"role": "assistant", "content": "hello"}], "messages"),
    ([{"role": "system", "content": "hello"}], "messages"),
    ([user("  ")], "messages.0"),
    ([user(QUESTION), {"role": "user", "content": None}], "messages.1"),
    ([{"content": QUESTION}], "messages.0.role"),
    ([{"role": "user", "content": 7}], "messages.0.content"),
    ([{"role": "user", "content": [7]}], "messages.0.content.0"),
    ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages.0.content.0"),
    ([{"role": "user", "content": [{"type": {}, "x": 7}]}], "messages.0.content.0"),
    ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages.0.content.0"),
    ([user(QUESTION, {"type": "video_url"})], "messages.0.content.1.video_url"),
    ([user(QUESTION, {"type": "video_url", "video_url": {"url": ["x"]}})], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("gopher://x"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("afterview://camera/garage"))], "messages.0"),
    ([user(QUESTION, video("afterview://camera"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("afterview://[camera/x"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("afterview://camera/yard?until=now"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("afterview://camera/yard?last=1h&last=2h"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("afterview://camera/yard?from=inf"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("afterview://camera/yard?last=1h&from=1"))], "messages.0"),
    (
        [user(QUESTION, video("afterview://camera/yard?last=1h"), video("afterview://camera/yard?last=2h"))],
        "messages.0",
    ),
    ([user(QUESTION, video("afterview://camera/yard"), video("data:video/mp4;base64,AAAA"))], "messages.0"),
    ([user(QUESTION, video("afterview://camera/" + "x" * 2000))], "messages.0.content.1.video_url"),
    ([user("x" * 2001)], "messages.0"),
    ([user("\ud800?")], "messages.0.content"),
    ([user("\ud800?", video("afterview://camera/yard"))], "messages.0.content.0"),
    ([user(QUESTION, video("afterview://camera/\ud800"))], "messages.0.content.1.video_url"),
    ([user(QUESTION, video("file:///\ud800"))], "messages.0.content.1.video_url"),
    ([{"role": "system", "content": ["afterview://camera/\ud800"]}, user(QUESTION)], "messages.0"),
    ([{"role": "\ud800", "content": "x"}, user(QUESTION)], "messages.0.role"),
    ([user(*["x"] * 2001)], "messages"),
    ([user("hello")] * 1001, "messages"),
    ([user(QUESTION, video("data:video/mp4;base64,AAAA", uuid="x" * 201))], "messages.0.content.1.video_url"),
    ([user(QUESTION, *[video("data:video/mp4;base64,AAAA")] * 69)], "messages.0.content.69.video_url"),
]


@pytest.mark.parametrize(("messages", "param"), MESSAGES, ids=[str(index) for index in range(len(MESSAGES))])
def test_wrong_messages_are_named(service: ServiceHere, messages: list[Any], param: str | None) -> None:
    body = json.dumps({"model": "tiny", "messages": messages})
    found = service.client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert found.status_code in (400, 404), found.text
    error = found.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param), error
    assert error["message"]


def test_hostile_shapes_do_no_harm(service: ServiceHere) -> None:
    def post(body: str) -> Any:
        return service.client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})

    for depth in (900, 100_000):
        nested = "[" * depth + "]" * depth
        for content in (nested, f'[{{"type": "text", "text": "{QUESTION}"}}, {nested}]'):
            found = post(f'{{"model": "tiny", "messages": [{{"role": "user", "content": {content}}}]}}')
            assert found.status_code == 400, found.text[:300]
        earlier = f'{{"role": "assistant", "content": {nested}}}, {{"role": "user", "content": "{QUESTION}"}}'
        found = post(f'{{"model": "tiny", "messages": [{earlier}], "x": {nested}}}')
        assert found.status_code == (200 if depth == 900 else 400), found.text[:300]
    question = json.dumps([user(QUESTION)])
    for extra in ('"seed": 1e999', f'"seed": {"9" * 5000}', '"temperature": NaN', '"max_tokens": 1.5'):
        assert post(f'{{"model": "tiny", "messages": {question}, {extra}}}').status_code == 400, extra
    odd = post(f'{{"model": "tiny", "stream": true, "messages": {question}, "\\u0007\\n": 1, "{"k" * 9999}": 2}}')
    assert (odd.status_code, odd.text.rstrip().endswith("data: [DONE]")) == (200, True)
    assert len(odd.text) < 40_000
    assert post(f'{{"model": "tiny", "messages": {question}, "\\ud800": 1}}').status_code == 400


def test_errors_have_openais_shape_everywhere(service: ServiceHere) -> None:
    for method, path, status, code in (
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
    ):
        found = service.client.request(method, path)
        assert found.status_code == status
        assert found.json()["error"]["code"] == code
        assert set(found.json()["error"]) == {"message", "type", "param", "code"}
    head = service.client.head("/v1/nothing")
    assert (head.status_code, head.content) == (404, b"")
    evil = service.client.get("/v1/models", headers={"Host": "evil.example"})
    assert (evil.status_code, evil.json()["error"]["code"]) == (421, "host_refused")
    broken = service.client.post("/v1/chat/completions", content="{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["message"]) == (400, "body: not JSON, at character 1")
    assert "kind" in service.client.get("/api/v1/nothing").json()["error"], "other routes keep their shape"


def test_what_changes_nothing_is_said(client: openai.OpenAI) -> None:
    """Frigate's chat and Home Assistant's agents send tools and settings that this model does not have."""
    tool = {"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}
    found = ask(
        client, user(QUESTION), tools=[tool], tool_choice="auto", user="01JH", frequency_penalty=0, presence_penalty=0.5,
        extra_body={"require_parameters": True}, extra_headers={"X-Title": "Home Assistant"}, parallel_tool_calls=False,
    )  # fmt: skip
    assert found.choices[0].message.content
    assert found.choices[0].message.tool_calls is None
    assert found.afterview["warnings"] == [
        "the tools are ignored: the model calls none",
        "ignored, because nothing here depends on it: presence_penalty, require_parameters, user",
    ]
    assert (
        ask(client, user(QUESTION), n=1, frequency_penalty=0, response_format={"type": "text"}).afterview["warnings"]
        == []
    )


def test_home_assistants_conversation(client: openai.OpenAI) -> None:
    """Its agents send a system prompt with the time, which differs from turn to turn, and the results of tools."""
    system = "Current time is 10:00:0{}. You are a voice assistant. The cameras: afterview://camera/yard"
    first = ask(client, {"role": "system", "content": system.format(1)}, user(QUESTION))
    call = {"id": "1", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    history = [
        user(QUESTION),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "{}"},
        {"role": "assistant", "content": first.choices[0].message.content},
    ]  # fmt: skip
    found = ask(client, {"role": "system", "content": system.format(2)}, *history, user("Which scene do you see now?"))
    assert found.afterview["coverage"]["camera"] == "yard"
    assert "messages of the role 'tool' are ignored" in found.afterview["warnings"]


def test_responses(service: ServiceHere, client: openai.OpenAI) -> None:
    whole = client.responses.create(model="afterview", input=QUESTION, instructions="Look at afterview://camera/yard")
    assert (whole.status, whole.output_text) == ("completed", "no")
    assert whole.usage is not None
    assert whole.usage.input_tokens > 60
    assert whole.to_dict()["afterview"]["coverage"]["camera"] == "yard"
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
        {"type": "function_call", "call_id": "1", "name": "x", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "no"}]},
        {"role": "user", "content": [{"type": "input_text", "text": QUESTION}, {"type": "input_image", "image_url": "afterview://camera/yard"}]},
    ]  # fmt: skip
    with client.responses.stream(model="tiny:links", input=items, max_output_tokens=1) as stream:  # type: ignore[arg-type]
        kinds = [event.type for event in stream]
        final = stream.get_final_response() if "response.completed" in kinds else None
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-1] == "response.incomplete"
    assert final is None
    assert kinds.count("response.output_text.delta") == 2
    for body, param in (
        ({"input": []}, "input"),
        ({"input": [7]}, "input.0"),
        ({"input": QUESTION, "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": QUESTION, "text": {"format": {"type": "json_object"}}}, "text"),
        ({"input": QUESTION, "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input.0.content.0"),
    ):
        found = service.client.post("/v1/responses", json={"model": "tiny", **body})
        assert (found.status_code, found.json()["error"]["param"]) == (400, param), found.text


def test_switched_off_there_is_nothing(tiny: Any, tmp_path: Path) -> None:
    record_camera(tmp_path, "yard", tiny, 3)
    with ServiceHere(tmp_path, tiny, openai={"enabled": False}) as service:
        assert service.client.get("/v1/models").status_code == 404
        assert not any(path.startswith("/v1") for path in service.json("GET", "/openapi.json")["paths"])
        assert service.client.post("/v1/chat/completions", content=b"x" * (2 << 20)).status_code == 413


def test_without_a_model_or_a_camera(tiny: Any, tmp_path: Path) -> None:
    from afterview.model.base.errors import CheckpointError

    def load(name: str, index: str | None) -> Any:
        raise CheckpointError("its weights are missing")

    with ServiceHere(tmp_path, load) as service:
        client = client_of(service)
        assert [model.id for model in client.models.list().data] == ["afterview", "afterview:links"]
        with pytest.raises(openai.InternalServerError) as found:
            ask(client, user(QUESTION))
        assert found.value.status_code == 503
        assert found.value.response.headers["retry-after"] == "5"
    with ServiceHere(tmp_path, tiny) as service, pytest.raises(openai.NotFoundError) as nothing:
        ask(client_of(service), user(QUESTION))
    assert nothing.value.code == "memory_not_found"
    assert str(tmp_path) not in nothing.value.message


# --- the model replaced by one that answers when it is told to ---


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowModel:
    return SlowModel.instead_of_the_model(monkeypatch)


@pytest.fixture
def waiting(tiny: Any, tmp_path: Path, slow: SlowModel) -> Iterator[ServiceHere]:
    record_camera(tmp_path, "yard", tiny, 3)
    with ServiceHere(tmp_path, tiny, http={"longest_queue": 1}) as running:
        yield running


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_its_generation(waiting: ServiceHere, slow: SlowModel, stream: bool) -> None:
    client = client_of(waiting).with_options(timeout=0.4)
    if stream:
        with ask(client, user(QUESTION), stream=True) as chunks:
            next(chunks)
    else:
        with pytest.raises(openai.APITimeoutError):
            ask(client, user(QUESTION))
    assert wait_until(lambda: slow.cancelled == 1, 5)
    assert waiting.json("GET", "/service")["questions"]["waiting"] == 0


def ask_in_vain(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError):
        ask(client, user(QUESTION))


def test_a_full_queue_is_429(waiting: ServiceHere, slow: SlowModel) -> None:
    client = client_of(waiting)
    with ask(client, user(QUESTION), stream=True) as first:
        next(first)
        impatient = client.with_options(timeout=0.2)
        second = threading.Thread(target=ask_in_vain, args=(client,))
        second.start()
        assert wait_until(lambda: waiting.json("GET", "/service")["questions"]["waiting"] == 1, 5)
        with pytest.raises(openai.RateLimitError) as found:
            ask(impatient.with_options(timeout=5), user(QUESTION))
        assert (found.value.type, found.value.code) == ("rate_limit_error", "too_many_questions")
        assert int(found.value.response.headers["retry-after"]) >= 1
        assert "x-should-retry" not in found.value.response.headers
        slow.go.set()
        with pytest.raises(openai.APIError, match="told to"):
            list(first)
    second.join(10)


@pytest.mark.parametrize("texts", [["", ""], ["  "]], ids=["two cameras", "one camera"])
@pytest.mark.parametrize("stream", [True, False])
def test_never_200_with_an_empty_answer(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool, texts: list[str]
) -> None:
    for name in ("a", "b")[: len(texts)]:
        record_camera(tmp_path, name, tiny, 3)
    answer_with(monkeypatch, dict(zip("ab", texts, strict=False)))
    with ServiceHere(tmp_path, tiny) as service, pytest.raises(openai.InternalServerError) as found:
        ask(client_of(service), user(QUESTION), stream=stream)
    assert (found.value.status_code, found.value.code, found.value.type) == (500, "no_text", "server_error")
    assert found.value.response.headers["x-should-retry"] == "false"


# --- rights ---


def test_a_viewer_of_one_camera_learns_of_no_other(tiny: Any, tmp_path: Path) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    record_camera(tmp_path, "vault", tiny, 5)
    ada, (ada_token, ada_key) = User("ada", "admin", "x", None, 0.0), new_token("a", "ada", days=None)
    bob, (bob_token, bob_key) = User("bob", "viewer", "x", ("yard",), 0.0), new_token("b", "bob", days=None)
    change_users(
        tmp_path, lambda users: users.with_user(ada).with_user(bob).with_token(ada_token).with_token(bob_token)
    )
    with ServiceHere(tmp_path, tiny, wait=False) as service:
        admin, viewer = client_of(service, ada_key), client_of(service, bob_key)
        assert wait_until(lambda: len(admin.models.list().data) == 4, 20)
        with pytest.raises(openai.AuthenticationError) as stranger:
            ask(client_of(service, "sk-unknown"), user(QUESTION))
        assert (stranger.value.type, stranger.value.code) == ("authentication_error", "invalid_api_key")
        assert "vault" in ask(admin, user(QUESTION)).choices[0].message.content
        found = ask(viewer, user(QUESTION))
        assert "vault" not in json.dumps(found.to_dict())
        said = []
        for name in ("vault", "nowhere"):
            with pytest.raises(openai.NotFoundError) as refused:
                ask(viewer, user(QUESTION, video(f"afterview://camera/{name}")))
            said.append(refused.value.message.replace(name, "X"))
        assert said[0] == said[1]
        prefixed = ask(viewer, user(f"vault: {QUESTION}"))
        assert "vault" not in prefixed.choices[0].message.content
        answer = ask(admin, user(QUESTION, video("afterview://camera/vault")))
        history = [
            user(QUESTION, video("afterview://camera/yard")),
            {"role": "assistant", "content": answer.choices[0].message.content},
        ]
        assert "vault" not in json.dumps(ask(viewer, *history, user(QUESTION)).to_dict())
        assert Access("bob").door == "http"


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_a_revoked_token_ends_an_open_stream_with_an_error_that_the_client_knows(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    SlowModel.instead_of_the_model(monkeypatch)
    record_camera(tmp_path, "yard", tiny, 3)
    token, secret = new_token("tab", "ann", days=1)
    ann = User("ann", "admin", "never signs in", None, 1.0)
    change_users(tmp_path, lambda users: users.with_user(ann).with_token(token))
    header = {"Authorization": f"Bearer {secret}"}
    with ServiceHere(tmp_path, tiny, wait=False) as service:
        ready = service.client.build_request("GET", "/health/ready", headers=header)
        assert wait_until(lambda: service.client.send(ready).json()["model"]["state"] == "ready", 20)
        client = client_of(service, secret)
        if path == "responses":
            stream: Any = client.responses.create(model="afterview", input=QUESTION, stream=True)
        else:
            stream = ask(client, user(QUESTION), stream=True)
        assert next(iter(stream)) is not None
        began = time.monotonic()
        change_users(tmp_path, lambda users: users.without_token("tab"))
        if path == "responses":  # here an error is an event
            last = list(stream)[-1]
            found = last.type == "error" and (last.code, last.message)
        else:
            with pytest.raises(openai.APIError) as raised:
                list(stream)
            found = raised.value.code, raised.value.message
        assert time.monotonic() - began < 1.0
        assert found[0] == "invalid_api_key"
        assert "your token was revoked" in found[1]
