"""SVBench: chains and paths of questions, odd ones among them, and the answers as the judge of its authors reads them."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.answer_files import write_answers
from afterview.training.evaluation.benchmarks.base import Options, Reading
from afterview.training.evaluation.benchmarks.registry import find_benchmark
from afterview.training.evaluation.results import ResultsWriter, Row, RunIdentity, read_rows
from afterview.training.world import World, make_script
from afterview.training.world.video import VideoFormat, write_video
from tests.support.benchmark_data import lay_out, svbench

SVBENCH = find_benchmark("svbench")
META = "Video_Name,Sort_of_Set,Source_of_Dataset\n"


def read(directory: Path, **options: Any) -> Reading:
    return SVBENCH.read(directory, Options(**options))


def chain(questions: Any, answers: Any, start: Any = 0.0, end: Any = 5.0) -> dict[str, Any]:
    own = {"questions": questions, "answers": answers}
    return {"images": [], "chain": own, "qac_timestamps_start": start, "qac_timestamps_end": end}


def test_a_chain_is_asked_in_turns_at_the_end_of_its_segment(tmp_path: Path) -> None:
    reading = read(svbench(tmp_path), split="dialogue")
    assert [(item.id, item.at_s, item.truth) for item in reading.items] == [
        ("dialogue --a_1 0 0", 4.5, "A ring."),
        ("dialogue --a_1 0 1", 4.5, "It is red."),
        ("dialogue --a_1 2 0", 9.0, "It went away."),
    ]
    first, second, other = reading.items
    assert first.prompt == first.question == "What is shown?"
    assert second.prompt == (
        "Earlier questions about the video, with their answers:\nQuestion: What is shown?\nAnswer: A ring.\n\n"
        "Question: Which colour is it?"
    )
    assert second.question == "Which colour is it?"  # frames are not recalled by the conversation
    assert other.prompt == other.question  # a chain stands alone
    assert [item.groups["turn"] for item in reading.items] == ["first", "later", "first"]
    assert first.groups["source"] == "Panda-70M"
    assert reading.problems["empty chain or path"] == 1
    assert len(reading.files) == 2


def test_a_path_carries_its_conversation_from_chain_to_chain(tmp_path: Path) -> None:
    reading = read(svbench(tmp_path), split="streaming")
    assert [(item.id, item.at_s) for item in reading.items] == [
        ("streaming --a_1 0 0", 4.5),
        ("streaming --a_1 0 1", 9.0),
    ]
    assert "Answer: It is red.\n\nQuestion: What happened next?" in reading.items[1].prompt
    assert not reading.problems
    assert [item.groups["set"] for item in read(tmp_path).items] == ["dialogue"] * 3 + ["streaming"] * 2


def test_the_files_may_lie_in_a_folder_of_the_name(tmp_path: Path) -> None:
    svbench(tmp_path / "SVBench")
    reading = read(tmp_path)
    assert len(reading.items) == 5
    assert reading.items[0].video == tmp_path / "SVBench" / "Video" / "--a_1.mp4"


def test_odd_chains_are_counted_and_left_out_whole(tmp_path: Path) -> None:
    chains = [
        chain(["Fine?"], ["Yes."], "0", "00:00:02.500"),  # times as texts
        chain(["Fine?", "And then?"], ["Yes."]),
        chain(["Fine?", " "], ["Yes.", "No."]),
        chain([], []),
        chain(["Fine?"], None),
        chain(["Fine?"], [""]),
        chain(["Fine?"], [7]),
        chain("Fine?", "Yes."),
        chain(["Fine?"], ["Yes."], 0, None),
        chain(["Fine?"], ["Yes."], "soon", 4),
        chain(["Fine?"], ["Yes."], 0, float("nan")),
        chain(["Fine?"], ["Yes."], True, 4),
        chain(["Fine?"], ["Yes."], 6, 4),
        {"chain": {}, "qac_timestamps_start": 0, "qac_timestamps_end": 4},
        {"chain": None},
        {},
        "no object",
        [chain(["Fine?"], ["Yes."])],
        chain(["Last?"], ["Yes."], 0, 3),
    ]
    files = {"Meta/Meta_EN/meta_test.csv": f"{META}v,Test,Ego4D\n", "Dialogue/Dialogue_EN/v.json": chains}
    reading = read(lay_out(tmp_path, files, ["Video/v.mp4"]), split="dialogue")
    assert [(item.id, item.at_s) for item in reading.items] == [("dialogue v 0 0", 2.5), ("dialogue v 18 0", 3.0)]
    assert {one["kind"]: one["count"] for one in reading.problems.to_dicts()} == {
        "time unreadable": 4, "no question": 3, "no answer published": 3, "empty chain or path": 3, "row is no object": 2,
        "questions, answers and times do not pair": 1, "segment ends before it begins": 1,
    }  # fmt: skip
    pairs = next(one for one in reading.problems.to_dicts() if one["kind"].endswith("do not pair"))
    assert pairs["examples"] == ["dialogue v 1: 2 questions, 1 answers, 2 times"]
    said = {item.id: "No." for item in reading.items}
    assert SVBENCH.answers is not None
    (chains,) = SVBENCH.answers(reading.items, said).values()
    assert [place for place, own in enumerate(chains) if own] == [0, 18]  # places stay: the judge counts them


def test_odd_paths_are_counted_and_left_out_whole(tmp_path: Path) -> None:
    def path(timestamps: Any) -> dict[str, Any]:
        return {"questions": ["First?", "Second?"], "answers": ["1", "2"], "timestamps": timestamps}

    paths = [
        path([[0, 4], ["4", 6.5]]),
        path([[0, 4]]),
        path(None),
        path([[0, 4], 6.5]),
        path([[0, 4], [4, 5, 6]]),
        path([[4, 6], [0, 4]]),  # the first answer would tell what comes after the second question
        {},
    ]
    files = {"Meta/Meta_EN/meta_test.csv": f"{META}v,Test,Ego4D\n", "Streaming/Streaming_EN/v.json": paths}
    reading = read(lay_out(tmp_path, files, ["Video/v.mp4"]), split="streaming")
    assert [(item.id, item.at_s) for item in reading.items] == [("streaming v 0 0", 4.0), ("streaming v 0 1", 6.5)]
    assert {one["kind"]: one["count"] for one in reading.problems.to_dicts()} == {
        "questions, answers and times do not pair": 2, "time unreadable": 2, "path goes back in time": 1, "empty chain or path": 1,
    }  # fmt: skip


def test_odd_rows_and_missing_files_are_counted(tmp_path: Path) -> None:
    rows = "v,Test,\nv,Test,\ngone,Test,\nbare,test,\ntrain,Train,\n,Test,\n../../v,Test,\nx/v,Test,\n..,Test,\nw,,\n"
    files = {
        "Meta/Meta_EN/meta_test.csv": META + rows,
        "Dialogue/Dialogue_EN/v.json": [chain(["Fine?"], ["Yes."])],
        "Dialogue/Dialogue_EN/w.json": {"chain": {}},
    }
    reading = read(lay_out(tmp_path, files, ["Video/v.mp4", "Video/w.mp4", "Video/bare.mp4"]), split="dialogue")
    assert [item.id for item in reading.items] == ["dialogue v 0 0"]
    assert reading.missing == ("Video/gone.*", "Dialogue/Dialogue_EN/bare.json")
    assert {one["kind"]: one["count"] for one in reading.problems.to_dicts()} == {
        "no name of a video": 4, "id used twice": 1, "video missing": 1, "file of questions missing": 1, "not of the test set": 1,
        "no list of chains or paths": 1,
    }  # fmt: skip
    (tmp_path / "Dialogue/Dialogue_EN/v.json").write_text("[{")
    with pytest.raises(BenchmarkError, match=r"v\.json: cannot be read .*download it again"):
        read(tmp_path, split="dialogue")
    (tmp_path / "Meta/Meta_EN/meta_test.csv").unlink()
    with pytest.raises(BenchmarkError, match=r"holds no Meta/Meta_EN/meta_test\.csv"):
        read(tmp_path)


def test_answers_are_written_as_the_judge_reads_them(tmp_path: Path) -> None:
    reading, out = read(svbench(tmp_path / "data")), tmp_path / "out"
    first, *rest = reading.items
    with ResultsWriter(out, RunIdentity("benchmark", "svbench", "", "", ""), command=[]) as results:
        results.add(Row(first.id, {"exact": 0.0}, answer="A box \u00e9\udce9."))
        write_answers(SVBENCH, reading, out)
        assert list((out / "answers").rglob("*.json")) == []  # of no chain all questions were answered
        for item in rest[:-1]:
            results.add(Row(item.id, {"exact": 0.0}, answer=f"about {item.question}"))
        write_answers(SVBENCH, reading, out)
    assert [path.relative_to(out).as_posix() for path in (out / "answers").rglob("*.json")] == [
        "answers/dialogue/--a_1.json"
    ]
    assert json.loads((out / "answers/dialogue/--a_1.json").read_text(encoding="utf-8")) == [
        {
            "questions": ["What is shown?", "Which colour is it?"],
            "gt_answers": ["A ring.", "It is red."],
            "answers": ["A box \u00e9?.", "about Which colour is it?"],
        },
        {},
        {
            "questions": ["What happened next?"],
            "gt_answers": ["It went away."],
            "answers": ["about What happened next?"],
        },
    ]


def test_other_benchmarks_write_no_answers(tmp_path: Path) -> None:
    write_answers(find_benchmark("rvs"), read(svbench(tmp_path)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_command_from_published_files_to_the_judges_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(World.of(make_script(100, 12.0)), tmp_path / "story.mp4", video=VideoFormat(rate=2))
    data, out = svbench(tmp_path / "data", footage=tmp_path / "story.mp4"), tmp_path / "out"
    command = ["evaluate", "run", "svbench", "--data", str(data), "--model", "tiny", "--out", str(out)]
    assert main([*command, "--max-tokens", "8"]) == 0
    printed = capsys.readouterr().out
    assert "1 x empty chain or path: dialogue --a_1 1" in printed
    assert f"{out}/answers  for the judge" in printed
    rows = {row.id: row for row in read_rows(out)}
    assert len(rows) == 5
    assert {row.details["log"]["all"]["newest_frame_s"] for row in rows.values()} == {4.0, 9.0}  # none later than asked
    assert set(rows["streaming --a_1 0 1"].scores) == {"exact", "words F1", "exact last 60 s", "words F1 last 60 s"}
    for kind, units in (("dialogue", 3), ("streaming", 1)):
        chains = json.loads((out / "answers" / kind / "--a_1.json").read_text())
        assert len(chains) == units
        for place, own in enumerate(chains):
            for turn, answer in enumerate(own.get("answers", [])):
                assert answer == rows[f"{kind} --a_1 {place} {turn}"].answer
    (out / "answers" / "streaming" / "--a_1.json").unlink()
    assert main([*command, "--max-tokens", "8"]) == 0  # nothing is asked again; the files are there again
    assert (out / "answers" / "streaming" / "--a_1.json").is_file()
    capsys.readouterr()
    assert main(["evaluate", "list"]) == 0
    listed = capsys.readouterr().out
    assert "svbench  SVBench (online)" in listed
    assert "Not found: the authors' prompts" in listed
