"""Evaluation: which answers are right, intervals, tables, and the command from a rendered video to the figures."""

import json
from pathlib import Path

import pytest

from afterview.cli.commands.evaluate_world import parse_seeds
from afterview.cli.main import main
from afterview.configs import ConfigError, UsageError
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.base.errors import BenchmarkError, WorldError
from afterview.training.evaluation.intervals import Share
from afterview.training.evaluation.judge import clock_seconds, is_right, length_seconds, plain, says_not_seen
from afterview.training.evaluation.needle.plan import NeedleTest
from afterview.training.evaluation.plan import WorldTest, questions_for
from afterview.training.evaluation.tables import Outcome, markdown, summary
from afterview.training.evaluation.worlds import with_recall
from afterview.training.world import WorldQuestion, read_truth
from afterview.training.world.facts import KINDS


def question(kind: str, answer: str, **changes: object) -> WorldQuestion:
    """A question with its truth."""
    values = {"kind": kind, "text": "?", "answer": answer, "wrong": ("x", "y"), "at_s": 100.0}
    return WorldQuestion.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("kind", "truth", "value", "said", "right"),
    [
        ("colour", "red", None, " Red.", True),
        ("colour", "red", None, "blue", False),
        ("when", "00:01:00", 60.3, "00:01:05", True),
        ("when", "00:01:00", 60.3, "00:01:06", False),
        ("when", "not seen", None, "00:01:06", False),
        ("when", "00:01:00", 60.3, "not seen", False),
        ("last", "01:00:00", 3600.0, "00:59:56", True),
        ("duration", "3 seconds", 3.0, "2 seconds", True),
        ("duration", "3 seconds", 3.0, "5 seconds", False),
        ("gap", "10 minutes", 600.0, "10 minutes 50 seconds", True),
        ("gap", "10 seconds", 10.0, "16 seconds", False),
        ("count", "3", 3.0, "4", False),
        ("exists", "yes", None, "yes it was", False),
    ],
)
def test_an_answer_is_right_within_the_tolerance_of_its_kind(
    kind: str, truth: str, value: float | None, said: str, right: bool
) -> None:
    assert is_right(question(kind, truth, value=value), said) is right


def test_a_letter_is_not_a_time() -> None:
    chosen = question("when", "B", value=60.0, multiple_choice=True)
    assert is_right(chosen, "b")
    assert not is_right(chosen, "00:01:00")


def test_times_and_lengths_are_read_from_text() -> None:
    assert clock_seconds("at 01:02:03") == 3723
    assert clock_seconds("soon") is None
    assert length_seconds("1 hour 2 seconds") == 3602
    assert length_seconds("less than a second") == 0
    assert length_seconds("long") is None
    assert plain("  Not   seen. ") == "not seen"
    assert says_not_seen("No.")
    assert says_not_seen("I did not see the red ring")  # as a look says it
    assert not says_not_seen("nothing")


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"), [(9, 10, 0.596, 0.982), (0, 20, 0.0, 0.161), (50, 50, 0.929, 1.0)]
)
def test_intervals_are_wilsons(right: int, asked: int, low: float, high: float) -> None:
    assert Share(right, asked).interval == pytest.approx((low, high), abs=5e-4)


def test_nothing_asked_gives_no_figure_and_the_widest_interval() -> None:
    assert Share(0, 0).to_dict() == {"accuracy": None, "low": 0.0, "high": 1.0, "asked": 0}


