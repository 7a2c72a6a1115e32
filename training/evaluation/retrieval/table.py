"""The figures of a retrieval, for people. Pure."""

from collections.abc import Mapping
from typing import Any, Final

BAR: Final = (
    "Beside it: framesieve 0.2.0 on MomentSeeker, with SigLIP2-base-224 frames: R@1 0.201 with top-4 pooling, 0.175 with max; 5 MB of "
    "index an hour of video; 1.5 ms a query."
)


def markdown(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """One column for each way to ask and pool. groups: the group `queries` of the results' document."""
    if not groups:
        return "No query could be asked."
    names = list(dict.fromkeys(name for scores in groups.values() for name in scores))
    lines = [f"| | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|"]
    lines.append(f"| n | {' | '.join(str(max(one['n'] for one in scores.values())) for scores in groups.values())} |")
    lines += [f"| {name} | {' | '.join(_cell(scores.get(name)) for scores in groups.values())} |" for name in names]
    return "\n".join(lines)


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "-"
    return f"{score['value']:.3f} ({score['low']:.2f}-{score['high']:.2f})"
