"""Which files of weights are taken, and checkpoints that torch.save wrote: read without running code."""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from afterview.model.base.checkpoint_files import INDEX_FILE, SINGLE_FILE
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint, HubUnreachable
from afterview.model.checkpoint.hub import Directory, HubModel, is_cached
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.checkpoint.weights import open_tensors, weights_file
from tests.support.checkpoints import TIED, UNTIED, copied

TORCH_FILE, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def test_of_several_files_transformers_order_counts_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A newer single file beside the shards of an older save: transformers takes the single file."""
    place = copied(TIED, tmp_path)
    tensors = load_file(place / SINGLE_FILE)
    old = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    save_file(old, place / "model-00001-of-00001.safetensors")
    shards = dict.fromkeys(old, "model-00001-of-00001.safetensors")
    (place / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    torch.save(old, place / TORCH_FILE)
    model = load_pretrained(place, device="cpu")
    assert torch.equal(model.video_language.newline, tensors["model.image_newline"])
    assert f"taken from {SINGLE_FILE}, as transformers does; not read: {INDEX_FILE}, {TORCH_FILE}" in caplog.text


def test_saving_leaves_no_stale_file_that_would_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = load_pretrained(TIED, device="cpu"), load_pretrained(TIED, device="cpu")
    with torch.no_grad():
        second.video_language.newline += 1
    save_pretrained(first, tmp_path)  # one file, which would hide the shards
    monkeypatch.setattr("afterview.model.checkpoint.saving.SHARD_SIZE", "500KB")
    save_pretrained(second, tmp_path)
    assert weights_file_in(tmp_path) == INDEX_FILE
    assert torch.equal(load_pretrained(tmp_path, device="cpu").video_language.newline, second.video_language.newline)
    monkeypatch.setattr("afterview.model.checkpoint.saving.SHARD_SIZE", "1GB")
    (tmp_path / TORCH_FILE).write_bytes(b"old")
    save_pretrained(first, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("model*")) == [SINGLE_FILE]
    assert torch.equal(load_pretrained(tmp_path, device="cpu").video_language.newline, first.video_language.newline)


def weights_file_in(place: Path) -> str | None:
    return weights_file(Directory(place))


class Cache:
    """A hub that does not answer: only what is in the cache is found."""

    name = "owner/name"

    def __init__(self, *files: str) -> None:
        self._files = files

    def find(self, file: str) -> Path | None:
        if file not in self._files:
            raise HubUnreachable(f"{file} is not in the cache")
        return Path(file)


def test_without_the_hub_what_is_in_its_cache_is_taken() -> None:
    assert weights_file(Cache(INDEX_FILE)) == INDEX_FILE
    assert weights_file(Cache(SINGLE_FILE, INDEX_FILE)) == SINGLE_FILE
    with pytest.raises(HubUnreachable, match=r"model\.safetensors is not in the cache"):
        weights_file(Cache())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_torch_checkpoint_is_read(tmp_path: Path, zipped: bool) -> None:
    place = copied(TIED, tmp_path)
    torch.save(load_file(place / SINGLE_FILE), place / TORCH_FILE, _use_new_zipfile_serialization=zipped)
    (place / SINGLE_FILE).unlink()
    assert load_pretrained(place, device="cpu").weights_hash == load_pretrained(TIED, device="cpu").weights_hash


def test_torch_shards_are_read(tmp_path: Path) -> None:
    place = copied(UNTIED, tmp_path)
    tensors = load_file(place / SINGLE_FILE)
    shard_of = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(sorted(tensors))}
    for shard in set(shard_of.values()):
        torch.save({name: tensor for name, tensor in tensors.items() if shard_of[name] == shard}, place / shard)
    (place / TORCH_INDEX).write_text(json.dumps({"weight_map": shard_of}))
    (place / SINGLE_FILE).unlink()
    assert load_pretrained(place, device="cpu").weights_hash == load_pretrained(UNTIED, device="cpu").weights_hash


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    place, proof = copied(TIED, tmp_path), tmp_path / "ran"

    class Code:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (proof,))

    torch.save({"model.norm.weight": Code()}, place / TORCH_FILE)
    (place / SINGLE_FILE).unlink()
    with pytest.raises(
        CheckpointError, match="holds Python objects besides tensors, which are not read; convert it to safetensors"
    ):
        open_tensors_in(place)
    assert not proof.exists()


def open_tensors_in(place: Path) -> object:
    return open_tensors(Directory(place))


@pytest.mark.parametrize("content", [b"", b"not a pickle", None], ids=["empty", "other", "truncated"])
def test_a_damaged_torch_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    place = copied(TIED, tmp_path)
    torch.save(load_file(place / SINGLE_FILE), place / TORCH_FILE)
    (place / SINGLE_FILE).unlink()
    whole = (place / TORCH_FILE).read_bytes()
    (place / TORCH_FILE).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises((DamagedCheckpoint, CheckpointError), match=r"pytorch_model\.bin"):
        open_tensors_in(place)


def test_a_torch_file_of_something_else_is_refused(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path)
    (place / SINGLE_FILE).unlink()
    torch.save({"state": {"model.norm.weight": torch.zeros(2)}, "epoch": 3}, place / TORCH_FILE)
    with pytest.raises(CheckpointError, match="instead of tensors by name"):
        open_tensors_in(place)


def test_what_the_hub_said_it_has_not_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the network, a model whose optional files do not exist is complete in the cache of the hub's client."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "snapshots" / "abc" / "config.json").write_text("{}")
    (repository / ".no_exist" / "abc").mkdir(parents=True)
    (repository / ".no_exist" / "abc" / "generation_config.json").touch()
    model = HubModel("owner/name")
    assert model.find("generation_config.json") is None
    assert model.find("config.json") == repository / "snapshots" / "abc" / "config.json"
    with pytest.raises(HubUnreachable):
        model.find("model.safetensors")
    assert is_cached(model, "config.json")
    assert not is_cached(model, "generation_config.json")