def test_the_summary_counts_kinds_evidence_denials_and_mistakes() -> None:
    red = question("colour", "red", spans=((10.0, 13.0),), wrong=("blue", "green", "not seen"))
    unseen = question("colour", "not seen", seen=False)
    outcomes = [
        Outcome(1, 100, "bounded", red, "red", 12.0, 0.1),
        Outcome(1, 100, "bounded", red, "red", 13.0, 0.2),  # 13.0 is the first moment after the event
        Outcome(1, 100, "bounded", red, "blue", 12.0, 0.3),
        Outcome(1, 100, "bounded", unseen, "not seen", 50.0, 0.4),
        Outcome(1, 100, "bounded", unseen, "green", 50.0, 0.5),
    ]
    table = summary(outcomes)
    assert table["all"]["asked"] == 5
    assert table["worlds"] == {1: {"right": 3, "asked": 5}}
    assert table["kinds"]["colour"]["accuracy"] == 0.6
    assert table["kinds"]["colour"]["chance"] == pytest.approx((3 * 0.25 + 2 / 3) / 5, abs=1e-4)
    assert table["kinds"]["colour"]["majority"] == 0.6
    assert {"truth": "red", "said": "blue", "times": 1} in table["kinds"]["colour"]["mistakes"]
    assert (table["evidence"]["accuracy"], table["evidence"]["asked"]) == (0.5, 2)
    assert (table["not_seen"]["accuracy"], table["not_seen"]["asked"]) == (0.5, 2)
    assert "| colour | 0.60 |" in markdown(table)


def test_seeds_are_a_range_or_one() -> None:
    assert list(parse_seeds("3..5")) == [3, 4, 5]
    assert list(parse_seeds("7")) == [7]
    for wrong in ("a", "3..", "5..3", "3-5", ""):
        with pytest.raises(UsageError, match=r"100\.\.119"):
            parse_seeds(wrong)


def test_worlds_of_the_training_split_are_refused() -> None:
    with pytest.raises(WorldError, match="training split"):
        WorldTest([5, 2**32])


def test_questions_are_the_same_every_time_and_held_out_wordings_are_used_when_asked_for() -> None:
    test = WorldTest([5], frames=300, questions=20)
    footage = test.footage(5)
    assert questions_for(footage, test) == questions_for(footage, test)
    assert len(questions_for(footage, test)) == 20
    held_out = WorldTest([5], frames=300, questions=20, held_out_wordings=True)
    assert all(one.held_out_wording for one in questions_for(footage, held_out))


def test_reworded_questions_ask_the_same_in_other_words() -> None:
    test = WorldTest([5], frames=300, questions=20)
    footage, other = test.footage(5), WorldTest([5], frames=300, questions=20, reworded=True)
    usual, said = questions_for(footage, test), questions_for(footage, other)
    assert said == questions_for(footage, other)
    assert sum(one.text != two.text for one, two in zip(usual, said, strict=True)) > 10
    assert [one.model_copy(update={"text": two.text}) for one, two in zip(usual, said, strict=True)] == said


def test_choices_are_lettered_and_judged_by_the_letter() -> None:
    test = WorldTest([5], frames=300, questions=20, choices=4)
    asked = questions_for(test.footage(5), test)
    assert len(asked) >= 15
    assert all(one.multiple_choice and one.answer in "ABCD" and "\nB. " in one.text for one in asked)
    assert summary([Outcome(5, 300, "bounded", one, one.answer, None, 0.1) for one in asked])["all"]["accuracy"] == 1.0


def test_recall_modes_change_only_what_is_recalled() -> None:
    model = load_pretrained("tiny", device="cpu")
    decayed = with_recall(model, "decayed").preset
    assert decayed.recall.budget == decayed.forgetting.max_frames
    assert with_recall(model, "full").preset.recall.budget > 86_400
    assert with_recall(model, "bounded") is model


