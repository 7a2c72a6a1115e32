"""What people type on the command line, checked before anything slow or lasting happens."""

import math
from pathlib import Path

import pytest

from afterview.cli.arguments import camera_name, memory_path, sampling_rate, seed, timeout
from afterview.cli.main import main
from afterview.cli.output.documents import printable
from afterview.configs import UsageError
from tests.support.clips import make_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", frames=3)


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_sampling_rates_that_no_camera_has(fps: float) -> None:
    with pytest.raises(UsageError, match="--fps"):
        sampling_rate(fps)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_timeouts_are_positive_and_finite(seconds: float) -> None:
    with pytest.raises(UsageError, match="--read-timeout"):
        timeout("--read-timeout", seconds)


def test_an_unset_variable_is_not_the_present_directory() -> None:
    with pytest.raises(UsageError, match="--memory is empty"):
        memory_path(" ")


@pytest.mark.parametrize("number", [-1, 2**63])
def test_seeds_that_generators_do_not_take(number: int) -> None:
    with pytest.raises(UsageError, match="--seed"):
        seed(number)
    assert seed(2**63 - 1) == 2**63 - 1


def test_camera_names() -> None:
    assert camera_name("Front door", "clip") == "Front door"
    assert camera_name(None, "front 10.0.0.7") == "front 10.0.0.7"
    assert camera_name(None, "日本") == "日本"
    assert camera_name(None, "...") == "camera"
    assert camera_name(None, "answers") == "camera"


@pytest.mark.parametrize("name", ["", "..", "answers", "Answers!", "a\x1b[31m", "two\nlines", "a\udcff"])
def test_names_that_cannot_be_recorded_under(name: str) -> None:
    with pytest.raises(UsageError):
        camera_name(name, "clip")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--speed", "0"],
        ["--start", "soon"],
        ["--start", "2099"],
        ["--start", "99999999999999999"],
        ["--timezone", "Mars/Base"],
        ["--camera", "answers"],
    ],
)
def test_a_mistake_leaves_no_camera_behind(
    wrong: list[str], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = tmp_path / "memory"
    assert main(["replay", str(clip), "--memory", str(memory), *wrong]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("afterview: error: ")
    assert said.err.count("\n") == 1, "one line, before the model is loaded"
    assert not memory.exists()


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable("a\x1b[31mb\n日本 é") == "a\\x1b[31mb\n日本 é"
