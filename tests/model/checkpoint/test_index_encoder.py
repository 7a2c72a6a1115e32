"""The index encoder of a local checkpoint that names none: needed only to search, given by the caller, remembered by the memory."""

import json
from pathlib import Path

import huggingface_hub
import pytest

import afterview
from afterview.cli.main import main
from afterview.model.base.errors import CheckpointError, HubUnreachable, InputMismatch
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.preset import DEFAULT_INDEX_ENCODER, PRESET_FILE
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.vision.no_index import NO_INDEX
from afterview.training.data.features import FeatureBank
from tests.support.clips import make_clip
from tests.support.presets import write_preset


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """`model`: a checkpoint as published, without a preset. `index`: an index encoder elsewhere. `clip.mp4`."""
    save_pretrained(load_pretrained(write_preset(tmp_path), device="cpu"), tmp_path / "model")
    (tmp_path / "model" / "index_encoder").rename(tmp_path / "index")
    (tmp_path / "model" / PRESET_FILE).unlink()
    make_clip(tmp_path / "clip.mp4", frames=20, rate=10)
    return tmp_path


def test_extracting_features_needs_no_index_encoder(place: Path) -> None:
    assert (
        main(["extract", str(place / "clip.mp4"), "--model", str(place / "model"), "--out", str(place / "bank")]) == 0
    )
    spec = load_encoders(place / "model", with_index=False).feature_spec
    bank = FeatureBank(place / "bank")
    assert bank.spec.tokens == spec.tokens
    assert bank.spec.index.encoder == NO_INDEX
    bank.require(load_encoders(place / "model", index_encoder=str(place / "index")).feature_spec)
    with pytest.raises(InputMismatch, match="without an index encoder"):
        load_encoders(place / "model", with_index=False).index.encode_texts(["a"])


def test_an_unreachable_hub_is_said_with_model_key_and_remedy(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["replay", str(place / "clip.mp4"), "--model", str(place / "model"), "--memory", str(place / "memory")]
    assert main(command) == HubUnreachable.exit_status
    said = capsys.readouterr().err
    for part in (str(place / "model"), f"index_encoder ({DEFAULT_INDEX_ENCODER}, the default)", "`afterview models pull ",
                 "--index-encoder", "index_encoder in a preset file"):  # fmt: skip
        assert part in said


def test_a_missing_index_directory_is_said_with_key_and_remedy(place: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"model '.*model': its index_encoder \(/nowhere.*\): .*no such directory.*--index-encoder",
    ):
        load_encoders(place / "model", index_encoder="/nowhere")


@pytest.mark.thorough
def test_the_memory_remembers_the_index_encoder_that_was_given(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)  # a relative directory is kept as an absolute one
    memory = ["--memory", str(place / "memory")]
    given = ["--model", "model", "--index-encoder", "index", "--start", "2025-01-01", "--fps", "5"]
    assert main(["replay", "clip.mp4", "--camera", "door", *given, *memory]) == 0
    monkeypatch.chdir("/")
    assert main(["ask", "What now?", *memory, "--json"]) == 0
    assert main(["search", "a thing", *memory, "--json"]) == 0
    assert main(["replay", str(place / "clip.mp4"), "--camera", "door", "--start", "2025-01-02", *memory]) == 0
    assert len(afterview.search(place / "memory", "a thing", top=2).hits) == 2
    assert afterview.ask(place / "memory", "What now?").coverage[0].frames == 20
    capsys.readouterr()
    assert main(["ask", "What now?", *memory, "--index-encoder", str(place / "index"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] is not None
