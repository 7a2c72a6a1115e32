"""Retrieval: scores of a ranking, captions that do not give the answer away, MomentSeeker's files with odd rows, and both commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.configs import ExitStatus
from afterview.stream.media import VideoWriter
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Problems
from afterview.training.evaluation.plan import WorldTest
from afterview.training.evaluation.results import Row, read_results
from afterview.training.evaluation.retrieval import ranking
from afterview.training.evaluation.retrieval.momentseeker import Clip, MomentSeeker, Query, read_momentseeker
from afterview.training.evaluation.retrieval.queries import as_question, as_true_caption, by_rule
from afterview.training.evaluation.retrieval.scores import (
    average_precision,
    best_iou,
    iou,
    moment_around,
    official_average_precision,
    pooled,
    recalls,
)
from afterview.training.evaluation.retrieval.table import markdown
from afterview.training.evaluation.retrieval.worlds import queries_of, timing


def test_a_clip_counts_by_its_best_frames() -> None:
    scores = np.array([0.9, 0, 0, 0, 0.5, 0.5, 0.4, 0.4, 0.8], np.float32)
    clips = [(0, 4), (4, 8), (8, 9), (9, 9)]
    np.testing.assert_allclose(pooled(scores, clips, 1), [0.9, 0.5, 0.8, -np.inf], rtol=1e-6)
    np.testing.assert_allclose(
        pooled(scores, clips, 4), [0.225, 0.45, 0.8, -np.inf], rtol=1e-6
    )  # a short one by what it has


def test_a_moment_is_the_run_of_similar_frames() -> None:
    scores = np.array([0, 0, 0.1, 0.8, 1, 0.7, 0.1, 0, 0, 0.9], np.float32)
    assert moment_around(scores, 4) == (3, 6)
    assert moment_around(scores, 9) == (9, 10)
    assert moment_around(np.zeros(3, np.float32), 1) == (0, 3)  # nothing tells them apart
    assert moment_around(np.array([5.0, 1, 1], np.float32), 1) == (0, 3)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [((0, 4), (2, 6), 1 / 3), ((0, 4), (0, 4), 1.0), ((0, 1), (2, 3), 0.0), ((1, 1), (1, 1), 0.0)],
)
def test_iou(one: tuple[float, float], other: tuple[float, float], wanted: float) -> None:
    assert iou(one, other) == pytest.approx(wanted)
    assert best_iou(one, [(90, 91), other]) == pytest.approx(wanted)
    assert best_iou(one, []) == 0


def test_recall_and_average_precision() -> None:
    ranking = [False, True, False, True, False, False]
    assert recalls(ranking, (1, 2, 5)) == {"R@1": 0, "R@2": 1, "R@5": 1}
    assert average_precision(ranking) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert average_precision(ranking, 3) == pytest.approx(1 / 2 / 2)  # two could have been there
    assert average_precision([False, False]) == 0
    assert average_precision([True] * 7, 5) == 1


def test_the_official_map_rewards_neighbours_and_may_exceed_one() -> None:
    truth = [(0.0, 3.0)]
    assert official_average_precision([(0, 3), (9, 12)], truth) == pytest.approx(1.0)
    assert official_average_precision([(9, 12), (0, 3)], truth) == pytest.approx(0.5)
    far = [(0.0, 3.0), (97.0, 100.0)]
    assert official_average_precision([(0, 3), (97, 100)], far) < 0.01  # both right, and nothing for it
    assert official_average_precision([(0, 3), (0, 2.5), (0, 2.7)], truth) > 1


def test_a_caption_says_what_the_question_names_and_not_its_answer() -> None:
    test = WorldTest([100, 101, 102], frames=600, questions=40)
    seen = 0
    for query in queries_of(test):
        script = next(iter(test.footage(query.seed).scripts.values()))
        caption = as_true_caption(script, query.question)
        assert caption.startswith("a ")
        assert query.question.answer.lower() not in caption.lower().split()
        assert as_question(script, query.question) == query.question.text
        assert by_rule(str.upper)(script, query.question) == query.question.text.upper()
        seen += query.question.kind == "colour"
    assert seen > 3


def write_clips(directory: Path, names: dict[str, tuple[int, int, int]]) -> None:
    """One-coloured clips of two seconds."""
    for name, colour in names.items():
        path = directory / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, 160, 96, rate=5) as writer:
            for _ in range(10):
                writer.write(np.full((96, 160, 3), colour, np.uint8))


def entry(text: str, names: list[str], truth: list[Any], **more: str) -> dict[str, Any]:
    """A query as published."""
    candidates = [{"output_path": f"/share/someone/{name}", "frame_path": f"/share/{name}.png"} for name in names]
    return {
        "qry_text": text, "qry_img_path": "", "qry_video_path": "", "candidate_video_list": candidates, "gt_indices": truth, **more
    }  # fmt: skip


NAMES = ["movie101_16/0.00_3.00.mp4", "movie101_16/3.00_6.50.mp4", "movie7/0.00_4.00.mp4"]


def test_odd_entries_are_counted_and_left_out(tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    rows = [
        entry("a red wall", NAMES, [0]),
        entry("", NAMES, [0]),
        entry("beyond", NAMES, [7]),
        entry("a word", NAMES, ["0"]),
        entry("nothing true", NAMES, []),
        entry("lost", [*NAMES, "movie101_16/9.00_12.00.mp4"], [3]),
        entry("no interval", [*NAMES, "movie101_16/clip.mp4"], [0]),
        entry("outside", ["../../etc/0.00_1.00.mp4"], [0]),
        entry("a picture", NAMES, [1], qry_img_path="/share/pictures/q1.png"),
        "no object",
    ]
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "t2v.json").write_text(json.dumps(rows))
    found = read_momentseeker(tmp_path)
    assert [query.text for query in found.queries] == ["a red wall", "no interval"]
    assert found.queries[0].truths == ("movie101_16/0.00_3.00.mp4",)
    assert found.by_source == {("t2v", "movie101_16"): NAMES[:2], ("t2v", "movie7"): NAMES[2:]}
    assert found.clips[NAMES[1]].span == (3.0, 6.5)
    counted = {problem["kind"]: problem["count"] for problem in found.problems.to_dicts()}
    assert counted["query lacks its text, candidates or truth"] == 2
    assert counted["truth is none of the candidates"] == 2
    assert counted["a true clip cannot be used"] == 2
    assert counted["candidate without path or interval"] == 1
    assert counted["the query's picture or clip is missing"] == 1
    assert counted["row is no object"] == 1
    (tmp_path / "json" / "t2v.json").write_text("[]")
    with pytest.raises(BenchmarkError, match="holds no query that can be asked"):
        read_momentseeker(tmp_path)


def test_a_query_is_ranked_among_the_candidates_of_its_own_file(tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "a b.json").write_text(json.dumps([entry("one", NAMES[:1], [0]), entry("", NAMES[2:], [0])]))
    (tmp_path / "c.json").write_text(json.dumps([entry("two", NAMES[1::-1], [0])]))
    assert read_momentseeker(tmp_path).by_source == {
        ("a b", "movie101_16"): NAMES[:1],
        ("c", "movie101_16"): NAMES[:2],
    }


def test_equal_times_of_another_video_are_no_hit() -> None:
    clips = {
        key: Clip(key, key[0], span, Path(key))
        for key, span in (("A/0", (0.0, 10.0)), ("A/1", (20.0, 30.0)), ("B/1", (20.0, 30.0)))
    }
    query = Query("q", "task", "?", None, ("A/0", "B/1"))
    data = MomentSeeker((query,), clips, {}, Problems(), ())
    assert [ranking._fit(data, key, query) for key in clips] == [1.0, 0.0, 1.0]


def test_a_table_has_a_column_for_each_way() -> None:
    score = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    text = markdown({"question, max": {"R@1": score}, "caption, max": {"R@1": score, "mAP": {**score, "value": None}}})
    assert "| | question, max | caption, max |" in text
    assert "| R@1 | 0.500 (0.25-0.75) | 0.500 (0.25-0.75) |" in text
    assert "| mAP | - | - |" in text
    assert markdown({}) == "No query could be asked."


def test_times_are_of_the_rows_whoever_asked_them() -> None:
    rows = [Row(str(ms), {}, details={"embed_ms": ms, "search_ms": ms / 10}) for ms in (1.0, 9.0, 2.0)]
    assert timing([*rows, Row("untimed", {})]) == {"embed_ms": 2.0, "search_ms": 0.2}
    assert timing([]) == {"embed_ms": None, "search_ms": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queries", "riddle"], "choose from question, rule, caption"),
        (["--clip", "0s"], "longer than 0 s"),
        (["--clip", "2h"], "1s to 1h"),
        (["--data", "/nowhere"], "no such directory"),
        (["--seeds", "b"], "--seeds b"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "retrieval", *arguments]) != ExitStatus.OK
    assert message in capsys.readouterr().err


@pytest.mark.thorough
def test_both_protocols_from_videos_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worlds = ["evaluate", "retrieval", "--seeds", "100", "--frames", "70", "--questions", "12", "--json"]
    worlds += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(worlds) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["complete"]
    assert set(first["groups"]["queries"]) == {
        f"{way}, {pooling}" for way in ("question", "rule", "caption") for pooling in ("max", "top-4")
    }
    assert first["groups"]["queries"]["caption, max"]["frame R@16"]["value"] == 1.0
    assert first["timing"]["search_ms"] > 0
    assert main(worlds) == 0  # resumed: nothing is ranked again
    again = json.loads(capsys.readouterr().out)
    assert (again["scores"], again["timing"]) == (first["scores"], first["timing"])
    write_clips(tmp_path, {NAMES[0]: (220, 20, 20), NAMES[1]: (20, 20, 220), NAMES[2]: (20, 200, 20)})
    (tmp_path / "t2v.json").write_text(
        json.dumps([entry("a red thing", NAMES, [0]), entry("blue", NAMES, [1], qry_video_path=NAMES[1])])
    )
    moments = [
        "evaluate",
        "retrieval",
        "--data",
        str(tmp_path),
        "--work",
        str(tmp_path / "clips"),
        "--out",
        str(tmp_path / "moments"),
    ]
    assert main([*moments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answered"], found["task"]) == (4, "momentseeker")
    rows = {row.id: row for row in read_results(tmp_path / "moments")[1]}
    assert rows["t2v/0/max"].scores["R@3"] == 1.0  # of the two clips of its video
    assert rows["t2v/1/max"].answer == NAMES[1]  # its own clip is most like it
    assert rows["t2v/1/max"].scores["R@1 IoU 0.7"] == 1.0
