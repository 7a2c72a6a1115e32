"""`extract --root`: videos of one file name in several folders are several videos, whichever comes first and whenever."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from afterview.cli.main import main
from afterview.training.data.bank_files import feature_path, legacy_path
from afterview.training.data.features import FeatureBank
from tests.support.clips import make_clip

FRAMES = {"part1/split_1.mp4": 20, "part2/split_1.mp4": 30, "youcook2/xyz/split_1.MKV": 40}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, frames in FRAMES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        made = make_clip(root / "made.mkv", frames=frames, rate=10, width=64, height=48)
        shutil.move(made, root / name)
    return root


def extracted(data: Path, bank: Path, names: list[str], *options: str) -> tuple[int, dict[str, Any]]:
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as said:
        status = main(["extract", *(str(data / name) for name in names), "--out", str(bank), "--json", *options])
    return status, json.loads(said.getvalue() or "{}")


def test_videos_have_the_names_of_their_paths_below_the_root(data: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    assert extracted(data, bank, ["part1/split_1.mp4"], "--root", str(data))[1]["made"] == ["part1/split_1.mp4"]
    status, document = extracted(data, bank, list(FRAMES), "--root", str(data))
    assert (status, document["made"]) == (0, [*FRAMES][1:])
    for name, frames in FRAMES.items():
        assert len(FeatureBank(bank).load(name)[0]) == frames // 10
    assert (
        len(FeatureBank(bank).load("split_1.mp4", "part2")[0]) == 3
    )  # data_source, as the published reader joins them
    assert len(FeatureBank(bank).load("xyz/split_1.MKV", "youcook2")[0]) == 4


def test_without_a_root_one_name_is_never_two_videos(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = tmp_path / "bank"
    assert extracted(data, bank, ["part1/split_1.mp4", "part2/split_1.mp4"])[0] == 2  # at once: wrong usage
    assert "give `--root DIR`" in capsys.readouterr().err
    assert extracted(data, bank, ["part1/split_1.mp4"])[1]["made"] == ["split_1.mp4"]
    status, document = extracted(data, bank, ["part2/split_1.mp4"])  # later
    assert status == 1
    assert document["made"] == []
    assert "was made of another 'split_1.mp4'; give `--root DIR`" in document["failed"][str(data / "part2/split_1.mp4")]


def test_a_root_that_the_sources_do_not_lie_below_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extracted(data, tmp_path / "bank", ["part1/split_1.mp4"], "--root", str(data / "part2"))[0] == 2
    assert "does not lie below --root" in capsys.readouterr().err
    monkeypatch.chdir(data / "part1")
    (tmp_path / "link").symlink_to(data)
    for root in ("..", str(tmp_path / "link"), str(data) + "/"):
        bank = tmp_path / f"bank{len(root)}"
        assert main(["extract", "split_1.mp4", "--root", root, "--out", str(bank), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["made"] == ["part1/split_1.mp4"]


def test_a_file_of_an_earlier_bank_is_renamed_when_its_video_is_met_and_never_read_for_another(
    data: Path, tmp_path: Path
) -> None:
    """Versions up to 0.1 named it after the stem alone: both videos below would have been split_1.safetensors."""
    bank = tmp_path / "bank"
    extracted(data, bank, ["part1/split_1.mp4"])
    with safe_open(feature_path(bank, "split_1.mp4"), framework="pt") as file:
        features = file.get_tensor("features")
        metadata = {key: value for key, value in file.metadata().items() if key != "name"}
    feature_path(bank, "split_1.mp4").unlink()
    old = legacy_path(bank, "split_1.mp4")
    save_file({"features": features + 1}, old, metadata=metadata)
    assert extracted(data, bank, ["part2/split_1.mp4"], "--root", str(data))[1]["made"] == ["part2/split_1.mp4"]
    assert old.exists()
    assert extracted(data, bank, ["part1/split_1.mp4"], "--root", str(data))[1]["made"] == []
    assert not old.exists()
    assert torch.equal(FeatureBank(bank).load("part1/split_1.mp4")[0], features + 1)
    assert len(FeatureBank(bank).load("part2/split_1.mp4")[0]) == 3
