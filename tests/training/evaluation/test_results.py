"""Results: rows that survive a kill, resuming, other runs refused, intervals, tables and comparisons."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from afterview.memory.base.lock import file_lock
from afterview.training.base.errors import ResultsError
from afterview.training.base.shares import wilson
from afterview.training.evaluation.compare import compare, comparison_markdown
from afterview.training.evaluation.fingerprint import files_fingerprint
from afterview.training.evaluation.intervals import difference_of, mean_of
from afterview.training.evaluation.results import ResultsWriter, Row, RunIdentity, read_results, read_rows, tables

OWN = RunIdentity("benchmark", "test", "tiny", "weights-1", "data-1", {"score": "letter"})
_WRITES = """
import sys, time
from itertools import product
from pathlib import Path
from afterview.training.evaluation.results import ResultsWriter, Row, RunIdentity
own = RunIdentity("benchmark", "test", "tiny", "weights-1", "data-1", {"score": "letter"})
with ResultsWriter(Path(sys.argv[1]), own, command=["x"]) as results:
    for number in range(100000):
        results.add(Row(f"item {number}", {"strict": number % 2}, answer="x" * 200))
        print(number, flush=True)
"""


def writer(directory: Path, **changes: object) -> ResultsWriter:
    """A writer of the run OWN, or of one that differs."""
    return ResultsWriter(directory, RunIdentity(**{**OWN.__dict__, **changes}), command=["afterview", "evaluate"])


def test_a_row_that_was_added_survives_kill_9_and_the_run_resumes(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITES, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(20):
            said = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    with (tmp_path / "items.jsonl").open("ab") as file:  # a power cut within a line
        file.write(b'{"id": "half')
    with writer(tmp_path) as results:
        assert results.resumed > said
        assert all(f"item {number}" in results.done for number in range(said + 1))
        results.add(Row("half", {"strict": 1}))
        document = results.finish(["half", "item 0", "not answered"])
    assert [row.id for row in read_rows(tmp_path)][-1] == "half"
    assert document["complete"] is False
    assert (document["items"], document["answered"], document["scores"]["strict"]["value"]) == (3, 2, 0.5)
    assert len(document["runs"]) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": "weights-2"}, "weights"),
        ({"data": "data-2"}, "data"),
        ({"task": "other"}, "task"),
        ({"config": {"score": "likelihood"}}, "score is 'letter' there and 'likelihood' here"),
    ],
)
def test_resuming_another_run_is_refused(tmp_path: Path, changes: dict[str, object], named: str) -> None:
    with writer(tmp_path) as results:
        results.add(Row("1", {"strict": 1}))
    with pytest.raises(ResultsError, match=named):
        writer(tmp_path, **changes)
    with writer(tmp_path, model="the same under another name") as results:
        assert results.resumed == 1


def test_two_processes_do_not_write_the_same_rows(tmp_path: Path) -> None:
    with writer(tmp_path) as results, pytest.raises(ResultsError, match="another process"):
        writer(tmp_path)
    shares = [ResultsWriter(tmp_path, OWN, command=[], process=process, processes=2) for process in (0, 1)]
    with shares[0] as results:
        with shares[1] as second:
            second.add(Row("b", {"strict": 0}))
        results.add(Row("a", {"strict": 1}))
        assert results.finish(["a", "b"])["answered"] == 2
    with writer(tmp_path) as results:
        assert set(results.done) == {"a", "b"}


def test_a_resume_with_another_number_of_processes_waits_for_those_of_the_start_before(tmp_path: Path) -> None:
    def start(process: int, processes: int) -> ResultsWriter:
        return ResultsWriter(tmp_path, OWN, command=[], process=process, processes=processes)

    with start(0, 2), start(1, 2) as left:  # process 0 is ended, process 1 lives on
        left.add(Row("a", {"strict": 1}))
    with start(1, 2) as left:
        for number in (1, 3):
            with pytest.raises(ResultsError, match=rf"of 2 .* writes items-1\.jsonl, and this one has {number}; wait"):
                start(0, number)
        with start(0, 2) as again:  # of the same number: it has other items
            again.add(Row("b", {"strict": 1}))
        left.add(Row("c", {"strict": 1}))
    with start(0, 1) as alone:
        assert set(alone.done) == {"a", "b", "c"}
    assert [one["processes"] for one in alone.run["runs"]] == [2, 2, 2, 2, 1]  # what was refused is no start


def test_what_describes_the_rows_is_made_under_the_lock_of_all_processes(tmp_path: Path) -> None:
    held = []

    def describe(rows: Sequence[Row]) -> dict[str, object]:
        try:
            with file_lock(tmp_path / ".run.lock", patience_s=0.0):
                held.append(False)
        except TimeoutError:
            held.append(True)
        return {"problems": [{"kind": "odd", "count": len(rows), "examples": []}]}

    with writer(tmp_path) as results:
        results.add(Row("a", {"strict": 1}))
        document = results.finish(["a", "b"], describe, cpu_s=1.5)
    assert held == [True]
    assert (document["problems"][0]["count"], document["cpu_s"]) == (1, 1.5)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": 3, "scores": {}}', '{"id": "x", "scores": {"s": 7}}', "\0\0", '{"id": "x"}']
)
def test_a_damaged_row_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    with writer(tmp_path) as results:
        results.add(Row("a", {"strict": 1}))
    with (tmp_path / "items.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ResultsError, match=r"items\.jsonl, line 2"):
        writer(tmp_path)


def test_what_is_no_score_or_comes_twice_is_refused(tmp_path: Path) -> None:
    with writer(tmp_path) as results:
        for wrong in (1.5, -0.1, math.nan, "1"):
            with pytest.raises(ResultsError, match="a score is a number from 0 to 1"):
                results.add(Row("a", {"strict": wrong}))  # type: ignore[dict-item]
        with pytest.raises(ResultsError, match="no JSON"):
            results.add(Row("a", {"strict": 1}, details={"likelihood": math.nan}))
        results.add(Row("a", {"strict": 1}))
        with pytest.raises(ResultsError, match="answered already"):
            results.add(Row("a", {"strict": 1}))


def test_tables_count_groups_and_units() -> None:
    rows = [
        Row("1", {"strict": 1.0, "official": 1.0}, {"duration": "short"}, unit="v", unit_size=2),
        Row("2", {"strict": 0.0, "official": 1.0}, {"duration": "long", "type": ["a", "b"]}, unit="v", unit_size=2),
        Row("3", {"strict": 1.0}, {"duration": "long", "type": "b"}, unit="w", unit_size=1),
        Row("4", {"strict": 1.0}, {"duration": "short"}, unit="half", unit_size=2),
    ]
    found = tables(rows)
    assert found["scores"]["strict"]["n"] == 4
    assert found["scores"]["official"] == {"value": 1.0, "low": 0.3424, "high": 1.0, "n": 2, "interval": "wilson"}
    assert found["groups"]["duration"]["long"]["strict"]["value"] == 0.5
    assert found["groups"]["type"]["b"]["strict"]["n"] == 2  # one item is in two groups
    assert found["units"]["scores"]["strict"]["value"] == 0.5  # of v, not all are right
    assert found["units"]["scores"]["strict"]["n"] == 2
    assert found["units"]["incomplete"] == 1  # half of a unit is not right, whatever its half is


@pytest.mark.parametrize("value", ["\u2460 scenes", "\u00b2", "\u0663", "10 s", ""])
def test_any_text_can_be_a_group(value: str) -> None:
    rows = [Row(str(number), {"strict": 1.0}, {"category": one}) for number, one in enumerate((value, "2", "b"))]
    assert set(tables(rows)["groups"]["category"]) == {value, "2", "b"}


def test_intervals_hold_what_they_should() -> None:
    wilson = mean_of([1.0] * 45 + [0.0] * 55)
    assert (round(wilson.low, 4), round(wilson.high, 4)) == (0.3561, 0.5476)  # statsmodels' proportion_confint
    shares = mean_of([0.25, 0.75] * 50)
    assert shares.method == "bootstrap"
    assert 0.44 < shares.low < 0.5 < shares.high < 0.56
    assert math.isnan(mean_of([]).value)
    better = difference_of([0.0] * 10 + [1.0] * 2, [1.0] * 10 + [0.0] * 2)
    assert (better.better, better.worse) == (10, 2)
    assert better.p == pytest.approx(0.03857, abs=1e-4)  # scipy's binomtest(2, 12)
    assert difference_of([1.0], [1.0]).p == 1.0
    one = difference_of([0.0], [1.0])  # a single pair says little about others
    assert one.value == 1.0
    assert one.low < 0
    parts = difference_of([0.25, 0.25], [0.75, 0.75])  # equal steps say nothing
    assert (parts.value, parts.low, parts.high, parts.method) == (0.5, -1.0, 1.0, "none")
    assert (mean_of([0.5]).low, mean_of([0.5]).high, mean_of([0.5]).method) == (0.0, 1.0, "none")


def test_the_interval_of_a_paired_difference_is_as_wide_as_few_pairs_that_differ_make_it() -> None:
    """Newcombe (1998), method 10. Without correlation it is the square-and-add interval of two independent shares."""
    equal = difference_of([1.0] * 20, [1.0] * 20)
    assert equal.low == pytest.approx(-equal.high)
    assert 0.1 < equal.high < 0.2
    few = difference_of([0.0] * 4 + [1.0] * 96, [1.0] * 100)  # McNemar's p is 0.125
    assert few.low < 0 < 0.04 < few.high
    apart = difference_of([1.0, 1.0, 0.0, 0.0] * 10, [1.0, 0.0, 1.0, 0.0] * 10)  # right independently
    reach = 0.5 - wilson(20, 40)[0]
    assert (apart.low, apart.high) == (pytest.approx(-reach * math.sqrt(2)), pytest.approx(reach * math.sqrt(2)))
    alike = difference_of([1.0] * 20 + [0.0] * 20, [1.0] * 19 + [0.0] * 21)
    assert alike.high - alike.low < 0.7 * (apart.high - apart.low)
    one, other = [1.0, 0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 0.0]
    assert difference_of(one, other).low == pytest.approx(-difference_of(other, one).high)


def test_a_comparison_has_whole_units_and_names_scores_of_one_run(tmp_path: Path) -> None:
    for name, wrong in (("a", (0, 0, 0, 0)), ("b", (9, 9, 9, 0))):  # which trial of each unit is wrong
        with writer(tmp_path / name) as results:
            for unit, trial in product(range(4), range(4)):
                scores = {"strict": float(trial != wrong[unit]), **({"official": 1.0} if name == "a" else {})}
                results.add(Row(f"{unit}/{trial}", scores, unit=str(unit), unit_size=4 if unit else 5))
    found = compare(read_results(tmp_path / "a"), read_results(tmp_path / "b"))
    assert found.units is not None
    assert [found.units["strict"][name] for name in ("a", "b", "n")] == [0.0, pytest.approx(2 / 3, abs=1e-4), 3]
    assert "| whole units: strict | 0.000 | 0.667 |" in comparison_markdown(found)
    assert found.warnings == (
        "1 units, of which not all items were answered by both, are left out of the units", "only A has the score official"
    )  # fmt: skip


def test_an_item_without_an_id_is_refused(tmp_path: Path) -> None:
    with writer(tmp_path / "a") as results, pytest.raises(ResultsError, match="has no id"):
        results.add(Row("", {"strict": 1.0}))


def test_a_comparison_is_paired_and_names_what_only_one_has(tmp_path: Path) -> None:
    for name, scores in (("a", {"1": 0, "2": 0, "3": 1}), ("b", {"2": 1, "3": 1, "4": 1})):
        with writer(tmp_path / name, weights=name) as results:
            for one, score in scores.items():
                results.add(Row(one, {"strict": score}, {"duration": "short"}))
    found = compare(read_results(tmp_path / "a"), read_results(tmp_path / "b"))
    assert found.pairs == 2
    assert found.scores["strict"]["difference"] == 0.5
    assert (found.only_a, found.only_b) == (("1",), ("4",))
    assert found.warnings == ("weights is a in A, b in B",)
    assert "Only A has 1 items, which count nowhere: 1" in comparison_markdown(found)
    with writer(tmp_path / "d") as results:
        results.add(Row("2", {"likelihood": 1}))
    assert (
        "only B has the score likelihood"
        in compare(read_results(tmp_path / "a"), read_results(tmp_path / "d")).warnings
    )
    with writer(tmp_path / "c", task="other"):
        pass
    with pytest.raises(ResultsError, match="two runs of one task"):
        compare(read_results(tmp_path / "a"), read_results(tmp_path / "c"))
    with pytest.raises(ResultsError, match="holds no results"):
        read_results(tmp_path)


def test_two_runs_without_a_common_item_are_told_apart_by_an_item_of_each(tmp_path: Path) -> None:
    for recall in ("bounded", "full"):
        with writer(tmp_path / recall) as results:
            results.add(Row(f"single/{recall}/1000/0/1", {"strict": 1}))
    with pytest.raises(
        ResultsError, match="such as 'single/bounded/1000/0/1'; B has 1 items, such as 'single/full/1000/0/1'"
    ):
        compare(read_results(tmp_path / "bounded"), read_results(tmp_path / "full"))
    with writer(tmp_path / "empty"):
        pass
    with pytest.raises(ResultsError, match="A has none"):
        compare(read_results(tmp_path / "empty"), read_results(tmp_path / "full"))


def test_a_fingerprint_changes_with_content_and_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    before = files_fingerprint([one, other], tmp_path)
    assert files_fingerprint([other, one, one], tmp_path) == before
    other.write_text("3")
    assert files_fingerprint([one, other], tmp_path) != before


def test_the_document_is_json_with_all_that_it_must_say(tmp_path: Path) -> None:
    with writer(tmp_path) as results:
        results.add(Row("1", {"strict": 1}))
        results.finish(["1"], problems=[{"kind": "missing video", "count": 2, "examples": ["x"]}])
    document = json.loads((tmp_path / "results.json").read_text())
    assert {"model", "weights", "data", "config", "runs", "problems", "scores", "groups", "complete"} <= set(document)
    assert document["runs"][0]["command"] == ["afterview", "evaluate"]
    assert document["runs"][0]["versions"]["python"]
