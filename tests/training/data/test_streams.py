"""Reading a stage's data: a toy set with one bad item of each kind is read to its end, and its report names each."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from afterview.model.checkpoint.loading import load_encoders
from afterview.training.base.errors import DataError
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig
from afterview.training.data.bank_files import feature_path, legacy_path
from afterview.training.data.features import FeatureBank, save_features
from afterview.training.data.report import REPORT, ItemReport
from afterview.training.data.streams import DataStream, read_streams
from afterview.training.run import train_stage
from tests.support.annotations import turns, write
from tests.support.presets import write_toy


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of two videos of one name in two folders, of a third, and one picture."""
    root = tmp_path_factory.mktemp("streams")
    spec = load_encoders(write_toy(root), device="cpu").feature_spec
    for number, name in enumerate(("one/split_1.mp4", "two/split_1.mp4", "plain.mp4")):
        save_features(root / "bank", name, torch.full((4, 64, 32), float(number)).half(), 4.0, spec)
    half = torch.ones(2, 64, 32).half()
    save_features(root / "bank", "half.mp4", half, 2.0, spec, damage="it stops 2.0 s before its stated length")
    Image.new("RGB", (40, 30)).save(root / "a.png")
    (root / "empty.png").touch()
    path = feature_path(root / "bank", "damaged.mp4")
    save_file({"features": torch.zeros(3, 64, 31).half()}, path, metadata={"name": "damaged.mp4", "seconds": "3.0"})
    feature_path(root / "bank", "cut.mp4").write_bytes(path.read_bytes()[:90])
    return root


def video(name: str, **more: Any) -> dict[str, Any]:
    return {"video": name, "conversations": turns("<image>\nWhat?", "this"), **more}


def picture(*names: str) -> dict[str, Any]:
    return {"image": list(names), "conversations": turns("<image>" * len(names), "this")}


SOUND = [
    video("one/split_1.mp4"),
    video("split_1.mp4", data_source="two"),
    picture("a.png"),
    {"conversations": turns("What?", "x")},
]
# Kept, although its video is damaged; kept without its first turn; the others are left out.
HALF = video("half.mp4")
GREETING = {"conversations": [{"from": "gpt", "value": "Hello"}, *turns("What?", "x")]}
NOT_LEARNT: list[tuple[Any, str]] = [
    ({"conversations": turns("What?", "x", "And?")}, "must take turns"),
    ({"conversations": turns("What?", "")}, "an answer of gpt is empty"),
    ({"id": 3}, "conversations"),
    ("text", ""),
]
NOT_SEEN: list[tuple[Any, str]] = [
    (video("three/split_1.mp4"), "does not have 'three/split_1.mp4'"),
    (video("split_1.mp4"), "does not have 'split_1.mp4'"),
    (video("../plain.mp4"), "no path below the root"),
    (video("damaged.mp4"), "[3, 64, 31]"),
    (video("cut.mp4"), "truncated"),
    (picture("none.png"), "does not have 'none.png'"),
    (picture("empty.png"), "an empty file"),
    ({**video("plain.mp4"), "video": None}, "video: is null"),
    ({"image": [], "conversations": turns("What?", "x")}, "image: is empty"),
    ({"videos": ["plain.mp4"], "conversations": turns("What?", "x")}, "unknown key 'videos'"),
    ({"conversations": turns("<image>\nWhat?", "x")}, "neither a key 'video'"),
    ({"video": "plain.mp4", "conversations": turns("What?", "x")}, "hold 0 tags"),
    (picture("a.png") | {"conversations": turns("<image><image>", "x")}, "hold 2 tags"),
]


def everything(path: Path) -> Path:
    return write(path, [*SOUND, HALF, GREETING, *(item for item, _ in (*NOT_LEARNT, *NOT_SEEN))])


def stream(root: Path, annotations: Path, **more: Any) -> DataStream:
    return DataStream(annotations=annotations, features=root / "bank", pictures=root, **more)


def test_one_bad_item_of_each_kind_is_left_out_and_the_report_names_each(root: Path, tmp_path: Path) -> None:
    path, report = everything(tmp_path / "all.json"), ItemReport()
    (kept,) = read_streams([stream(root, path)], bad_items="drop", report=report)
    assert [item.number for item in kept] == list(range(len(SOUND) + 2))
    found = {problem.item: problem for problem in report.problems}
    first = len(SOUND) + 2
    assert found[len(SOUND)].happened == "damaged"
    assert "half.mp4: is damaged: it stops 2.0 s before" in found[len(SOUND)].why
    assert found[len(SOUND) + 1].happened == "shortened"
    assert set(found) == set(range(len(SOUND), first + len(NOT_LEARNT) + len(NOT_SEEN)))
    for number, (_, said) in enumerate((*NOT_LEARNT, *NOT_SEEN), first):
        assert said in found[number].why
        assert (found[number].file, found[number].happened) == (str(path), "dropped")
    assert report.counts == {"dropped": len(NOT_LEARNT) + len(NOT_SEEN), "shortened": 1, "damaged": 1}


def test_a_run_over_them_finishes_with_that_report(root: Path, tmp_path: Path) -> None:
    path = everything(tmp_path / "all.json")
    config = StageConfig.model_validate({
        "name": "toy", "model": str(root / "toy.yaml"), "batch": 2, "bad_items": "drop", "gradient_checkpointing": False,
        "trainer": {"steps": 2, "learning_rates": {"memaug": 1e-3}}, "forgetting": {"max_frames": 8, "min_frames": 2},
        "streams": [{"annotations": path, "features": root / "bank", "pictures": root}],
    })  # fmt: skip
    done = train_stage(config, tmp_path / "out", cpu=True)
    assert done.steps == 2
    items = json.loads((tmp_path / "out" / REPORT).read_text())["items"]
    assert {item["item"] for item in items} == set(range(len(SOUND), len(SOUND) + 2 + len(NOT_LEARNT) + len(NOT_SEEN)))
    assert {item["file"] for item in items} == {str(path)}


