"""The published files of features (`.pt`) in a bank: the rows of the published reader, and nothing that could run code is loaded.

The expected rows are those of tests/golden/sampling, kind "features": `linspace(0, T - 1, min(T, int(duration)), dtype=int)`.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afterview.cli.main import main
from afterview.model.checkpoint.loading import load_encoders
from afterview.training.base.errors import DataError
from afterview.training.data.extraction import extract
from afterview.training.data.features import FeatureBank
from afterview.training.data.published_features import read_published
from afterview.training.data.report import ItemReport
from afterview.training.data.streams import DataStream, read_streams
from tests.support.annotations import turns, write
from tests.support.presets import write_toy


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_toy(root)
    return root


def numbered(rows: int) -> torch.Tensor:
    """Row n is full of n."""
    return torch.arange(rows, dtype=torch.float32)[:, None, None].expand(rows, 64, 32).clone()


def save(path: Path, rows: int, seconds: Any, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"vid_feat": numbered(rows), "duration": seconds, **more}, path)
    return path


@pytest.mark.parametrize(
    ("rows", "seconds", "taken"),
    [(128, 12.4, 12), (128, 127.99, 127), (200, 200.7, 200), (30, 30.0, 30), (128, 1.0, 1), (40, 55.2, 40)],
)
def test_the_rows_of_the_published_reader_are_stored_with_the_duration(
    root: Path, tmp_path: Path, rows: int, seconds: float, taken: int
) -> None:
    path = save(tmp_path / "a" / "clip.pt", rows, np.float64(seconds), name="ignored")
    done = extract([path], str(root / "toy.yaml"), tmp_path / "bank", root=tmp_path)
    assert done.made == ["a/clip.pt"]
    features, stated = FeatureBank(tmp_path / "bank").load("a/clip.mp4")  # as the annotation names the video
    expected = np.linspace(0, rows - 1, taken, dtype=int)
    assert features[:, 0, 0].int().tolist() == expected.tolist()
    assert features.dtype == torch.float16
    assert stated == seconds
    assert bool(done.damaged) == (rows < int(seconds))  # seconds without rows
    assert extract([path], str(root / "toy.yaml"), tmp_path / "bank", root=tmp_path).made == []


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_files_that_cannot_be_used_are_named_and_nothing_in_them_is_run(root: Path, tmp_path: Path) -> None:
    spec = load_encoders(root / "toy.yaml", device="cpu").feature_spec
    whole = save(tmp_path / "whole.pt", 3, 3.0).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    torch.save([numbered(3), 3.0], tmp_path / "list.pt")
    torch.save({"vid_feat": torch.zeros(3, 729, 1152), "duration": 3.0}, tmp_path / "other.pt")
    torch.save({"vid_feat": torch.full((3, 64, 32), torch.nan), "duration": 3.0}, tmp_path / "nan.pt")
    save(tmp_path / "code.pt", 3, Code(tmp_path / "made"))
    for name, seconds in (("no_duration.pt", None), ("word.pt", "long"), ("minus.pt", -3.0), ("short.pt", 0.7)):
        save(tmp_path / name, 3, seconds)
    for name, said in (
        ("cut.pt", "truncated"), ("list.pt", "holds a list"), ("other.pt", r"\[3, 729, 1152\]; .* takes \[T, 64, 32\]"),
        ("nan.pt", "not finite"), ("code.pt", "could run code"), ("no_duration.pt", r"'duration' must be .* \(got None\)"),
        ("word.pt", r"got long"), ("minus.pt", r"got -3"), ("short.pt", r"0\.7 s has no row"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            read_published(tmp_path / name, spec)
    assert not (tmp_path / "made").exists()


def test_the_command_goes_on_after_a_broken_one_and_a_bank_of_frames_takes_none(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = save(tmp_path / "good.PT", 4, 4.0), tmp_path / "bad.pt"
    bad.write_bytes(b"x" * 100)
    command = ["extract", str(bad), str(good), "--model", str(root / "toy.yaml"), "--json", "--out"]
    assert main([*command, str(tmp_path / "bank")]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["made"] == ["good.PT"]
    assert "is damaged" in document["failed"][str(bad)]
    assert main([*command, str(tmp_path / "frames"), "--frames"]) == 1
    assert "a bank of frames needs the video" in json.loads(capsys.readouterr().out)["failed"][str(good)]


def test_a_published_file_beside_a_video_of_its_name_does_not_stand_for_it(root: Path, tmp_path: Path) -> None:
    """clip.mp4 has features of its own; clip.webm and clip.avi could both be meant by clip.pt."""
    bank, spec = tmp_path / "bank", load_encoders(root / "toy.yaml", device="cpu").feature_spec
    extract([save(tmp_path / "clip.pt", 9, 9.0)], str(root / "toy.yaml"), bank)
    from afterview.training.data.features import save_features

    save_features(bank, "clip.mp4", torch.zeros(2, 64, 32).half(), 2.0, spec)
    assert [len(FeatureBank(bank).load(name)[0]) for name in ("clip.mp4", "clip.pt", "clip.webm")] == [2, 9, 9]
    items = [{"video": name, "conversations": turns("<image>\nWhat?", "x")} for name in ("clip.webm", "clip.avi")]
    path, report = write(tmp_path / "a.json", items), ItemReport()
    (kept,) = read_streams([DataStream(annotations=path, features=bank)], bad_items="drop", report=report)
    assert [item.number for item in kept] == [0]
    assert "'clip.webm' and 'clip.avi' would be one video" in report.problems[0].why
