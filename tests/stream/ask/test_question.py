"""Questions and answers as JSON."""

import json
import math

from afterview.memory.base.records import Gap
from afterview.memory.plans.removal import Removal
from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence, Question


def test_a_question_is_json() -> None:
    question = Question("What now?", ("gate", "back"), at=5.0, max_new_tokens=3)
    assert json.loads(json.dumps(question.to_dict())) == {
        "text": "What now?", "cameras": ["gate", "back"], "start": None, "at": 5.0, "last_s": None, "seed": 0, "evidence": 8,
        "max_new_tokens": 3, "temperature": None, "top_p": None, "top_k": None, "repetition_penalty": None, "stop": None,
    }  # fmt: skip


def coverage(camera: str) -> Coverage:
    return Coverage(
        camera=camera, frames=3, first_time=1.0, last_time=3.0, gaps=(Gap(3.0, math.nan, "lost", -1),),
        removed=(Removal(0, 2, 0.1, 0.2, "forgotten", 9.0),), damaged=1, lag_s=0.12345, time_basis={"source": 3},
        recall="full", search="none", positions="true", recalled=3, visible=2,
    )  # fmt: skip


def test_an_answer_is_json_of_its_first_camera_and_of_each() -> None:
    parts = tuple(
        CameraAnswer(
            name, "it was named", (Evidence(name, 7, 2.0, weight, b"jpeg"),), coverage(name), {"model": "tiny"},
            {"recall_s": 0.123456},
        )
        for name, weight in (("gate", 0.25), ("back", 0.5))
    )  # fmt: skip
    answer = Answer("id", "What now?", "gate: a\nback: b", parts, None, {"new": "nothing was recorded"}, 1.23456)
    document = json.loads(json.dumps(answer.to_dict({("back", 7): "back-7.jpg"})))
    assert document["evidence"] == [
        {"camera": "back", "frame": 7, "time": 2.0, "weight": 0.5, "picture_damaged": False, "image": "back-7.jpg"},
        {"camera": "gate", "frame": 7, "time": 2.0, "weight": 0.25, "picture_damaged": False, "image": None},
    ]
    assert document["coverage"] == document["cameras"][0]["coverage"]
    assert document["coverage"]["gaps"] == [{"start": 3.0, "end": None, "seconds": None, "reason": "lost"}]
    assert document["coverage"]["no_longer_remembered"][0]["removed_at"] == 9.0
    assert document["coverage"]["lag_s"] == 0.123
    assert document["timing"] == {"recall_s": 0.1235, "total_s": 1.2346}
    assert [part["camera"] for part in document["cameras"]] == ["gate", "back"]
    assert document["skipped"] == {"new": "nothing was recorded"}
