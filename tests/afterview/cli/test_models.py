"""`afterview models`: what it lists, fetches, checks, removes and measures."""

import json
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.configs import preset_names
from afterview.model.base.machine import Gpu, Machine, this_machine
from afterview.model.catalogue.catalogue import catalogue, fitting, sizes
from afterview.model.catalogue.measured import Speed, keep_speed, measured_path, read_speeds
from tests.support.hub_model import INDEX, OWN, SHARDS, cache, hub
from tests.support.hub_server import HubServer
from tests.support.siglip2 import write_siglip2

__all__ = ["cache", "hub"]

SPEED = Speed(2.0, 50.0, 3.0, 2, 36, "cpu", "float32", 2, 0.1, 1_700_000_000.0)


@pytest.fixture(autouse=True)
def _own_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def document(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, object]:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_every_preset_is_in_the_catalogue_with_sizes_that_its_geometry_gives() -> None:
    assert set(catalogue()) == set(preset_names())
    parameters = {
        name: need.parameters for name, entry in catalogue().items() if (need := sizes(entry, bytes_per_parameter=2))
    }
    # Of the published checkpoints, as their files and the papers state them.
    assert round(parameters["hour-llava-7b"] / 1e9, 3) == 8.676
    assert parameters["videochat-flash-7b"] == 7_922_617_856
    assert parameters["videochat-flash-2b"] == 2_071_502_336


def test_which_preset_fits_a_machine() -> None:
    assert fitting(141 * 10**9, 10**12)[0] == "hour-llava-7b"
    assert fitting(16 * 10**9, 10**12)[0] == "hour-llava-3b"
    assert fitting(4 * 10**9, 10**12) == ("search", None)
    assert fitting(None, 32 * 10**9) == ("search", "hour-llava-3b")
    assert fitting(None, 4 * 10**9) == ("search", None)
    assert fitting(None, 10**9) == (None, None)


def test_the_list_says_what_is_here_and_invents_no_speed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["preset"]: one for one in document(capsys, "models")["presets"]}  # type: ignore[attr-defined]
    assert found["tiny"]["state"] == "bundled"
    assert found["tiny"]["disk_bytes_per_hour"] == 3600 * (64 * 128 * 2 + 96 * 4)  # tokens, and embeddings of the index
    assert found["hour-llava-3b"]["disk_bytes_per_hour"] == 3600 * (64 * 1152 * 2 + 768 * 4)
    assert found["videochat-flash-2b"]["disk_bytes_per_hour"] == 3600 * (16 * 1024 * 2 + 768 * 4)
    assert found["hour-llava-3b"]["state"] == "not here"
    assert found["hour-llava-3b"]["sizes"] == "computed"
    assert all(one["speed"] is None for one in found.values())
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "afterview models pull hour-llava-3b" in text
    assert "speed: not measured here" in text
    keep_speed("hour-llava-3b", SPEED, this_machine())
    assert main(["models", "list"]) == 0
    text = capsys.readouterr().out
    assert "measured 2023-11-1" in text
    assert "scaled from 2 of 36 layers" in text


def test_a_speed_of_another_machine_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    other = Machine("a processor", 64, (), 10**12, 10**12, (Gpu("a GPU", 10**11, "1"),), "2.13")
    keep_speed("hour-llava-3b", SPEED, other)
    assert read_speeds(this_machine()) == ({}, {"hour-llava-3b"})
    assert read_speeds(other) == ({"hour-llava-3b": SPEED}, set())
    assert main(["models"]) == 0
    assert "measured before this machine, its GPU or torch changed" in capsys.readouterr().out
    measured_path().write_text('[1, {}, {"preset": 5}]')
    assert read_speeds(other) == ({}, set())
    measured_path().write_text("not JSON")
    assert read_speeds(other) == ({}, set())


