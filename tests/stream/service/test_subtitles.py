"""Subtitles that come with a question: every door takes their text, bounded; none reads a file of this machine, and answers count them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.stream.ask.subtitles import LONGEST_SENT
from afterview.stream.service.mqtt.payloads import read_question
from tests.stream.service.mcp.conftest import call, text_of
from tests.support.clips import make_clip
from tests.support.memory_world import START
from tests.support.model_server import model_server
from tests.support.openai_client import client_of, data_url, user, video
from tests.support.pictured import record_pictured
from tests.support.service import ServiceHere, record_camera

QUESTION = "Which scene do you see now?"
LINES = 30  # one a second


def srt(lines: int = LINES) -> str:
    return "\n".join(
        f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\nword{n} is said\n" for n in range(lines)
    )  # fmt: skip


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "door", tiny, LINES)
    record_camera(memory, "yard", tiny, 5)
    with ServiceHere(memory, tiny) as running:
        yield running


def counts(**more: int) -> dict[str, Any]:
    return {
        "used": 10, "until": START + 9, "until_iso": "2023-11-14T23:13:29.000+01:00", "later": 20, "earlier": 0, "over_limit": 0,
        "empty": 0, "unreadable": 0, **more,
    }  # fmt: skip


def test_an_answer_counts_the_lines_up_to_the_moment_asked(service: ServiceHere) -> None:
    body = {"question": QUESTION, "cameras": ["door"], "at": START + 9, "subtitles": srt() + "\n9\nx --> y\nlost\n"}
    answer = service.json("POST", "/ask", body)
    assert answer["provenance"]["subtitles"] == counts(unreadable=1)
    assert answer["options"]["subtitles"] == LINES
    again = service.json("GET", f"/answers/{answer['id']}")
    assert again["provenance"]["subtitles"] == counts(unreadable=1)
    assert "word1" not in json.dumps([answer, again]), "their text is not saved"
    last = service.json("POST", "/ask", {**body, "last": "3s", "follows": answer["id"]})["provenance"]["subtitles"]
    assert (last["used"], last["earlier"], last["later"]) == (4, 6, 20)
    assert (
        "subtitles" not in service.json("POST", "/ask", {"question": QUESTION, "follows": answer["id"]})["provenance"]
    )


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ("/etc/passwd", 400, "subtitles: holds no subtitles; .srt, .vtt and the JSON of LongVideoBench are read"),
        ("file:///etc/passwd", 400, "subtitles: holds no subtitles"),
        ("x" * (LONGEST_SENT + 1), 422, "body.subtitles: must have at most 500000 characters"),
        ("[" * 99_999, 400, "subtitles: cannot be read"),
        ("{}", 400, "subtitles: is no list of subtitles"),
        ("", 422, "body.subtitles"),
        (5, 422, "body.subtitles: must be text"),
        ([{"start": 1, "end": 2, "line": "x"}], 422, "body.subtitles: must be text"),
        ("\ud800", 422, "body.subtitles: holds half of a surrogate pair"),
        ("é" * 200_000, 413, "a request has at most"),
    ],
)
def test_what_is_no_text_of_subtitles_is_refused(service: ServiceHere, given: Any, status: int, said: str) -> None:
    body = {"question": QUESTION, "cameras": ["door"], "subtitles": given}
    sent = service.client.post(
        "/api/v1/ask", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    assert sent.status_code == status, sent.text
    assert said in sent.json()["error"]["message"]
    assert "passwd" not in sent.text


def test_they_belong_to_one_camera(service: ServiceHere) -> None:
    for cameras in ([], ["door", "yard"]):
        refused = service.json(
            "POST", "/ask", {"question": QUESTION, "cameras": cameras, "subtitles": srt()}, status=400
        )
        assert refused["error"]["message"] == (
            "cameras: subtitles belong to one recording, and 2 are asked; name one camera"
        )


def test_clients_of_openai_send_them_beside_the_messages(service: ServiceHere, tmp_path: Path) -> None:
    client: Any = client_of(service)

    def ask(*content: Any, **options: Any) -> Any:
        return client.chat.completions.create(
            model="afterview", messages=[user(*content)], extra_body={"afterview": options}
        ).to_dict()["afterview"]

    found = ask(QUESTION, cameras=["door"], at=START + 9, subtitles=srt())
    assert found["provenance"]["subtitles"] == counts()
    clip = data_url(make_clip(tmp_path / "clip.mp4", frames=16, rate=2).read_bytes())
    heard = ask(QUESTION, video(clip), subtitles=srt())["provenance"]["subtitles"]
    assert (heard["used"], heard["until"], heard["later"]) == (8, 7.0, 22)
    with pytest.raises(openai.BadRequestError, match="subtitles: holds no subtitles"):
        ask(QUESTION, cameras=["door"], subtitles="/etc/passwd")


def test_assistants_send_them_and_are_told_what_was_read(service: ServiceHere) -> None:
    said = call(
        service.url,
        "auto",
        "ask",
        {"question": QUESTION, "cameras": ["door"], "at": str(START + 9), "subtitles": srt()},
    )
    assert said.structured_content is not None
    assert said.structured_content["cameras"][0]["subtitles"] == counts()
    assert "- subtitles: 10 lines read, up to 2023-11-14T23:13:29.000+01:00; not read: 20 later" in text_of(said)
    refused = call(service.url, "auto", "ask", {"question": QUESTION, "subtitles": "x" * 100_001})
    assert "ask: subtitles: must have 1 to 100000 characters, has 100001" in text_of(refused)


def test_a_message_of_mqtt_has_them_too() -> None:
    asked = read_question(json.dumps({"question": QUESTION, "cameras": ["door"], "subtitles": srt(5)}).encode())
    assert asked.ask.subtitles == srt(5)
    with pytest.raises(UsageError, match="the message has more than 32768 bytes"):
        read_question(json.dumps({"question": QUESTION, "subtitles": "x" * 33_000}).encode())


def test_the_command_lets_the_service_read_them(
    service: ServiceHere, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.srt"
    file.write_text(srt())
    ask = ["ask", QUESTION, "--memory", str(service.memory), "--subtitles", str(file)]
    assert main([*ask, "--camera", "door", "--at", f"@{START + 9:.0f}"]) == 0
    assert (
        "    subtitles: 10 lines read, up to 2023-11-14 23:13:29 CET; not read: 20 later\n" in capsys.readouterr().out
    )
    assert main([*ask, "--camera", "door", "--at", f"@{START + 9:.0f}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["subtitles"] == counts()
    assert main(ask) == 2
    assert "subtitles belong to one recording, and 2 are asked; name one camera" in capsys.readouterr().err


def test_a_model_server_of_the_users_own_reads_them(tiny: Any, tmp_path: Path) -> None:
    record_pictured(tmp_path, "door", 12, tiny.encoders.feature_spec)
    with (
        model_server() as server,
        ServiceHere(tmp_path, tiny, answer_with={"url": server.url, "frames": 2}) as service,
    ):
        body = {"question": "Is a cat on the sofa?", "at": START + 5, "subtitles": srt()}
        answer = service.json("POST", "/ask", body)
        text = server.chats[0].question
        rules = server.chats[0].body["messages"][0]["content"]
        service.json("POST", "/ask", {"question": "Is a cat on the sofa?"})
        plain = server.chats[1].body["messages"][0]["content"]
    assert "Words that were heard:\n" in text
    assert ": word5 is said\n" in text
    assert "word6" not in text
    assert ("use them beside the frames" in rules, "use them beside the frames" in plain) == (True, False)
    assert (answer["provenance"]["subtitles"]["used"], answer["provenance"]["subtitles"]["later"]) == (6, 24)
