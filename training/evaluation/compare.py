"""Compares two directories of results, item by item: differences with 95 % intervals, and the items that only one of them has. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterview.training.base.errors import ResultsError
from afterview.training.evaluation.intervals import difference_of
from afterview.training.evaluation.results import Row, differences, whole_units

_NAMED = 20  # items that are named where only one of two has them
_MINUS = "-"


@dataclass(frozen=True)
class Comparison:
    """scores: of each name that both have, by name the difference B - A. groups: the same by name and value of a group. units: the same of
    items that count together, right only where all are; None where there are none.

    only_a, only_b: ids of items that only one has: they count nowhere. warnings: what else differs between the runs.
    """

    pairs: int
    scores: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, Mapping[str, Mapping[str, Any]]]
    units: Mapping[str, Mapping[str, Any]] | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "pairs": self.pairs, "scores": self.scores, "groups": self.groups, "units": self.units,
            "only_a": list(self.only_a), "only_b": list(self.only_b), "warnings": list(self.warnings),
        }  # fmt: skip


def compare(
    first: tuple[Mapping[str, Any], Sequence[Row]], second: tuple[Mapping[str, Any], Sequence[Row]]
) -> Comparison:
    """Compare what `results.read_results` gave for A and B. Raises ResultsError for two tasks, or no item that both have."""
    (run_a, rows_a), (run_b, rows_b) = first, second
    if (run_a["kind"], run_a["task"]) != (run_b["kind"], run_b["task"]):
        raise ResultsError(
            f"A is {run_a['kind']} {run_a['task']}, B is {run_b['kind']} {run_b['task']}; compare two runs of one task"
        )
    by_id = {row.id: row for row in rows_b}
    pairs = [(row, by_id[row.id]) for row in rows_a if row.id in by_id]
    ids_a = {row.id for row in rows_a}
    if not pairs:
        raise ResultsError(f"no item was answered by both: A has {_example(rows_a)}; B has {_example(rows_b)}")
    groups: dict[str, dict[str, list[tuple[Row, Row]]]] = {}
    for pair in pairs:
        for name, value in pair[0].memberships:
            groups.setdefault(name, {}).setdefault(value, []).append(pair)
    warnings = [text.replace(" there and ", " in A, ").replace(" here", " in B") for text in differences(run_a, run_b)]
    changed = [a.id for a, b in pairs if (a.truth, list(a.memberships)) != (b.truth, list(b.memberships))]
    if changed:
        warnings.append(f"{len(changed)} items have another truth or category in B, for example {changed[0]}")
    units, left_out = _units(pairs)
    if left_out:
        warnings.append(f"{left_out} units, of which not all items were answered by both, are left out of the units")
    warnings += _lone_scores(pairs)
    return Comparison(
        pairs=len(pairs),
        scores=_scores(pairs),
        groups={name: {value: _scores(members) for value, members in own.items()} for name, own in groups.items()},
        units=units,
        only_a=tuple(row.id for row in rows_a if row.id not in by_id),
        only_b=tuple(row.id for row in rows_b if row.id not in ids_a),
        warnings=tuple(warnings),
    )


def _units(pairs: Sequence[tuple[Row, Row]]) -> tuple[dict[str, dict[str, Any]] | None, int]:
    """Differences of the items that count together, and how many such units are incomplete."""
    first, left_out = whole_units([a for a, _ in pairs])
    by_id = {row.id: row for row in whole_units([b for _, b in pairs])[0]}
    both = [(row, by_id[row.id]) for row in first if row.id in by_id]
    return _scores(both) if both else None, left_out


def _lone_scores(pairs: Sequence[tuple[Row, Row]]) -> list[str]:
    """Scores that only one of the two runs has, in words."""
    has = [dict.fromkeys(name for row in rows for name in row.scores) for rows in zip(*pairs, strict=True)]
    alone = [[name for name in own if name not in other] for own, other in (has, has[::-1])]
    return [f"only {which} has the score {name}" for which, names in zip("AB", alone, strict=True) for name in names]


def _example(rows: Sequence[Row]) -> str:
    """The number of items, and the first id: of two runs that recall differently it shows in what."""
    return f"{len(rows)} items, such as '{rows[0].id}'" if rows else "none"


def comparison_markdown(found: Comparison) -> str:
    """Tables for people."""
    lines = ["| score | A | B | B - A | 95 % interval | better / worse | p | n |", "|---|---|---|---|---|---|---|---|"]
    lines = [*lines, *(_line(name, row) for name, row in found.scores.items())] if found.scores else []
    for group, values in found.groups.items():
        for value, scores in values.items():
            lines += [_line(f"{group} {value}: {name}", row) for name, row in scores.items()]
    lines += [_line(f"whole units: {name}", row) for name, row in (found.units or {}).items()]
    for which, ids in (("A", found.only_a), ("B", found.only_b)):
        if ids:
            more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
            lines.append(f"\nOnly {which} has {len(ids)} items, which count nowhere: {', '.join(ids[:_NAMED])}{more}")
    return "\n".join(lines)


def _scores(pairs: Sequence[tuple[Row, Row]]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(name for a, b in pairs for name in a.scores if name in b.scores)
    found = {}
    for name in names:
        both = [(a.scores[name], b.scores[name]) for a, b in pairs if name in a.scores and name in b.scores]
        first, second = [a for a, _ in both], [b for _, b in both]
        own = difference_of(first, second).to_dict()
        found[name] = {"a": round(sum(first) / len(first), 4), "b": round(sum(second) / len(second), 4), **own}
    return found


def _line(name: str, row: Mapping[str, Any]) -> str:
    p = _MINUS if row["p"] is None else f"{row['p']:.2g}"
    return (
        f"| {name} | {row['a']:.3f} | {row['b']:.3f} | {row['difference']:+.3f} | {row['low']:+.3f} to {row['high']:+.3f} | "
        f"{row['better']} / {row['worse']} | {p} | {row['n']} |"
    )