def test_measuring_the_built_in_model_keeps_a_figure(capsys: pytest.CaptureFixture[str]) -> None:
    speed = document(capsys, "models", "measure", "tiny")["speed"]
    assert isinstance(speed, dict)
    assert 0 < speed["encode_s_per_frame"] < 30
    assert main(["models", "measure", "tinny"]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    kept, _ = read_speeds(this_machine())
    assert kept["tiny"].encode_s_per_frame == speed["encode_s_per_frame"]


def test_measuring_an_encoder_without_a_decoder_gives_a_pace_and_nothing_else() -> None:
    from afterview.model.catalogue.measure import measure

    entry = catalogue()["search"]
    assert entry.encoder is not None
    small = entry.encoder.model_copy(update={"width": 64, "layers": 1, "mlp_width": 64, "resolution": 32})
    speed = measure("search", entry.model_copy(update={"encoder": small}), device="cpu")
    assert 0 < speed.encode_s_per_frame < 10
    assert (speed.read_tokens_per_s, speed.answer_tokens_per_s, speed.decoder_layers) == (None, None, 0)


def test_pull_check_and_remove(hub: HubServer, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = document(capsys, "models", "pull", "own/model", "--dry-run")
    total = sum(len(data) for name, data in OWN.items() if name not in ("pytorch_model.bin", "README.md"))
    total += sum(map(len, INDEX.values()))
    assert plan["missing_bytes"] == total
    assert not cache.exists()
    assert main(["models", "check", "own/model"]) == 1
    assert "`afterview models pull own/model` fetches" in capsys.readouterr().out
    assert main(["models", "pull", "own/model", "--revision", "v2"]) == 0
    assert "use this revision as --model own/model@v2" in capsys.readouterr().out
    assert main(["models", "pull", "own/model"]) == 0
    assert "every checksum right" in capsys.readouterr().out
    assert document(capsys, "models", "check", "own/model")["whole"] is True
    next(cache.rglob(SHARDS[1])).resolve().write_bytes(b"damaged")
    assert main(["models", "check", "own/model"]) == 1
    assert f"damaged: {SHARDS[1]}: its bytes have another checksum" in capsys.readouterr().out
    assert main(["models", "pull", "own/model"]) == 0
    assert main(["models", "remove", "own/model", "--dry-run"]) == 0
    assert "nothing was changed (--dry-run)" in capsys.readouterr().out
    assert main(["models", "remove", "own/model"]) == 2
    assert "confirm with --yes" in capsys.readouterr().err
    removed = document(capsys, "models", "remove", "own/model", "--yes")
    assert isinstance(removed["freed_bytes"], int)
    assert removed["freed_bytes"] >= total
    assert not list(cache.rglob("blobs/*"))
    assert main(["models", "remove", "own/model", "--yes"]) == 0
    assert "nothing of own/model is in" in capsys.readouterr().out


def test_an_index_encoder_that_another_preset_needs_stays(
    hub: HubServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.models["jylins/hourllava-qwen25-3b-s3"] = dict(OWN)
    hub.commits["jylins/hourllava-qwen25-3b-s3"] = hub.commits["own/model"]
    assert main(["models", "pull", "hour-llava-3b"]) == 0
    assert main(["models", "pull", "own/model"]) == 0
    capsys.readouterr()
    found = {one["preset"]: one for one in document(capsys, "models")["presets"]}  # type: ignore[attr-defined]
    assert found["hour-llava-3b"]["state"] == "here"
    assert found["hour-llava-7b"]["state"] == "partly"
    removed = document(capsys, "models", "remove", "own/model", "--yes")
    assert removed["kept"] == [{"repo": "google/siglip-base-patch16-224", "needed_by": "hour-llava-3b"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pull", "tiny"], "is part of this package, and nothing of it comes from the hub"),
        (["pull", "hour-llava-3"], "did you mean 'hour-llava-3b'"),
        (["pull", "own/model", "--revision", "../../x"], "give the name of a branch or a tag, or a commit"),
        (["remove", "tiny", "--yes"], "is part of this package"),
        (["pull", "{directory}"], "lies in directories of this machine"),
    ],
)
def test_what_cannot_be_pulled(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "preset.yaml").write_text("name: mine\ncheckpoint: .\nindex_encoder: null\n")
    assert main(["models", *(text.format(directory=tmp_path) for text in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_at_a_terminal_it_asks(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    assert main(["models", "pull", "own/model", "-q"]) == 1
    assert "nothing was fetched" in capsys.readouterr().err
    assert not list(cache.rglob("blobs/*"))


@pytest.mark.parametrize("address", ["http://[::1", "ftp://hub", "nonsense", ""])
def test_an_address_that_is_no_hub(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert main(["models", "pull", "own/model"]) == 2
    assert "which is no address of a hub; give https://HOST" in capsys.readouterr().err


def test_search_is_pulled_alone_and_loaded_by_its_name(
    hub: HubServer, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from afterview.model.checkpoint.for_questions import load_for_questions

    name = "google/siglip2-base-patch16-224"
    hub.models[name] = {path.name: path.read_bytes() for path in write_siglip2(tmp_path / "siglip2").iterdir()}
    hub.commits[name] = hub.commits["own/model"]
    pulled = document(capsys, "models", "pull", "search")
    assert [one["repo"] for one in pulled["models"]] == [name]  # type: ignore[attr-defined]
    assert [path.name for path in cache.glob("models--*")] == ["models--google--siglip2-base-patch16-224"]
    found = {one["preset"]: one for one in document(capsys, "models")["presets"]}  # type: ignore[attr-defined]
    assert (found["search"]["state"], found["search"]["disk_bytes_per_hour"]) == ("here", 11_066_400)
    spec = load_for_questions("search", device="cpu").encoders.feature_spec
    assert (spec.model, spec.index.encoder) == ("search", name)
    assert document(capsys, "models", "check", "search")["whole"] is True
    removed = document(capsys, "models", "remove", "search", "--yes")["removed"]
    assert [one["repo"] for one in removed] == [name]  # type: ignore[attr-defined]
