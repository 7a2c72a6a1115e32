"""The HTTP API as a client sees it: questions, searches, frames, timeline, jobs, events, health."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview.memory.span_file import SpanFile
from tests.support.memory_world import START, make_frame
from tests.support.service import API, ServiceHere, record_camera, sent_events

FRAMES, GAP = 150, range(60, 90)
QUESTION = "Did you see a red ring?"


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "front door", tiny, FRAMES, missing=GAP)
    record_camera(memory, "yard", tiny, 70)
    with ServiceHere(memory, tiny) as running:
        yield running


def test_an_answer_has_evidence_coverage_and_can_be_fetched_again(service: ServiceHere, tiny: Any) -> None:
    answer = service.json("POST", "/ask", {"question": QUESTION, "cameras": ["front door"]})
    assert answer["answer"] in ("yes", "no")
    assert answer["coverage"]["frames"] == FRAMES - len(GAP)
    assert len(answer["evidence"]) == 8
    assert answer["evidence"][0]["time_iso"].endswith("+01:00")
    first = answer["evidence"][0]
    number = round(first["time"] - START)
    picture = service.client.get(first["image"])
    assert picture.content == make_frame(number, tiny.encoders.feature_spec).image
    again = service.json("GET", f"/answers/{answer['id']}")
    assert again["answer"] == answer["answer"]
    assert again["evidence"] == answer["evidence"]
    assert answer["id"] in [one["id"] for one in service.json("GET", "/answers")["answers"]]
    service.json("DELETE", f"/answers/{answer['id']}", status=204)
    assert service.json("GET", f"/answers/{answer['id']}", status=404)["error"]["kind"] == "not_found"


def test_a_streamed_answer_comes_as_cameras_text_answer(service: ServiceHere) -> None:
    with service.client.stream("POST", f"{API}/ask", json={"question": QUESTION, "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = list(sent_events(response.iter_lines()))
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "cameras"
    assert kinds[-1] == "answer"
    assert set(kinds[1:-1]) == {"text"}
    assert events[0][1]["cameras"] == ["front-door", "yard"]
    whole = "".join(data["text"] for kind, data in events if kind == "text")
    assert "".join(whole.split()) == "".join(events[-1][1]["answer"].split())


def test_a_question_follows_another_one_about_the_same_span_and_cameras(service: ServiceHere) -> None:
    first = service.json(
        "POST", "/ask", {"question": QUESTION, "cameras": ["yard"], "start": START + 10, "at": START + 19}
    )
    assert first["coverage"]["frames"] == 10
    second = service.json("POST", "/ask", {"question": "Which scene do you see now?", "follows": first["id"]})
    assert second["coverage"]["camera"] == "yard"
    assert second["coverage"]["frames"] == 10
    other = service.json("POST", "/ask", {"question": QUESTION, "follows": first["id"], "cameras": ["front-door"]})
    assert other["coverage"]["camera"] == "front-door"
    assert other["coverage"]["frames"] == 10
    missing = service.json("POST", "/ask", {"question": QUESTION, "follows": "nothing"}, status=404)
    assert missing["error"]["kind"] == "not_found"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"question": " "}, 400, "usage"),
        ({}, 422, "invalid_request"),
        ({"question": QUESTION, "camera": "yard"}, 422, "invalid_request"),
        ({"question": QUESTION, "cameras": ["nowhere"]}, 404, "memory_not_found"),
        ({"question": QUESTION, "at": START - 100}, 404, "nothing_recorded"),
        ({"question": QUESTION, "start": "teatime"}, 400, "usage"),
        ({"question": QUESTION, "start": 1.0, "last": "2h"}, 400, "usage"),
        ({"question": QUESTION, "last": 0}, 400, "usage"),
        ({"question": QUESTION, "top_p": 3}, 422, "invalid_request"),
        ({"question": "\ud800"}, 422, "invalid_request"),
    ],
)
def test_wrong_questions_are_refused_in_one_shape(
    service: ServiceHere, body: dict[str, Any], status: int, kind: str
) -> None:
    sent = service.client.post(
        f"{API}/ask", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    assert sent.status_code == status, sent.text
    assert sent.json()["error"]["kind"] == kind
    assert set(sent.json()) == {"error"}
    assert str(service.memory) not in sent.text


def test_refusals_say_what_to_do_instead(service: ServiceHere) -> None:
    def said(method: str, path: str, **arguments: Any) -> str:
        return str(service.client.request(method, path, **arguments).json()["error"]["message"])

    question = json.dumps({"question": QUESTION, "cameras": "yard"})
    as_json = {"Content-Type": "application/json"}
    assert said("POST", f"{API}/ask", content=question).endswith("with the header Content-Type: application/json")
    assert said("POST", f"{API}/ask", content=question, headers=as_json) == "body.cameras: must be a list"
    assert said("POST", f"{API}/ask", content='{"question"', headers=as_json) == "body: not JSON, at character 11"
    assert said("GET", f"{API}/ask") == f"{API}/ask: GET is not possible here; use POST"
    assert said("GET", "/") == "/: there is nothing here; /api/v1/openapi.json lists all addresses"


def test_search_finds_frames_with_their_pictures(service: ServiceHere) -> None:
    found = service.json("POST", "/search", {"text": "a red ring", "top": 3, "last": "36500d"})
    assert len(found["hits"]) == 3
    assert found["exact"]
    assert service.client.get(found["hits"][0]["image"]).headers["content-type"] == "image/jpeg"
    again = service.json("GET", f"/answers/{found['id']}")
    assert [hit["frame"] for hit in again["hits"]] == [hit["frame"] for hit in found["hits"]]
    refused = service.json("POST", "/ask", {"question": QUESTION, "follows": found["id"]}, status=400)
    assert "is a search" in refused["error"]["message"]


def test_frames_by_number_by_time_and_of_a_span(service: ServiceHere) -> None:
    at = START + 42
    frame = service.json("GET", "/cameras/yard/frames/42")
    assert frame["time"] == at
    picture = service.client.get(frame["image"])
    assert service.client.get(f"{API}/cameras/yard/image", params={"at": str(at)}).content == picture.content
    known = {"If-None-Match": picture.headers["etag"]}
    assert service.client.get(frame["image"], headers=known).status_code == 304
    assert service.client.get(frame["image"], headers={"If-None-Match": '"other"'}).status_code == 200
    newest = service.client.get(f"{API}/cameras/front%20door/image")
    assert float(newest.headers["x-frame-time"]) == START + FRAMES - 1
    span = service.json("GET", f"/cameras/front-door/frames?start={START + 50}&end={START + 95}&count=3")
    assert [one["time"] - START for one in span["frames"]] == [50, 58, 95]
    assert "gap" in span["notes"][-1]
    assert service.json("GET", "/cameras/yard/frames/999", status=404)["error"]["kind"] == "not_found"


def test_the_timeline_has_coverage_and_gaps(service: ServiceHere) -> None:
    line = service.json("GET", "/cameras/front-door/timeline")
    assert [(span["start"] - START, span["end"] - START, span["frames"]) for span in line["coverage"]] == [
        (0, 59, 60),
        (90, 149, 60),
    ]
    assert (line["gaps"][0]["start"] - START, line["gaps"][0]["end"] - START) == (59, 90)
    assert line["gaps"][0]["reason"] == "jump"
    short = service.json("GET", f"/cameras/front-door/timeline?start={START + 95}&end={START + 99}")
    assert (short["frames"], short["gaps"]) == (5, [])


def test_events_tell_of_jobs_and_answers(service: ServiceHere) -> None:
    with service.client.stream("GET", f"{API}/events", headers={"Last-Event-ID": "0"}) as response:
        events = sent_events(response.iter_lines())
        kind, data = next(events)
        assert kind in ("model", "camera", "job", "answer")
        assert data["number"] >= 1
        service.json("POST", "/cameras/yard/keep?wait=5", {"clear": True}, status=202)
        with contextlib.suppress(StopIteration):
            while not (kind == "job" and data["job"]["kind"] == "keep" and data["job"]["state"] == "done"):
                kind, data = next(events)
    assert data["job"]["camera"] == "yard"


def test_health_and_metrics(service: ServiceHere) -> None:
    assert service.client.get("/health/live").json() == {"status": "live"}
    ready = service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert service.client.head("/health/ready").status_code == 200
    text = service.client.get("/metrics").text
    assert 'afterview_memory_bytes{camera="yard"}' in text
    assert f'afterview_memory_oldest_timestamp_seconds{{camera="yard"}} {START}' in text
    assert "afterview_model_ready 1" in text
    assert re.search(r"^afterview_tasks [1-9]", text, re.MULTILINE)
    assert "afterview_answer_duration_seconds_count" in text


def test_exports_at_once_do_not_disturb_each_other(tiny: Any, tmp_path: Path) -> None:
    record_camera(tmp_path, "yard", tiny, 6)
    with ServiceHere(tmp_path, tiny) as running:
        for _ in range(8):
            jobs = [running.json("POST", "/cameras/yard/export", {}, status=202)["id"] for _ in range(4)]
            ended = [running.json("GET", f"/jobs/{job}?wait=20") for job in jobs]
            assert [job["error"] for job in ended] == [None] * 4


def test_jobs_change_a_camera_and_forgetting_deletes_what_was_exported(tiny: Any, tmp_path: Path) -> None:
    record_camera(tmp_path, "yard", tiny, 70)
    with ServiceHere(tmp_path, tiny) as service:

        def job(kind: str, body: dict[str, Any]) -> dict[str, Any]:
            started: dict[str, Any] = service.json("POST", f"/cameras/yard/{kind}?wait=20", body, status=202)
            assert started["error"] is None
            assert service.json("GET", f"/jobs/{started['id']}") == started
            return started

        exported = job("export", {"start": START + 5, "end": START + 14})
        assert exported["progress"] == {"done": 10, "of": 10}
        (tmp_path / "file").write_bytes(service.client.get(exported["result"]["file"]).content)
        assert len(SpanFile(tmp_path / "file").times) == 10
        assert job("pause", {"paused": True})["result"]["settings"]["paused"]
        masks = [[[0.8, 0], [1, 0], [1, 1]]]
        assert job("mask", {"masks": masks})["result"]["settings"]["masks"] == masks
        assert job("keep", {"start": START, "end": START + 9})["result"]["settings"]["keep"] == [[START, START + 9]]
        assert job("retain", {"days": 1})["result"]["settings"]["days"] == 1
        assert job("retain", {"days": None})["result"]["settings"]["days"] is None
        assert job("retain", {"days": 1e-4, "dry_run": True})["result"]["would_delete"] is not None
        span = {"start": START + 10, "end": START + 19}
        assert job("forget", {**span, "dry_run": True})["result"]["would_delete"]["frames"] == 10
        assert service.client.get(exported["result"]["file"]).status_code == 200
        assert job("forget", span)["result"]["frames"] == 10
        assert service.client.get(exported["result"]["file"]).status_code == 404
        assert service.json("GET", "/cameras/yard/frames/12", status=410)["error"]["kind"] == "no_longer_remembered"
        assert service.client.get(f"{API}/cameras/yard/frames/12/image").status_code == 410
        (gone,) = service.json("GET", "/cameras/yard/timeline")["no_longer_remembered"]
        assert (gone["frames"], gone["reason"]) == (10, "forgotten")
        failed = service.json("POST", "/cameras/yard/forget?wait=20", {"start": 9, "end": 2}, status=202)
        assert failed["state"] == "failed"
        assert failed["error"]["kind"] == "usage"
    assert not (tmp_path / ".exports").exists()


def test_limits_of_the_whole_memory(tiny: Any, tmp_path: Path) -> None:
    record_camera(tmp_path, "hall", tiny, 200)
    record_camera(tmp_path, "yard", tiny, 200)
    damaged = tmp_path / "gate"
    shutil.copytree(tmp_path / "hall", damaged)
    (damaged / "camera.json").write_text("{")

    with ServiceHere(tmp_path, tiny) as service:

        def retain(body: dict[str, Any], camera: str = "") -> dict[str, Any]:
            where = f"/cameras/{camera}/retain" if camera else "/retain"
            started: dict[str, Any] = service.json("POST", f"{where}?wait=20", body, status=202)
            assert started["error"] is None
            assert started["camera"] == (camera or None)
            result: dict[str, Any] = started["result"]
            return result

        assert retain({})["limits"] == {"days": None, "gigabytes": None, "coarse_days": None}
        retain({"days": 40_000 / 2}, "yard")
        planned = retain({"days": 5e-5, "dry_run": True})
        assert [camera["would_delete"]["frames"] for camera in planned["cameras"]] == [128, 0]
        assert planned["limits"]["days"] is None
        assert "gate" in planned["skipped"]
        done = retain({"days": 5e-5})
        assert done["limits"]["days"] == 5e-5
        assert [(one["camera"], one["evicted"]["frames"]) for one in done["cameras"]] == [("hall", 128), ("yard", 0)]
        assert [one["limits"]["days"] for one in done["cameras"]] == [5e-5, 20_000]
        assert service.json("GET", "/cameras/hall/timeline")["frames"] == 72
        assert retain({"days": None})["limits"]["days"] is None
        assert service.json("GET", "/jobs")["jobs"][-1]["camera"] is None
        refused = service.json("POST", "/retain", {"days": 0}, status=422)
        assert "days" in refused["error"]["message"]


def test_without_a_model_frames_can_be_seen_and_questions_say_why(tiny: Any, tmp_path: Path) -> None:
    from afterview.model.base.errors import CheckpointError

    record_camera(tmp_path, "yard", tiny, 3)

    def load(name: str, index: str | None) -> Any:
        raise CheckpointError(f"{name}: its weights are missing")

    cameras = {"pattern": {"source": "lavfi:testsrc2=size=320x240:rate=5"}}
    with ServiceHere(tmp_path, load, cameras=cameras) as service:
        refused = service.json("POST", "/ask", {"question": QUESTION}, status=503)
        assert refused["error"]["message"] == "the model could not be loaded: tiny: its weights are missing"
        assert service.client.get(f"{API}/cameras/yard/frames/2/image").status_code == 200
        ready = service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert service.state_of("pattern") == "starting"


def test_the_name_of_a_relative_memory_is_not_replaced_in_errors(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record_camera(Path("yard"), "yard", tiny, 3)
    with ServiceHere(Path("yard"), tiny) as service:
        for document in (
            service.json("POST", "/ask", {"question": QUESTION, "cameras": ["yord"]}, status=404),
            service.client.get("/api/v1/cameras/yord/frames").json(),
        ):
            assert document["error"]["message"].endswith("did you mean 'yard'? There are: yard")
