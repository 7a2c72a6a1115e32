"""RESULTS.md is updated in parts: a run of one benchmark keeps the others' figures."""

from tests.bench.__main__ import NAMES, RESULTS, with_part


def test_a_part_is_replaced_and_a_new_one_appended() -> None:
    first = with_part("# Measured\n", "ingest", "one")
    second = with_part(first, "cost", "two")
    third = with_part(second, "ingest", "three")
    assert third == second.replace("one", "three")
    assert third.index("three") < third.index("two")


def test_the_committed_file_has_parts_that_can_be_replaced() -> None:
    for name in NAMES:
        changed = with_part(RESULTS.read_text(), name, "measured anew")
        assert changed.count("<!-- bench ") in {
            RESULTS.read_text().count("<!-- bench "),
            RESULTS.read_text().count("<!-- bench ") + 1,
        }
        assert changed.count("measured anew") == 1
