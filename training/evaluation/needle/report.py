"""Tables of a needle search: depth by length, and hops by length. Pure."""

from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any, Final, cast

from afterview.memory.plans.positions import Policy
from afterview.training.evaluation.intervals import Share
from afterview.training.evaluation.needle.plan import NeedleTest, Way
from afterview.training.evaluation.recall_modes import recall_called
from afterview.training.evaluation.results import Row

_OPTIONS: Final = 4  # of the synthetic world's needles, where a row does not say


def summary(rows: Sequence[Row], test: NeedleTest) -> dict[str, Any]:
    """Shares of every cell, row and column, JSON-able. single: one entry for every way of running the model; multi: the same.

    Rows of ways that the test does not have were asked before: they come after its own.
    """
    single, multi = [], []
    asked_before = [Way(str(row.groups["recall"]), cast(Policy, row.groups["positions"])) for row in rows]
    for way in dict.fromkeys([*test.ways, *asked_before]):
        own = [row for row in rows if (row.groups["recall"], row.groups["positions"]) == (way.recall, way.positions)]
        needles = [row for row in own if row.groups["task"] == "single"]
        chains = [row for row in own if row.groups["task"] == "multi"]
        if needles:
            single.append(_single(way, needles))
        if chains:
            multi.append(_multi(way, chains))
    return {
        "single": single,
        "multi": multi,
        "chance": _chance(rows),
        "scoring": test.scoring,
        "not_under_full_recall": test.left_out,
    }


def _chance(rows: Sequence[Row]) -> dict[str, float]:
    """What guessing would get, by the number of options. both: of the two questions of a chain."""
    by_name: dict[str, list[float]] = {}
    units: dict[str, float] = {}
    for row in rows:
        guessed = 1 / int(row.details.get("options", _OPTIONS))
        by_name.setdefault(str(row.groups["question"]), []).append(guessed)
        if row.groups["task"] == "multi":
            units[row.unit] = units.get(row.unit, 1.0) * guessed
    found = {name: round(mean(by_name[name]), 4) for name in ("needle", "caption") if name in by_name}
    return found | ({"both": round(mean(units.values()), 4)} if units else {})


def _single(way: Way, rows: Sequence[Row]) -> dict[str, Any]:
    lengths, depths = _values(rows, "frames", int), _values(rows, "depth", float)
    cells = [
        {"frames": frames, "depth": depth, **_share(_where(rows, frames=str(frames), depth=f"{depth:g}"))}
        for frames in lengths
        for depth in depths
    ]
    return {
        "recall": way.recall, "positions": way.positions, **_share(rows),
        "official": _share(rows, "official"), "cells": [cell for cell in cells if cell["asked"]],
        "lengths": [{"frames": frames, **_share(_where(rows, frames=str(frames)))} for frames in lengths],
        "kinds": {kind: _share(_where(rows, kind=kind)) for kind in _values(rows, "kind", str)},
        "recalled": _recalled(rows),
    }  # fmt: skip


def _multi(way: Way, rows: Sequence[Row]) -> dict[str, Any]:
    lengths, hops = _values(rows, "frames", int), _values(rows, "hops", int)
    return {
        "recall": way.recall, "positions": way.positions, "chance": _chance(rows),
        "hops": [{"hops": count, **_both(_where(rows, hops=str(count)))} for count in hops],
        "cells": [
            {"frames": frames, "hops": count, **_both(found)}
            for frames in lengths
            for count in hops
            if (found := _where(rows, frames=str(frames), hops=str(count)))
        ],
        "recalled": _recalled(rows),
    }  # fmt: skip


def _both(rows: Sequence[Row]) -> dict[str, Any]:
    """caption: the first question right (CAP); both: both right (QA); decoy: the caption of the decoys' last picture was chosen.

    A model that takes any picture without a clue for the last one chooses that as often as the right one: both are then near a half,
    for any number of hops, and no clue was followed.
    """
    units: dict[str, list[Row]] = {}
    for row in rows:
        units.setdefault(row.unit, []).append(row)
    whole = [members for members in units.values() if len(members) >= members[0].unit_size]
    right = sum(all(row.scores["strict"] == 1 for row in members) for members in whole)
    captions = [row for row in rows if row.groups["question"] == "caption"]
    finals = [row for row in rows if row.groups["question"] == "final"]
    misled = _share([row for row in captions if "decoy" in row.scores], "decoy")
    return {
        "caption": _share(captions), "final": _share(finals), "both": Share(right, len(whole)).to_dict(), "decoy": misled
    }  # fmt: skip


def _share(rows: Sequence[Row], score: str = "strict") -> dict[str, Any]:
    return Share(sum(row.scores[score] == 1 for row in rows), len(rows)).to_dict()


def _recalled(rows: Sequence[Row]) -> float:
    """Mean share of the pictures that were among the recalled frames."""
    return round(sum(float(row.details.get("recalled", 0.0)) for row in rows) / len(rows), 4)


def _where(rows: Sequence[Row], **groups: str) -> list[Row]:
    return [row for row in rows if all(row.groups.get(name) == value for name, value in groups.items())]


def _values(rows: Sequence[Row], name: str, kind: Callable[[str], Any]) -> list[Any]:
    return sorted({kind(str(row.groups[name])) for row in rows})


def markdown(needle: dict[str, Any]) -> str:
    """Both tables of every way, for people and the model card."""
    return "\n\n".join([*map(_single_table, needle["single"]), *map(_multi_table, needle["multi"])])


def _single_table(way: dict[str, Any]) -> str:
    depths = sorted({cell["depth"] for cell in way["cells"]})
    by_place = {(cell["frames"], cell["depth"]): cell for cell in way["cells"]}
    lines = [
        f"Single hop, {recall_called(way['recall'])}, {way['positions']} positions: {_said(way)}; "
        f"{way['recalled']:.3f} of the needles were recalled",
        "",
        "| frames | " + " | ".join(f"depth {depth:g}" for depth in depths) + " | all depths |",
        "|---" * (len(depths) + 2) + "|",
    ]
    for row in way["lengths"]:
        cells = [by_place.get((row["frames"], depth)) for depth in depths]
        shown = [f"{cell['accuracy']:.2f}" if cell else "" for cell in cells]
        lines.append(f"| {row['frames']:,} | {' | '.join(shown)} | {_said(row)} |")
    return "\n".join(lines)


def _multi_table(way: dict[str, Any]) -> str:
    lines = [
        f"Chains of clues, {recall_called(way['recall'])}, {way['positions']} positions "
        f"(chance: caption {way['chance']['caption']:.2f}, both {way['chance']['both']:.4f})",
        "",
        "| frames | hops | caption (CAP) | question of the last picture | both (QA) | caption of the decoys' end |",
        "|---|---|---|---|---|---|",
    ]
    for cell in [*way["cells"], *({"frames": None, **row} for row in way["hops"])]:
        where = "all" if cell["frames"] is None else f"{cell['frames']:,}"
        lines.append(
            f"| {where} | {cell['hops']} | "
            f"{' | '.join(_said(cell[name]) for name in ('caption', 'final', 'both', 'decoy'))} |"
        )
    return "\n".join(lines)


def _said(share: dict[str, Any]) -> str:
    value = "-" if share["accuracy"] is None else f"{share['accuracy']:.2f}"
    return f"{value} ({share['low']:.2f}-{share['high']:.2f}) of {share['asked']}"
