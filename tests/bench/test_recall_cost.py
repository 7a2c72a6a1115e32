"""The recall benchmark runs on a minute of memory, with the present answering code."""

from pathlib import Path

from tests.bench.recall_cost import measure, recall_model
from tests.bench.table import Table


def test_full_and_bounded_recall_are_both_asked(tmp_path: Path) -> None:
    table = Table("recall", list("abcdefgh"))
    measure(table, 1 / 6, recall_model(tmp_path, 400))
    measure(table, 1 / 60, recall_model(tmp_path, 10**9))
    bounded, full = table.rows
    assert bounded[1:4] == ["600", "bounded", "400"]
    assert full[1:4] == ["60", "full", "60"]
    assert float(bounded[-1]) > 0
    assert float(full[-1]) > 0
