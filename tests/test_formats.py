"""What earlier versions wrote still opens, answers, and passes fsck: one archive per version (tests.formats.make)."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from afterview.cli.main import main
from tests.formats.make import QUESTION, START

if TYPE_CHECKING:
    from tests.support.object_server import ObjectServer

ARCHIVES = sorted((Path(__file__).parent / "formats").glob("*.tar.gz"))
VOLATILE = {"timing", "image", "bytes", "model"}  # another with every call, or with where the archive was unpacked


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written")
    with tarfile.open(request.param) as archive:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            archive.extractall(directory, filter="data")
        else:
            archive.extractall(directory)
    return directory


@pytest.fixture
def written(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy, which is also the working directory: the training's configuration names its files from there."""
    directory = tmp_path / "written"
    shutil.copytree(packed, directory)
    monkeypatch.chdir(directory)
    return directory


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    status = main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    document: dict[str, Any] = json.loads(printed.out)
    return document


def lasting(value: Any) -> Any:
    """A JSON value without what is VOLATILE in it."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if key not in VOLATILE}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def assert_within(before: Any, now: Any, where: str = "") -> None:
    """Everything that was said before is said now; keys may have been added."""
    if isinstance(before, dict):
        for key, value in before.items():
            assert key in now, f"{where}.{key} is gone"
            assert_within(value, now[key], f"{where}.{key}")
    elif isinstance(before, list):
        assert len(before) == len(now), where
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            assert_within(one, other, f"{where}[{number}]")
    elif isinstance(before, float):
        assert now == pytest.approx(before, abs=1e-5), where
    else:
        assert now == before, where


def test_there_is_an_archive() -> None:
    assert [path.name for path in ARCHIVES][:1] == ["0.1.0.tar.gz"]


def test_a_memory_is_sound_and_says_what_it_said(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads((written / "answers.json").read_text())
    assert run(capsys, "fsck", "memory")["clean"]
    assert_within(lasting(said["info"]), lasting(run(capsys, "info", "memory")))
    for name, answer in said["asked"].items():
        again = run(capsys, "ask", QUESTION, "--memory", "memory", "--camera", name, "--model", "checkpoint",
                    "--at", str(START + 220))  # fmt: skip
        assert again["provenance"]["weights"] == answer["provenance"]["weights"]
        assert again["id"] != answer.pop("id")
        assert_within(lasting(answer), lasting(again))
    hits = run(capsys, "search", "a thing", "--memory", "memory", "--model", "checkpoint", "--top", "3")
    assert len(hits["hits"]) == 3


def test_a_memory_is_recorded_further_and_its_settings_hold(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support.clips import make_clip

    clip = make_clip(written / "more.mp4", frames=20, rate=2, width=64, height=48)
    before = {camera["id"]: camera["frames"] for camera in run(capsys, "info", "memory")["cameras"]}
    for name in ("front-door", "yard"):
        arguments = ("--memory", "memory", "--camera", name, "--model", "checkpoint", "--start", str(START + 1000))
        assert run(capsys, "replay", str(clip), *arguments)["recorded"] == 10
    after = {camera["id"]: camera["frames"] for camera in run(capsys, "info", "memory")["cameras"]}
    assert after == {name: count + 10 for name, count in before.items()}
    assert run(capsys, "fsck", "memory")["clean"]
    masks = run(capsys, "mask", "--memory", "memory", "--camera", "front-door")["cameras"][0]["settings"]
    assert masks["masks"] == [[[0, 0], [0.3, 0], [0.3, 1], [0, 1]]]
    assert masks["keep"] == [[START + 100, START + 110]]
    assert run(capsys, "mask", "--memory", "memory", "--camera", "yard")["cameras"][0]["settings"]["paused"] is True


def test_an_exported_span_is_imported(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "import", "yard.span", "--memory", "another")["frames"] == 70
    assert run(capsys, "fsck", "another")["clean"]


@pytest.mark.parametrize("where", ["stored", "bucket"])
def test_a_store_is_read_from_here_and_from_another_machine(
    written: Path,
    where: str,
    server: "ObjectServer",
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from afterview.memory.remote.settings import StoreSettings, write_store
    from tests.support.object_server import BUCKET

    for path in (written / "bucket").rglob("*"):
        if path.is_file():
            server.write(str(path.relative_to(written / "bucket")), path.read_bytes())
    memory = "stored"
    if where == "bucket":
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        monkeypatch.setenv("XDG_CACHE_HOME", str(written / "cache"))
        memory = f"s3://{BUCKET}/house"
    else:
        settings = StoreSettings(url=f"s3://{BUCKET}/house", endpoint=server.endpoint, local_gigabytes=0)
        write_store(written / "stored", settings)
        assert run(capsys, "fsck", "stored", "--deep")["clean"]
    answer = run(capsys, "ask", QUESTION, "--memory", memory, "--model", "checkpoint")
    assert answer["coverage"]["frames"] == (70 if where == "stored" else 64)
    assert answer["coverage"]["unreachable"] == answer["coverage"]["damaged"] == 0


def test_a_training_goes_on(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = run(capsys, "train", "stage.yaml", "--out", "training", "--resume", "--cpu")
    assert trained["steps"] == 4
    steps = [json.loads(line)["step"] for line in (written / "training" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    answer = run(capsys, "ask", QUESTION, "--memory", "memory", "--camera", "yard", "--model", trained["model"])
    assert answer["provenance"]["trained"] is True
