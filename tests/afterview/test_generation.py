"""How answers are generated: generation_config.json, the options of `ask`, the Python API, and what a saved answer keeps of it."""

import json
from pathlib import Path
from typing import Any

import pytest

import afterview
from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.saving import save_pretrained
from tests.afterview.cli.test_presets import replay
from tests.support.clips import make_clip
from tests.support.presets import write_preset

QUESTION = "What now?"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of 20 frames, and the model that recorded it as a checkpoint that samples."""
    root = tmp_path_factory.mktemp("generation")
    save_pretrained(load_pretrained(write_preset(root, max_new_tokens=24), device="cpu"), root / "model")
    config = {"do_sample": True, "temperature": 3.0, "top_k": 0, "repetition_penalty": 1.1, "num_beams": 4}
    (root / "model" / "generation_config.json").write_text(json.dumps(config))
    replay(root / "model", make_clip(root / "clip.mp4", frames=20, rate=10), root / "memory")
    return root


@pytest.fixture(scope="module")
def model(place: Path) -> AfterviewModel:
    return load_pretrained(place / "model", device="cpu")


def asked(place: Path, model: AfterviewModel, **options: Any) -> str:
    return afterview.ask(place / "memory", QUESTION, model=model, **options).text


def test_sampled_answers_depend_on_the_seed_and_are_reproducible(place: Path, model: AfterviewModel) -> None:
    assert asked(place, model, seed=1) == asked(place, model, seed=1)
    assert asked(place, model, seed=1) != asked(place, model, seed=2)
    assert asked(place, model, seed=1, temperature=0) == asked(place, model, seed=2, temperature=0)


def test_an_answer_keeps_its_settings(place: Path, model: AfterviewModel) -> None:
    answer = afterview.ask(place / "memory", QUESTION, model=model, top_p=0.9, stop=["zz", "yy"], max_tokens=3)
    assert answer.parts[0].provenance["decoding"] == {
        "temperature": 3.0, "top_p": 0.9, "top_k": 0, "repetition_penalty": 1.1, "max_new_tokens": 3, "stop": ["zz", "yy"],
    }  # fmt: skip


def test_an_answer_ends_at_a_stop_text_and_after_max_tokens(place: Path, model: AfterviewModel) -> None:
    seed, whole = next((n, text) for n in range(20) if len(text := asked(place, model, seed=n)) > 8)
    stop = whole[4:6]
    assert asked(place, model, seed=seed, stop=stop) == whole[: whole.index(stop)].strip()
    assert len(asked(place, model, seed=seed, max_tokens=2)) <= 2  # tokens of this model are bytes


def test_settings_that_are_not_implemented_are_said_to_be_ignored(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_pretrained(place / "model", device="cpu")
    assert "generation_config.json: ignored, not implemented: num_beams: 4" in caplog.text


def test_a_file_that_says_do_sample_false_stays_greedy(place: Path, tmp_path: Path) -> None:
    save_pretrained(load_pretrained(place / "model", device="cpu"), tmp_path)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    assert (saved["do_sample"], saved["temperature"], saved["repetition_penalty"]) == (True, 3.0, 1.1)
    (tmp_path / "generation_config.json").write_text(json.dumps(saved | {"do_sample": False, "max_new_tokens": 7}))
    settings = load_pretrained(tmp_path, device="cpu").generation
    assert (settings.temperature, settings.top_k, settings.repetition_penalty) == (0.0, 0, 1.1)
    assert settings.max_new_tokens == 24  # the preset's takes precedence


def test_the_options_of_ask(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = ["--memory", str(place / "memory")]
    command = ["ask", QUESTION, *memory, "--json", "--seed", "5", "--temperature", "2.5", "--top-p", "0.8", "--top-k", "30",
               "--repetition-penalty", "1.2", "--max-tokens", "9", "--stop", "zz"]  # fmt: skip
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["provenance"]["decoding"] == {
        "temperature": 2.5, "top_p": 0.8, "top_k": 30, "repetition_penalty": 1.2, "max_new_tokens": 9, "stop": ["zz"],
    }  # fmt: skip
    assert first["options"]["top_p"] == 0.8
    assert main(["answers", first["id"], *memory, "--json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert saved["provenance"]["decoding"] == first["provenance"]["decoding"]
    assert saved["options"]["temperature"] == 2.5


@pytest.mark.parametrize(
    ("option", "value", "argument"),
    [("--temperature", "-1", "temperature"), ("--top-p", "0", "top_p"), ("--max-tokens", "0", "max_tokens")],
)
def test_values_out_of_range_are_named(
    place: Path, option: str, value: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", QUESTION, "--memory", str(place / "memory"), option, value]) == 2
    assert option in capsys.readouterr().err
    with pytest.raises(UsageError, match=f"^{argument}: "):
        afterview.ask(place / "memory", QUESTION, **{argument: float(value) if option == "--top-p" else int(value)})
