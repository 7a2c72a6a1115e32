"""The weights of a pair: pulled, checked, loaded and removed by its preset file, from a hub that speaks the real protocol."""

import json
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from afterview.cli.main import main
from afterview.cli.models import require_weights
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.preset import find_preset
from afterview.model.download.needed import NeededModel, needed_models
from afterview.model.download.own_presets import own_presets_path
from tests.support.hub_model import cache, hub
from tests.support.hub_server import COMMIT, HubServer
from tests.support.pairs import change_config, files_of, in_shards_by_tower, qwen, siglip, write_pair

__all__ = ["cache", "hub"]

ENCODER, DECODER, INDEX = "google/siglip2-tiny", "Qwen/Qwen2.5-tiny", "google/siglip-index"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of a SigLIP with its text tower in a shard of its own, of another one, and of a Qwen."""
    root = tmp_path_factory.mktemp("made")
    in_shards_by_tower(siglip(root / "siglip")), siglip(root / "index", side=32, patch=8), qwen(root / "qwen", rows=272)
    extra = {"README.md": b"# A model", "preprocessor_config.json": b"{}"}
    return {
        repo: files_of(root / name) | extra for repo, name in ((ENCODER, "siglip"), (INDEX, "index"), (DECODER, "qwen"))
    }


@pytest.fixture
def pairs(hub: HubServer, made: dict[str, dict[str, bytes]]) -> HubServer:
    for repo, files in made.items():
        hub.models[repo], hub.commits[repo] = dict(files), COMMIT
    return hub


def pair(root: Path, **changes: Any) -> Path:
    return write_pair(root, **({"encoder": ENCODER, "decoder": DECODER, "index_encoder": INDEX} | changes))


def document(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_pair_is_pulled_checked_loaded_without_a_network_and_removed(
    pairs: HubServer, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(pair(tmp_path))
    one = document(capsys, "models", "list", path)["presets"][0]
    assert (one["state"], one["sizes"], one["memory_bytes"]) == ("not here", None, None)
    assert one["missing"] == one["needed"] == [
        {"repo": ENCODER, "part": "encoder"}, {"repo": DECODER, "part": "decoder"}, {"repo": INDEX, "part": "index encoder"},
    ]  # fmt: skip
    assert not pairs.asked
    plan = document(capsys, "models", "pull", path, "--dry-run")
    assert [model["part"] for model in plan["models"]] == ["encoder", "decoder", "index encoder"]
    assert plan["missing_bytes"] == sum(file["bytes"] for model in plan["models"] for file in model["files"])
    assert [file["name"] for file in plan["models"][0]["files"]] == [
        "config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"
    ]  # fmt: skip
    assert main(["models", "pull", path]) == 0
    assert "note: untrained: the projector and MemAug of pair" in capsys.readouterr().out
    sent = {name for name, count in pairs.sent.items() if count}
    assert "model-00002-of-00002.safetensors" in sent
    assert not sent & {
        "model-00001-of-00002.safetensors",
        "README.md",
        "preprocessor_config.json",
    }  # of the text tower alone
    encoder = next(cache.glob("models--google--siglip2-tiny/snapshots/*"))
    assert {file.name for file in encoder.iterdir()} == {
        "config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"
    }  # fmt: skip
    assert document(capsys, "models", "check", path)["whole"] is True
    one = document(capsys, "models", "list", path)["presets"][0]
    assert (one["state"], one["sizes"], one["untrained"]) == ("here", "computed", ["projector", "memaug"])
    assert one["disk_bytes_per_hour"] == 3600 * (64 * 32 * 2 + 32 * 4), "tokens, and embeddings of the index"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = load_pretrained(path, device="cpu")
    assert model.encoders.index.spec.resolution == 32
    assert main(["models", "remove", path, "--yes"]) == 0
    assert not list(cache.rglob("blobs/*"))


def test_what_another_preset_of_the_users_own_needs_stays(
    pairs: HubServer, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if it pins a revision, because all revisions are removed at once."""
    (tmp_path / "b").mkdir()
    first, second = str(pair(tmp_path)), str(pair(tmp_path / "b", encoder=f"{ENCODER}@{COMMIT}", index_encoder=ENCODER))
    assert main(["models", "pull", first]) == 0
    assert main(["models", "pull", second]) == 0
    capsys.readouterr()
    plan = document(capsys, "models", "remove", first, "--dry-run")
    assert plan["kept"] == [{"repo": ENCODER, "needed_by": second}, {"repo": DECODER, "needed_by": second}]
    assert [one["repo"] for one in plan["removed"]] == [INDEX]
    assert main(["models", "remove", first, "--dry-run"]) == 0
    assert f"{ENCODER}: stays, {second} needs it" in capsys.readouterr().out
    Path(second).unlink()
    assert document(capsys, "models", "remove", first, "--dry-run")["kept"] == []


