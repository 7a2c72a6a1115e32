"""What an answer of a user's own model server has more: verdicts; and whether it is one."""

from typing import TYPE_CHECKING

from afterview.cli.output.documents import printable

if TYPE_CHECKING:
    from afterview.stream.ask.question import Answer


def is_of_own_model(answer: "Answer") -> bool:
    """Whether a server of the user's own answered. Its evidence has no weights of attention: they only say what it cites."""
    return any("answered_by" in part.provenance for part in answer.parts)


def verdict_lines(answer: "Answer") -> list[str]:
    """`verdict: confirmed (the door is open in [2])`, of each camera whose question is answered yes or no."""
    found = []
    for part in answer.parts:
        verdict = part.provenance.get("verdict")
        if isinstance(verdict, dict) and verdict:
            camera = f"{part.coverage.camera}: " if len(answer.parts) > 1 else ""
            found.append(f"verdict: {camera}{verdict['verdict']} ({printable(str(verdict['reason']))})")
    return found
