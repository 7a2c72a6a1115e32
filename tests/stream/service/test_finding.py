"""A service whose model only finds frames: every door says so, and what answers a question does."""

import base64
from pathlib import Path
from typing import Any

import pytest

from afterview.stream.service.mqtt.payloads import last_answer
from tests.stream.service.mcp.conftest import call, text_of
from tests.support.memory_world import START
from tests.support.model_server import model_server
from tests.support.openai_client import client_of, user
from tests.support.pictured import gray_jpeg, record_pictured
from tests.support.service import ServiceHere, sent_events
from tests.support.siglip2 import write_search_preset

QUESTION = "Is a cat on the sofa?"
SAYS = "This model finds frames and does not answer; answers come from --answer-with URL or a bigger model"


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from afterview.model.checkpoint.for_questions import load_for_questions

    return load_for_questions(write_search_preset(tmp_path_factory.mktemp("search")), device="cpu")


@pytest.fixture(scope="module")
def recorded(finding: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = tmp_path_factory.mktemp("memory")
    record_pictured(memory, "door", 12, finding.encoders.feature_spec)
    return memory


def test_every_door_says_that_frames_are_no_answer(finding: Any, recorded: Path) -> None:
    with ServiceHere(recorded, finding) as service:
        assert service.json("GET", "/service")["model"]["state"] == "ready"
        document = service.json("POST", "/ask", {"question": QUESTION, "evidence": 3})
        with service.client.stream("POST", "/api/v1/ask", json={"question": QUESTION, "stream": True}) as response:
            events = list(sent_events(response.iter_lines()))
        by_openai = client_of(service).chat.completions.create(model="afterview", messages=[user(QUESTION)]).to_dict()
        by_mcp = call(service.url, "auto", "ask", {"question": QUESTION})
        saved = service.json("GET", f"/answers/{document['id']}")
        assert len(service.json("POST", "/search", {"text": "a cat", "top": 5})["hits"]) == 5
        assert service.json("GET", "/cameras/door/timeline")["frames"] == 12
        nothing = service.json("POST", "/ask", {"question": QUESTION, "at": START - 9}, status=404)
    assert "nothing was recorded before" in nothing["error"]["message"]
    assert "".join(data["text"] for kind, data in events if kind == "text") == events[-1][1]["answer"]
    assert SAYS in by_openai["choices"][0]["message"]["content"]
    assert by_mcp.structured_content is not None
    for part in (SAYS, "Verdict (door): unverified", "the frames that the index finds most similar", "score 0."):
        assert part in text_of(by_mcp)
    by_mqtt = last_answer(document)
    assert "--answer-with URL" in by_mqtt["notes"][0]
    for found in (document, events[-1][1], by_openai["afterview"], by_mcp.structured_content, saved, by_mqtt):
        assert (found["finds_only"], found["evidence_kind"]) == (True, "index")
        assert found["evidence"]
    assert SAYS in document["answer"]
    assert len(document["evidence"]) == 3


@pytest.mark.parametrize("questions", ["all", "declined"])
def test_a_model_server_answers_all_questions(finding: Any, recorded: Path, questions: str) -> None:
    with model_server() as server:
        own = {"url": server.url, "frames": 4, "questions": questions}
        with ServiceHere(recorded, finding, answer_with=own) as service:
            found = service.json("POST", "/ask", {"question": QUESTION})
        assert len(server.chats) == 1
    assert (found["finds_only"], found["evidence_kind"]) == (False, "index")
    assert found["provenance"]["verdict"]["verdict"] == "confirmed"


def test_a_picture_that_comes_with_the_question_is_searched_too(finding: Any, recorded: Path) -> None:
    picture = f"data:image/jpeg;base64,{base64.b64encode(gray_jpeg(90)).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "Describe the picture"}]
    with ServiceHere(recorded, finding) as service:
        client = client_of(service)
        answer = client.chat.completions.create(
            model="afterview", messages=[{"role": "user", "content": parts}], temperature=0.5
        ).to_dict()
    assert answer["choices"][0]["message"]["content"].startswith("Best frames: ")
    assert SAYS in answer["choices"][0]["message"]["content"]
    assert answer["afterview"]["finds_only"]
    assert "temperature not used: no text is generated" in answer["afterview"]["notice"]
    assert answer["usage"]["total_tokens"] == 0
