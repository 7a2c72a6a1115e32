"""A checkpoint that cannot be written: said with place, reason and remedy, and never half accepted."""

import errno
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from afterview.memory.base.durable import unfinished_files
from afterview.model.base.errors import CheckpointError, NotSaved
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.saving import as_os_error, save_pretrained
from tests.support.checkpoints import TIED
from tests.support.full_disk import no_larger_files


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_without_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_pretrained(TIED, device="cpu")
    save_pretrained(model, tmp_path / "old")
    before = {path: path.read_bytes() for path in (tmp_path / "old").rglob("*") if path.is_file()}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(
        NotSaved, match=r"new: the checkpoint cannot be written: it needs .* GB, and 1e-06 GB are free; free some space"
    ):
        save_pretrained(model, tmp_path / "new")
    save_pretrained(model, tmp_path / "old")  # it replaces as much as it writes
    assert {path: path.read_bytes() for path in before} == before


def test_a_disk_that_fills_up_while_it_is_written_is_named(tmp_path: Path) -> None:
    model = load_pretrained(TIED, device="cpu")
    save_pretrained(model, tmp_path)
    with no_larger_files(100_000), pytest.raises(NotSaved, match=f"^{tmp_path}: the checkpoint cannot be written: "):
        save_pretrained(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"no config\.json"):  # not a mixture of old and new
        load_pretrained(tmp_path)
    assert not unfinished_files(tmp_path)
    save_pretrained(model, tmp_path)
    assert load_pretrained(tmp_path, device="cpu").weights_hash == model.weights_hash


def test_what_torch_says_of_a_full_disk_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_larger_files(10_000), pytest.raises(RuntimeError) as caught:
        torch.save(torch.zeros(100_000), tmp_path / "x.bin")
    for free, number in ((1000, errno.ENOSPC), (10**12, errno.EIO)):
        monkeypatch.setattr(shutil, "disk_usage", lambda place, free=free: Usage(10**13, 10**13 - free, free))
        understood = as_os_error(caught.value, tmp_path / "not" / "there")
        assert understood is not None
        assert understood.errno == number
    assert as_os_error(ValueError("x"), tmp_path) is None


def test_what_safetensors_and_tokenizers_say_of_a_full_disk_is_understood(tmp_path: Path) -> None:
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    understood = as_os_error(RuntimeError(said), tmp_path)
    assert understood is not None
    assert understood.errno == errno.ENOSPC