def test_media_are_refused_with_item_and_file_and_conversations_are_not(root: Path, tmp_path: Path) -> None:
    for number, (item, said) in enumerate(NOT_SEEN):
        path = write(tmp_path / f"{number}.json", [*SOUND, item])
        with pytest.raises(DataError) as caught:
            read_streams([stream(root, path)])
        assert str(caught.value).startswith(f"{path}: item {len(SOUND)}: ")
        assert said in str(caught.value)
        assert "`bad_items: drop` trains without them" in str(caught.value)
    report = ItemReport()
    path = write(tmp_path / "turns.json", [*SOUND, *(item for item, _ in NOT_LEARNT)])
    (kept,) = read_streams([stream(root, path)], report=report)
    assert len(kept) == len(SOUND)
    assert report.counts == {"dropped": len(NOT_LEARNT)}


def test_a_stream_of_which_nothing_is_left_is_refused(root: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [item for item, _ in NOT_LEARNT])
    with pytest.raises(DataError, match=r"no item is left: .*item 0: "):
        read_streams([stream(root, path)])
    path = write(tmp_path / "b.json", [picture("a.png")])
    with pytest.raises(DataError, match=r"there is no such directory, so it does not have 'a\.png'"):
        read_streams([DataStream(annotations=path, pictures=root / "unmounted")], bad_items="drop")


def test_videos_of_one_name_in_two_folders_are_two_videos(root: Path, tmp_path: Path) -> None:
    bank = FeatureBank(root / "bank")
    assert [
        float(bank.load(name)[0].float().mean()) for name in ("one/split_1.mp4", "./two//split_1.mp4", "plain.mp4")
    ] == [0, 1, 2]
    assert float(bank.load("split_1.mp4", "two")[0].float().mean()) == 1  # as the published reader joins them
    assert float(bank.load("plain.mp4", "anything")[0].float().mean()) == 2
    with pytest.raises(
        DataError, match=r"does not have 'x/plain\.mp4', only 'plain\.mp4', which was extracted without its folder"
    ):
        bank.load("x/plain.mp4")
    with pytest.raises(
        DataError,
        match=r"does not have 'split_1\.mp4', only '(one|two)/split_1\.mp4': annotations name videos by their paths",
    ):
        bank.load("split_1.mp4")
    left, right, none = (video("plain.mp4", data_source=source) for source in ("left", "right", None))
    path = write(tmp_path / "a.json", [left, right])
    with pytest.raises(DataError, match=r"item 1: 'plain\.mp4' of 'left' and 'plain\.mp4' of 'right' would be one"):
        read_streams([stream(root, path)])
    one, other = write(tmp_path / "left.json", [left, left]), write(tmp_path / "none.json", [none])
    with pytest.raises(DataError, match=r"none\.json: item 0: 'plain\.mp4' of 'left' and 'plain\.mp4' would be one"):
        read_streams([stream(root, one), stream(root, other)])
    path = write(tmp_path / "known.json", [video("plain.mp4", data_source="one")])  # the bank keeps the folder `one`
    with pytest.raises(
        DataError, match=r"does not have 'one/plain\.mp4', only 'plain\.mp4', which was extracted without"
    ):
        read_streams([stream(root, path)])


def test_a_bank_of_an_earlier_version_is_read_by_bare_names_only(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "spec.json").write_bytes((root / "bank" / "spec.json").read_bytes())
    old = {"seconds": "4.0", "source": "file 1 00000000"}  # as version 0.1.0 wrote them
    save_file({"features": torch.zeros(4, 64, 32).half()}, legacy_path(tmp_path / "bank", "split_1.mp4"), metadata=old)
    bank = FeatureBank(tmp_path / "bank")
    assert bank.load("split_1.mp4")[1] == 4.0
    with pytest.raises(DataError, match=r"only 'split_1\.safetensors' of an earlier version, .* renames that file if"):
        bank.find("one/split_1.mp4")
    path = write(tmp_path / "a.json", [video("split_1.mp4"), video("split_1.webm")])
    with pytest.raises(DataError, match=r"item 1: 'split_1\.mp4' and 'split_1\.webm' would be one video"):
        read_streams([DataStream(annotations=path, features=tmp_path / "bank")])


def test_a_batch_has_the_features_of_the_video_that_its_annotation_names(root: Path, tmp_path: Path) -> None:
    from afterview.model.checkpoint.loading import load_pretrained

    write(tmp_path / "a.json", [video("split_1.mp4", data_source="two")])
    (tmp_path / "m.yaml").write_text(f"datasets:\n  - {{json_path: {tmp_path / 'a.json'}}}\n")
    config = StageConfig.model_validate({
        "name": "toy", "model": str(root / "toy.yaml"), "batch": 1, "trainer": {"steps": 1, "learning_rates": {"memaug": 1e-3}},
        "streams": [{"annotations": tmp_path / "m.yaml", "features": root / "bank"}], "forgetting": {"max_frames": 8, "min_frames": 2},
    })  # fmt: skip
    (example,) = StageData(config, load_pretrained(config.model, device="cpu", dtype="float32"))(0)
    assert example.features is not None
    assert (example.features == 1).all()
