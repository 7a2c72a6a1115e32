"""What the tools say stays small, whatever an answer holds; what is cut is said."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from afterview.configs import UsageError
from afterview.stream.service.mcp import arguments, looking, results

BASE = "http://nvr.home:8077"


def coverage(camera: str, gaps: int = 0) -> dict[str, Any]:
    gap = {"start": 1.0, "start_iso": "a", "end": 2.0, "end_iso": "b", "seconds": 1.0, "reason": "lost"}
    return {"camera": camera, "frames": 9, "first_time_iso": "from", "last_time_iso": "to", "gaps": [gap] * gaps}


def answer(cameras: int = 1, evidence: int = 1, gaps: int = 0, text: str = "yes", note: str = "") -> dict[str, Any]:
    shown = {"camera": "c0", "frame": 3, "time": 1.0, "time_iso": "then", "weight": 0.5, "image": "/api/v1/x"}
    return {
        "id": "abc", "kind": "question", "question": "?", "answer": text, "declined": False, "skipped": {},
        "notes": [note] if note else [], "coverage": coverage("c0", gaps), "evidence": [shown] * evidence,
        "cameras": [{"camera": f"c{one}", "answer": text, "coverage": coverage(f"c{one}", gaps)} for one in range(cameras)],
    }  # fmt: skip


def test_a_usual_answer_is_whole() -> None:
    result = results.answered(answer(2, 8, 20, note="camera 'c1' is paused"), BASE)
    assert "left_out" not in result.data
    assert len(result.data["evidence"]) == 8
    assert "(5 of 8)" in result.text
    assert "20 gaps, the last from a to b (lost)" in result.text
    assert result.text.endswith("Note: camera 'c1' is paused")
    assert result.links[0] == results.Link("c0, then", f"{BASE}/api/v1/x")


@pytest.mark.parametrize(
    "document",
    [
        answer(cameras=500, evidence=2000, gaps=3000),
        answer(text="word " * 50_000),
        answer(cameras=300, text="word " * 5_000),
        answer(note="\ud800" * 9),
        {**answer(), "skipped": {f"camera {one}": "why " * 500 for one in range(2000)}},
    ],
)
def test_what_is_too_large_is_cut_and_said(document: dict[str, Any]) -> None:
    result = results.answered(document, BASE)
    data = json.dumps(result.data, ensure_ascii=False)
    assert len(data) < 150_000
    assert len(result.text) < 14_000
    assert (result.text + data).encode()  # it can be sent
    if not document["notes"]:
        assert "left out" in result.text or "(cut here: " in result.text
    assert result.text.startswith(document["answer"][:1000])


def test_without_a_service_there_are_no_links_and_the_text_says_how_to_look() -> None:
    result = results.answered(answer(), None)
    assert result.links == ()
    assert result.data["evidence"][0]["image"] is None
    assert "the tool frame shows their pictures" in result.text


def test_arguments_that_are_null_count_as_left_out_and_numbers_as_times() -> None:
    found = arguments.check("ask", {"question": "?", "cameras": None, "at": 5})
    assert isinstance(found, arguments.Ask)
    assert (found.cameras, found.at) == (None, 5.0)
    with pytest.raises(UsageError, match="has 5000 arguments"):
        arguments.check("ask", {f"a{number}": 1 for number in range(5000)})


def test_large_pictures_are_made_smaller() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    small = looking._small(file.getvalue(), 120_000)
    assert len(small) <= 120_000
    assert Image.open(io.BytesIO(small)).size[0] >= 320
    assert looking._small(small, 120_000) == small
