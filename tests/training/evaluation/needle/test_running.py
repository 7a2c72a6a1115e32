"""A needle search from beginning to end with the built-in model: kept, continued, drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.cli.main import main
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.base.errors import BenchmarkError, ResultsError
from afterview.training.evaluation.needle import running
from afterview.training.evaluation.needle.asking import NeedleAsker, Said
from afterview.training.evaluation.needle.haystack import Table, make_table
from afterview.training.evaluation.needle.items import world_items
from afterview.training.evaluation.needle.plan import Asked, NeedleTest, Way
from afterview.training.evaluation.needle.report import markdown

BANK = 40


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny")


@pytest.fixture(scope="module")
def table(model: AfterviewModel, tmp_path_factory: pytest.TempPathFactory) -> Table:
    return make_table(world_items(0, 4, 1, (1,)), model.encoders, tmp_path_factory.mktemp("table"), bank=BANK)


def search(model: AfterviewModel, directory: Path, test: NeedleTest, seed: int = 0) -> dict[str, object]:
    items = world_items(seed, test.items, test.multi, test.hops)
    return running.search(test, model, "tiny", items, directory, command=["afterview", "evaluate", "needle"])


def small(**changes: object) -> NeedleTest:
    usual = {
        "lengths": (200,),
        "depths": (0.0, 1.0),
        "items": 4,
        "multi": 1,
        "hops": (1,),
        "bank": BANK,
        "scoring": "options",
    }
    return NeedleTest(**(usual | changes))  # type: ignore[arg-type]


def test_a_search_is_kept_continued_and_drawn(
    model: AfterviewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = small()
    document = search(model, tmp_path, test)
    assert (document["items"], document["answered"], document["complete"]) == (10, 10, True)
    needle = document["needle"]
    assert isinstance(needle, dict)
    (way,) = needle["single"]
    assert way["accuracy"] >= 0.75, "what the built-in model knows"
    assert way["asked"] == 8
    assert way["low"] < way["accuracy"]
    assert "| 200 | 1 |" in markdown(needle)
    with Image.open(tmp_path / "heatmap-bounded-interpolate.png") as picture:
        assert picture.width >= 640

    lines = (tmp_path / "items.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "items.jsonl").write_bytes(b"".join(lines[:7]) + lines[7][:20])  # killed while it wrote
    monkeypatch.setattr(type(model.vision), "encode", None)  # nothing is encoded again
    asked: list[str] = []
    ask = NeedleAsker.ask

    def note(self: NeedleAsker, rows: NDArray[np.int64], one: Asked) -> Said:
        asked.append(one.text)
        return ask(self, rows, one)

    monkeypatch.setattr(NeedleAsker, "ask", note)
    again = search(model, tmp_path, test)
    assert len(asked) == 3
    assert again["needle"] == needle

    more = search(model, tmp_path, small(lengths=(200, 300), tasks=("single",)))
    assert len(asked) == 3 + 8
    assert more["answered"] == 18, "cells can be added, and those of the chain stay"
    added = more["needle"]
    assert isinstance(added, dict)
    assert added["multi"] == needle["multi"]
    assert [row["frames"] for row in added["single"][0]["lengths"]] == [200, 300]
    assert added["chance"] == {"needle": 0.25, "caption": 0.25, "both": 0.0625}
    with pytest.raises(ResultsError, match="data is"):
        search(model, tmp_path, test, seed=1)
    with pytest.raises(ResultsError, match="scoring"):
        search(model, tmp_path, small(scoring="letter"))


def test_damaged_features_are_named(model: AfterviewModel, tmp_path: Path) -> None:
    items = world_items(0, 1, 1, (1,))
    make_table(items, model.encoders, tmp_path, bank=16)
    part = next(tmp_path.glob("haystack-*/*.safetensors"))
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(BenchmarkError, match="remove it"):
        make_table(items, model.encoders, tmp_path, bank=16)


def test_a_haystack_has_the_pictures_before_their_frames(table: Table) -> None:
    key, other = "single-0", "single-1"
    rows = table.haystack(100, [(20, key), (100, other)])
    assert len(rows) == 102
    assert rows[20] == table.first[key]
    assert rows[101] == table.first[other]
    assert rows[19] == 19
    assert rows[21] == 20
    assert rows[61] == 60 % BANK
    assert np.count_nonzero(rows >= table.background) == 2


def test_where_clips_are_encoded_a_picture_is_a_clip_at_a_border(table: Table) -> None:
    clips = Table(table.tokens, table.vectors, BANK, {"a": BANK, "b": BANK + 4}, unit=4)
    rows = clips.haystack(80, [(30, "a"), (80, "b")])
    assert rows[28:32].tolist() == [BANK, BANK + 1, BANK + 2, BANK + 3]
    assert rows[-4:].tolist() == [BANK + 4, BANK + 5, BANK + 6, BANK + 7]
    assert len(rows) == 88


def test_full_recall_sees_what_bounded_recall_sees_while_all_fits(model: AfterviewModel, table: Table) -> None:
    item = world_items(0, 4, 1, (1,)).single[1]
    rows = table.haystack(100, [(50, item.pictures[0])])
    answers = [
        NeedleAsker(model, Way(mode, "true"), table, "options").ask(rows, item.asked[0]) for mode in ("bounded", "full")
    ]
    assert answers[0] == answers[1]
    assert answers[0].recalled == 1.0


def test_decayed_frames_alone_do_not_show_the_needle(model: AfterviewModel, table: Table) -> None:
    item = world_items(0, 4, 1, (1,)).single[0]
    rows = table.haystack(400, [(201, item.pictures[0])])
    assert NeedleAsker(model, Way("decayed", "true"), table, "options").ask(rows, item.asked[0]).recalled == 0.0


@pytest.mark.parametrize("policy", ["true", "interpolate", "rank"])
def test_every_policy_answers_beyond_the_trained_length(model: AfterviewModel, table: Table, policy: str) -> None:
    item = world_items(0, 4, 1, (1,)).single[0]
    rows = table.haystack(13_000, [(6000, item.pictures[0])])
    said = NeedleAsker(model, Way("bounded", policy), table, "options").ask(rows, item.asked[0])  # type: ignore[arg-type]
    assert said.letter == item.asked[0].letter


def test_a_model_that_names_one_letter_in_every_answer_is_right_by_chance_only() -> None:
    from afterview.training.evaluation.choices import chosen

    items = world_items(0, 140, 1).single
    always = [chosen("A", item.asked[0].options) == item.asked[0].letter for item in items]
    assert 0.15 < sum(always) / len(always) < 0.4
    everything = [chosen("A, B, C or D", item.asked[0].options) for item in items]
    assert set(everything) == {None}


def test_whoever_takes_any_picture_without_a_clue_for_the_last_one_is_found_out(
    model: AfterviewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both questions are right in half of the chains then, far above chance, and no clue was followed."""
    flips = iter(range(1000))

    def guess(asker: NeedleAsker, rows: object, asked: Asked) -> Said:
        decoy = next(flips) // 2 % 2 == 1  # of every second chain, in both questions
        wrong = asked.decoy or next(letter for letter in asked.options if letter != asked.letter)
        letter = wrong if decoy else asked.letter
        return Said(letter, letter, letter, 1.0)

    monkeypatch.setattr(NeedleAsker, "ask", guess)
    search(model, tmp_path, small(tasks=("multi",), multi=10))
    needle = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["needle"]
    (hop,) = needle["multi"][0]["hops"]
    assert (hop["both"]["accuracy"], hop["caption"]["accuracy"], hop["decoy"]["accuracy"]) == (0.5, 0.5, 0.5)
    assert "| caption of the decoys' end |" in markdown(needle)