def test_a_model_that_a_command_used_counts_although_nothing_was_pulled_for_it(
    pairs: HubServer, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(pair(tmp_path))
    assert main(["models", "pull", path]) == 0
    own = tmp_path / "own.yaml"
    own.write_text(f"name: own\ncheckpoint: {tmp_path}\nindex_encoder: {INDEX}\n")
    require_weights(str(own))
    require_weights(str(own))
    assert json.loads(own_presets_path().read_text()) == [path, str(own)]
    capsys.readouterr()
    assert document(capsys, "models", "remove", path, "--dry-run")["kept"] == [{"repo": INDEX, "needed_by": str(own)}]
    for odd in ("{", "[" * 100_000, '[7, null, "gone.yaml"]'):
        own_presets_path().write_text(odd)
        assert document(capsys, "models", "remove", path, "--dry-run")["kept"] == []


def test_revisions_of_both_parts(
    pairs: HubServer, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(pair(tmp_path, encoder=f"{ENCODER}@v2", decoder=f"{DECODER}@{COMMIT}", index_encoder=ENCODER))
    assert main(["models", "pull", path, "--revision", "v2"]) == 2
    assert "write the revision behind a hub id" in capsys.readouterr().err
    assert main(["models", "pull", path, "--yes"]) == 0
    assert (cache / "models--google--siglip2-tiny" / "refs" / "v2").exists()
    assert (cache / "models--google--siglip2-tiny" / "refs" / "main").exists()
    capsys.readouterr()
    asked = len(pairs.asked)
    model = load_pretrained(path, device="cpu")
    assert model.vision.spec.encoder == f"{ENCODER}@v2"
    assert len(pairs.asked) == asked
    removed = document(capsys, "models", "remove", path, "--yes")
    assert [one["repo"].partition("@")[0] for one in removed["removed"]] == [ENCODER, DECODER]


def test_an_encoder_that_is_the_index_encoder_too_is_needed_whole(tmp_path: Path) -> None:
    preset = find_preset(pair(tmp_path, index_encoder=ENCODER))
    assert needed_models(preset) == [NeededModel(ENCODER, "index encoder"), NeededModel(DECODER, "decoder")]


@pytest.mark.parametrize(
    ("part", "config", "message"),
    [
        ("encoder", {"model_type": "clip"}, "encoder: owner/wrong is a model of type clip, not a SigLIP"),
        ("decoder", {"model_type": "llama"}, "decoder: owner/wrong is a model of type llama, not a Qwen2"),
        ("decoder", {"model_type": "qwen2_5_vl"}, "decoder: owner/wrong is a vision-language model"),
    ],
)
def test_a_wrong_part_is_refused_before_its_weights_are_fetched(
    pairs: HubServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
    config: dict[str, Any],
    message: str,
) -> None:
    change_config(tmp_path / "wrong", **config)
    weights = {"model.safetensors": b"w" * 50_000, "generation_config.json": b"{}"}
    pairs.models["owner/wrong"], pairs.commits["owner/wrong"] = files_of(tmp_path / "wrong") | weights, COMMIT
    path = str(pair(tmp_path, **{part: "owner/wrong"}))
    assert main(["models", "pull", path, "--yes"]) == 2
    assert message in capsys.readouterr().err
    assert main(["models", "pull", path, "--dry-run"]) == 2
    assert not any(name.endswith(".safetensors") for name in pairs.sent)  # of the right part neither
    assert main(["models", "check", path]) == 1


def test_without_a_network_every_command_names_the_pull_at_once(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    path = str(pair(tmp_path))
    (tmp_path / "stage.yaml").write_text(json.dumps({"model": path}))
    for command in (
        ["train", str(tmp_path / "stage.yaml"), "--out", str(tmp_path / "out")],
        ["evaluate", "world", "--model", path],
        ["replay", str(tmp_path / "stage.yaml"), "--memory", str(tmp_path / "memory"), "--model", path],
    ):
        began = time.monotonic()
        assert main(command) == 1, command
        assert time.monotonic() - began < 5  # a second on a quiet machine
        said = capsys.readouterr().err
        assert (
            f"encoder ({ENCODER}); decoder ({DECODER}); index_encoder ({INDEX})" in said.replace("\n", " ")
            or command[0] == "train"
        )
        assert f"`afterview models pull {path}` fetches them" in said
