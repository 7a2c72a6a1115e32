"""The demo's contact sheets: which frames are on them, and what is written above."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from afterview.demo.report import write_sheet
from afterview.memory.base.camera import CameraInfo
from afterview.stream.ask.question import Answer, CameraAnswer, Evidence
from afterview.stream.contact_sheet import Sheet, SheetFrame, SheetRow, SheetText
from afterview.training.evaluation.quiz import Put
from afterview.training.world import WorldQuestion

QUESTION = WorldQuestion(kind="colour", text="Which colour?", answer="red", wrong=("blue",), at_s=40.0)
INFO = CameraInfo("hall", "hall", timezone="Europe/Paris")
NOON = 1_763_636_400.0  # 2025-11-20 in Paris


def answer(text: str, weights: list[float], *, declined: bool = False) -> Answer:
    evidence = tuple(Evidence("hall", n, NOON + n, weight, jpeg(n)) for n, weight in enumerate(weights))
    part = CameraAnswer(text, "", evidence, None, {}, {})  # type: ignore[arg-type]
    return Answer("id", "Q", text, () if declined else (part,), "a notice", {}, 1.0, declined)


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (160, 90), (shade, shade, shade)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("given", "frames", "says"),
    [
        (answer("red", [0.7, 0.25, 0.02, 0.009, 0.0]), 3, "The evidence: the frames"),
        (answer("no", [0.7, 0.25]), 2, "It was not found. These are the frames"),
        (answer("red", [0.004, 0.003]), 0, "There is no evidence: no frame has 1% of"),
        (answer("red", []), 0, "There is no evidence"),
        (answer("I know only shapes", [], declined=True), 0, "does not know such questions"),
    ],
)
def test_frames_without_weight_are_left_out_and_a_sheet_without_frames_says_why(
    given: Answer, frames: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[SheetFrame | SheetText | SheetRow]] = []

    def draw(*parts: Sequence[SheetFrame | SheetText | SheetRow]) -> Sheet:
        drawn.extend(list(part) for part in parts)
        return Sheet(b"a picture", "a note")

    monkeypatch.setattr("afterview.demo.report.draw_sheet", draw)
    assert write_sheet(Put(100.0, QUESTION), given, INFO, NOON, tmp_path / "sheet.png") == "a note"
    assert (tmp_path / "sheet.png").read_bytes() == b"a picture"
    cards, header, footer = drawn
    weights, texts = ([0.7, 0.25, 0.02], ["70%", "25%", "2.0%"])
    assert cards == [
        SheetFrame(
            jpeg(n), f"2025-11-20 12:00:0{n} CET", "hall", texts[n], weights[n], "this image cannot be read", str(n + 1)
        )
        for n in range(frames)
    ]
    *above, caption = header
    assert above == [
        SheetText("Which colour?", "title"),
        SheetRow("answer", given.text, "result", right=given.text == "red"),
        SheetRow("truth", "red"),
        SheetRow("as of", "2025-11-20 12:00:00 CET, 1 min 00 s before the question"),
    ]
    assert isinstance(caption, SheetText)
    assert says in caption.text
    assert footer == [SheetText("a notice", "small")]


def test_the_sheet_is_a_png(tmp_path: Path) -> None:
    assert write_sheet(Put(40.0, QUESTION), answer("red", [0.9]), INFO, NOON, tmp_path / "sheet.png") == ""
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