def test_items_beyond_the_limit_and_a_short_haystack_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And again where nothing is left to ask, so nothing is encoded."""
    data, film, out = (tmp_path / name for name in ("data", "film", "out"))
    data.mkdir()
    film.mkdir()
    question = "Find the card. Which colour? (A) red (B) blue"
    for number in range(3):
        Image.new("RGB", (32, 32), (0, 0, 80 * number)).save(data / f"{number}.png")
        Image.new("RGB", (32, 32), (0, 80 * number, 0)).save(film / f"{number}.png")
    rows = [{"question": question, "answer": "A", "image": f"{number}.png"} for number in range(3)]
    (data / "items.json").write_text(json.dumps(rows))
    monkeypatch.setattr(NeedleAsker, "ask", lambda asker, rows, asked: Said("A", "A", "A", 1.0))
    command = ["evaluate", "needle", "--model", "tiny", "--data", str(data), "--haystack", str(film), "--out", str(out)]
    command += ["--frames", "100", "--depths", "0.5", "--bank", "16"]
    for _ in range(2):
        assert main([*command, "--items", "1"]) == 0
        said = capsys.readouterr().out
        assert "not asked: 2 items of task single; --items" in said
        assert "haystack: it has 3 frames, which are repeated; --bank asks for 16" in said
    assert main([*command, "--items", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["items_not_asked"] == {"single": 1, "multi": 0}
    assert document["haystack"] == {"bank": 16, "frames": 3}


@pytest.mark.parametrize("option", ["--data", "--haystack"])
def test_results_do_not_go_where_data_are_read(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    there = {"--data": str(tmp_path), "--haystack": str(tmp_path), option: str(tmp_path / "a")}
    options = [word for pair in there.items() for word in pair]
    assert main(["evaluate", "needle", "--model", "tiny", *options, "--out", str(tmp_path / "a" / ".." / "a")]) == 2
    assert f"is the directory of {option}" in capsys.readouterr().err


def test_results_are_json(model: AfterviewModel, tmp_path: Path) -> None:
    search(model, tmp_path, small(tasks=("single",), depths=(0.5,), items=2))
    document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert document["kind"] == "needle"
    assert document["needle"]["single"][0]["cells"][0]["frames"] == 200
    assert document["groups"]["depth"].keys() == {"0.5"}


@pytest.mark.thorough
def test_the_built_in_model_follows_a_clue_and_not_the_decoys(model: AfterviewModel, tmp_path: Path) -> None:
    search(model, tmp_path, small(tasks=("multi",), multi=24), seed=2)
    needle = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["needle"]
    (hop,) = needle["multi"][0]["hops"]
    assert hop["both"]["accuracy"] >= 0.5, "by chance 0.0625; a model that takes any picture without a clue: 0.5"
    assert hop["decoy"]["accuracy"] <= 0.3, "such a model: 0.5"
