"""A question about a recording itself: the published indices of its frames, and an answer from those pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

import afterview
from afterview.cli.main import main
from afterview.memory.plans.clip_sampling import ClipSampling
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.vision.preprocess import to_square
from afterview.stream.ask.recording import plan_recording, sample_recording
from tests.support.clips import make_clip, picture
from tests.support.flash import flash_preset

RELEASED = ClipSampling()


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flash_preset(tmp_path_factory.mktemp("flash"))


@pytest.fixture(scope="module")
def model(flash: Path) -> AfterviewModel:
    return load_pretrained(flash, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=75, rate=25)


def test_the_indices_are_those_of_the_released_chat() -> None:
    whole, seconds = plan_recording(10_000, 25.0, RELEASED)
    assert (len(whole), seconds) == (400, 400.0)
    assert whole[:3].tolist() == [12, 37, 62]
    assert len(plan_recording(2190, 25.0, RELEASED)[0]) == 80
    short, _ = plan_recording(50, 25.0, RELEASED)
    assert len(short) == 48
    assert (np.diff(short) > 0).all()


def test_a_part_of_a_recording() -> None:
    indices, seconds = plan_recording(10_000, 25.0, RELEASED, 100.0, 190.0)
    assert seconds == 90.0
    assert (len(indices), int(indices[0])) == (88, 2512)  # 2250 frames from frame 2500 on, in 88 segments of 25 or 26
    assert indices[-1] < 4750
    to_the_end, seconds = plan_recording(10_000, 25.0, RELEASED, 380.0)
    assert seconds == pytest.approx(19.9)  # 0.1 s before the end
    assert (len(to_the_end), int(to_the_end[0])) == (64, 9503)
    for low, high in ((400.0, None), (10.0, 10.0), (399.9, 500.0)):
        with pytest.raises(afterview.UsageError, match=r"holds nothing; the recording lasts 400 s"):
            plan_recording(10_000, 25.0, RELEASED, low, high)
    with pytest.raises(afterview.UsageError, match=r"holds no frame"):
        plan_recording(10_000, 25.0, RELEASED, 10.0, 10.01)


def test_the_frames_are_those_of_the_indices(video: Path) -> None:
    seen = sample_recording(video, 224, RELEASED)
    assert (len(seen.indices), seen.seconds, seen.fps) == (64, 3.0, 25.0)
    for place in (0, 20, 63):
        made = to_square(picture(int(seen.indices[place])), 224)
        assert np.abs(seen.frames[place].astype(int) - made).mean() < 6  # H.264
        other = to_square(picture(int(seen.indices[place]) + 4), 224)
        assert np.abs(seen.frames[place].astype(int) - other).mean() > 8


def test_it_answers_from_the_file(model: AfterviewModel, video: Path) -> None:
    answer = afterview.ask_recording(video, "What happened?", model=model, start="1s")
    again = afterview.ask_recording(str(video), "What happened?", model=model, start=1)
    assert answer == again
    assert isinstance(answer, afterview.RecordingAnswer)
    assert (len(answer.indices), answer.seconds, answer.indices[0]) == (40, 1.9, 25)
    assert answer.times[0] == 1.0
    assert answer.to_dict()["frames"] == 40


def test_what_cannot_be_asked_is_named(model: AfterviewModel, tmp_path: Path, video: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for path, problem in ((tmp_path / "text.mp4", "not a video"), (tmp_path / "nothing.mp4", "cannot be read")):
        with pytest.raises(afterview.UsageError, match=problem):
            afterview.ask_recording(path, "What?", model=model)
    with pytest.raises(afterview.UsageError, match=r"is no VideoChat-Flash: record the file with `afterview replay`"):
        afterview.ask_recording(video, "What?", model="tiny")
    with pytest.raises(afterview.UsageError, match="question: is empty"):
        afterview.ask_recording(video, " ", model=model)


def test_the_command_asks_a_file(
    flash: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: AfterviewModel
) -> None:
    command = ["ask", "What happened?", "--recording", str(video), "--model", str(flash)]
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["answer"] == afterview.ask_recording(video, "What happened?", model=model).text
    assert document["indices"] == plan_recording(75, 25.0, RELEASED)[0].tolist()
    assert main([*command, "--at", "12:00"]) == 2
    assert "--at is about a memory, and --recording asks a file itself" in capsys.readouterr().err
    assert main(command[:4]) == 2
    assert "--recording needs --model" in capsys.readouterr().err
    assert main([*command[:3], str(tmp_path / "no.mp4"), *command[4:]]) == 2
    assert "no such file" in capsys.readouterr().err