def test_another_budget_keeps_the_share_that_the_index_brings() -> None:
    model = load_pretrained("tiny", device="cpu")
    own = model.preset.recall
    recall = with_recall(model, str(own.budget // 4)).preset.recall
    assert (recall.budget, recall.nearest) == (own.budget // 4, own.nearest // 4)
    assert (recall.window, recall.neighbours) == (own.window, own.neighbours)
    with pytest.raises(ConfigError, match="--recall 7: the model keeps 8 frames visible; give at least as many"):
        with_recall(model, "7")


@pytest.mark.parametrize("mode", ["some", "0", "064", "10001", "-5", "6.4", "", "²"])
def test_what_is_neither_a_mode_nor_a_budget_is_refused(mode: str) -> None:
    with pytest.raises(BenchmarkError, match="--recall"):
        WorldTest([5], recall=("bounded", mode))
    with pytest.raises(BenchmarkError, match="--recall"):
        NeedleTest(recall=(mode,))


@pytest.mark.thorough
def test_evaluate_world_from_pixels_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped weights on unseen worlds, through H.264 and ingest. The required accuracy is low because the sample is small."""
    command = ["evaluate", "world", "--seeds", "40", "--frames", "90", "--questions", "16", "--json"]
    command += ["--kinds", "colour,shape,where,scene,exists", "--recall", "bounded,decayed", "--work", str(tmp_path)]
    assert main(command) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert "ingested" in captured.err
    bounded, decayed = document["recall"]["bounded"], document["recall"]["decayed"]
    assert bounded["all"]["asked"] == decayed["all"]["asked"] == 16
    assert (document["questions"], document["kinds"]) == (16, ["colour", "shape", "where", "scene", "exists"])
    assert document["weights"] == load_pretrained("tiny", device="cpu").weights_hash
    assert bounded["all"]["accuracy"] >= 0.75
    assert decayed["all"]["accuracy"] < bounded["all"]["accuracy"]  # the answers come from the memory
    script, _ = read_truth(tmp_path / "world-40-90-seen.truth.json")
    assert script.seed == 40
    assert main(command) == 0
    again = capsys.readouterr()
    assert "ingested" not in again.err
    assert json.loads(again.out)["recall"]["bounded"]["all"] == bounded["all"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kinds", "taste"], "there is no such kind"),
        (["--kinds", "camera"], "as 'camera' about worlds"),
        (["--kinds", "colour", "--world", "cameras"], "there are: camera, first camera, next camera, on camera"),
        (["--choices", "3", "--world", "cameras"], "every camera answers separately"),
        (["--choices", "9"], "2 to 8 answers"),
        (["--recall", "some"], "choose from bounded, full, decayed"),
        (["--seeds", "4294967296"], "training split"),
        (["--seeds", "\u00b2"], "give a range such as 100..119"),
        (["--questions", "0"], "--questions 0: must be at least 1"),
        (["--frames", "0"], "0 frames: a world has 10 to 86400"),
        (["--work", __file__], "is not a directory; give a directory"),
    ],
)
def test_evaluate_refuses_what_cannot_be_measured(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "world", "--frames", "60", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_world_make_writes_a_video_its_truth_and_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "story.mp4"
    arguments = [
        "world",
        "make",
        str(path),
        "--seed",
        "3",
        "--for",
        "40s",
        "--size",
        "128x72",
        "--rate",
        "2",
        "--questions",
        "4",
        "--json",
    ]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert path.stat().st_size > 1000
    assert len(document["questions"]) == 4
    assert {one["kind"] for one in document["questions"]} <= set(KINDS)
    script, facts = read_truth(Path(document["truth"]))
    assert (script.seed, script.duration_s) == (3, 40.0)
    assert facts is not None
    assert facts.rate == 2
    size, written = path.stat().st_size, set(tmp_path.iterdir())
    short = ["--for", "10s", "--size", "64x36", "--rate", "1"]
    for refused, message in (
        ([str(path), "--size", "large"], "640x360"),
        ([str(path), *short, "--questions", "2", "--kinds", "taste"], "no question is of kind 'taste'"),
        ([str(path), *short, "--questions", "2", "--choices", "99"], "2 to 8 answers"),
        ([str(path), *short, "--questions", "2", "--annotations", str(path)], "is the video's own file"),
        ([str(path), *short, "--questions", "2", "--annotations", document["truth"]], "or that of its truth"),
        ([str(tmp_path), *short], "is a directory; give the name of a file"),
        ([str(path), *short, "--rate", "0"], "--rate 0: give frames per second"),
    ):
        assert main(["world", "make", *refused]) == 2
        assert message in capsys.readouterr().err
    assert main(["world", "make", str(tmp_path / "other.avi7"), *short]) == 2
    assert f"{tmp_path}/other.avi7: give a name that ends in .mp4" in capsys.readouterr().err
    assert (path.stat().st_size, set(tmp_path.iterdir())) == (size, written)
    assert main(["world", "make", str(tmp_path / "no" / "story.mp4")]) == 2
