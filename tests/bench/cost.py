"""Tokens and FLOPs of one question, from training.evaluation.cost. tests/bench/test_cost.py compares with torch's count."""

from afterview.training.evaluation.cost import (
    DROPOUT,
    FORMULA,
    GEOMETRIES,
    TEXT,
    markdown,
    question_cost,
    recipe_costs,
    remember_flops,
    tokens,
)
from tests.bench.table import Table


def run() -> list[Table]:
    """Takes no time: nothing runs."""
    return [_recipes(), _reused_memory()]


def _recipes() -> Table:
    head, _, *rows = markdown(recipe_costs()).splitlines()
    table = Table(
        "Tokens, FLOPs and bytes of both papers' recipes, to the first token",
        _cells(head),
        f"Counted, not measured (`afterview evaluate cost`), for {TEXT} text tokens. Hour-LLaVA: 64 + 1 tokens per frame "
        "in memory, 16 + 1 of at most 512 frames visible; all of the memory is recalled; with the presets' budget of 3,600 frames, 10,000 "
        f"frames cost what 3,600 do. Dropout of the table: {DROPOUT.kind}, after layers {DROPOUT.layers}, ratios {DROPOUT.ratios}. By "
        "formula: 4 P L + 6 d n L^2 of VideoChat-Flash's paper, whose Table 1 is `published`. "
        f"\n\n```\n{FORMULA}\n```",
    )
    for row in rows:
        table.add(*_cells(row))
    return table


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def _reused_memory() -> Table:
    table = Table(
        "A further question to the same memory at 3,600 frames",
        ["geometry", "first question /TFLOP", "further question /TFLOP", "of the first"],
        "Keys and values of the memory do not depend on the question (model.video_language.remember).",
    )
    memory, visual = tokens(3600)
    for geometry in GEOMETRIES:
        first = sum(question_cost(geometry, memory, visual))
        further = first - remember_flops(geometry, memory)
        table.add(geometry.name, first / 1e12, further / 1e12, f"{further / first:.0%}")
    return table
