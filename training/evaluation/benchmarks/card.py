"""Results as Markdown: for people, and for a model card. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

_HASH = 19  # characters of a hash that are shown: sha256: and twelve digits


def results_markdown(document: Mapping[str, Any]) -> str:
    """What was run, all scores side by side with 95 % intervals, tables of the groups, and what was wrong with the data."""
    title = (document.get("benchmark") or {}).get("title", document["task"])
    lines = [
        f"**{title}**, model {document['model']} ({_short(document['weights'])}), data {_short(document['data'])}",
        "",
    ]
    config = ", ".join(
        f"{name} {value}"
        for name, value in document["config"].items()
        if name in _SHOWN and value not in (None, "", False)
    )
    lines += [
        f"{document['answered']} of {document['items']} items{', ' + config if config else ''}, {document['finished']}. "
        f"Command: `{shlex.join(document['runs'][0]['command'])}`", "",
    ]  # fmt: skip
    lines += _table("", {"all": document["scores"]})
    for name, values in document["groups"].items():
        if len(values) > 1:
            lines += ["", *_table(name, values)]
    if "units" in document:
        units = document["units"]
        lines += ["", "Right only if all of a unit are right:", "", *_table("", {"all": units["scores"]})]
        if units["incomplete"]:
            lines += ["", f"{units['incomplete']} units of which not all items were asked are left out."]
        for name, values in units["groups"].items():
            lines += ["", *_table(name, values)]
    if "proactive" in document:
        lines += ["", *_proactive(document["proactive"])]
    if document["problems"]:
        lines += ["", "Not asked, or odd:"]
        lines += [
            f"- {one['count']} x {one['kind']}: {' '.join('; '.join(one['examples'][:2]).split())}"
            for one in document["problems"]
        ]
    return "\n".join(lines)


_SHOWN = ("score", "subtitles", "split", "limit")


def _table(group: str, values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The scores of each value of a group. Where not all scores are of the same items, each cell says of how many."""
    names: Sequence[str] = list(dict.fromkeys(name for scores in values.values() for name in scores))
    lines = [f"| {group} | n | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for value, scores in values.items():
        counts = {row["n"] for row in scores.values()}
        cells = (_cell(scores.get(name), counted=len(counts) > 1) for name in names)
        n = str(max(counts, default=0)) if len(counts) < 2 else ""
        lines.append(f"| {_text(value)} | {n} | {' | '.join(cells)} |")
    return lines


def _proactive(ways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Polls beside standing questions: what was found, what was said for nothing, and how late."""
    lines = [
        "| proactive | questions | moments | found | false alarms | lag, p50 and p95 (s) |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in ways.items():
        lag = "-" if own["lag_s"] is None else f"{own['lag_s']['p50']:g}, {own['lag_s']['p95']:g}"
        lines.append(
            f"| {name} | {own['questions']} | {own['moments']} | {own['found']} | {own['false_alarms']} | {lag} |"
        )
    return lines


def _text(value: str) -> str:
    """A value in one cell of a table."""
    return " ".join(value.split()).replace("|", "\\|")


def _cell(row: Mapping[str, Any] | None, *, counted: bool) -> str:
    if row is None or row["value"] is None:
        return "-"
    of = f" of {row['n']}" if counted else ""
    return f"{100 * row['value']:.1f} ({100 * row['low']:.1f}-{100 * row['high']:.1f}){of}"


def _short(text: str) -> str:
    return text[:_HASH]
