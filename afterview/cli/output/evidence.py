"""Evidence in words: which kind it is, and what the number of each frame means."""

from typing import TYPE_CHECKING

from afterview.cli.output.own_model import is_of_own_model
from afterview.stream.ask.evidence_words import evidence_in_words

if TYPE_CHECKING:
    from afterview.stream.ask.question import Answer, Evidence


def kind_in_words(answer: "Answer") -> str:
    """What the evidence is; empty for an answer that an earlier version saved without its kind."""
    return evidence_in_words(answer.evidence_kind, own_model=is_of_own_model(answer))


def heading(answer: "Answer") -> str:
    """What stands above the frames."""
    kind = kind_in_words(answer)
    return f"evidence: {kind}" if kind else "evidence"


def bars_in_words(answer: "Answer") -> str:
    """What the bars under the frames of a sheet show; without bars, what the frames are."""
    if is_of_own_model(answer):
        return "bars: the frames that the answer cites"
    if answer.evidence_kind == "index":
        return kind_in_words(answer)
    whose = {"memaug": "MemAug's attention", "decoder": "the decoder's attention"}.get(answer.evidence_kind or "")
    return f"bars: share of {whose or 'the attention of the model'}, over all frames"


def bar_of(item: "Evidence", answer: "Answer") -> float | None:
    """The length of a frame's bar, 0..1. A score of the index has none: it is a cosine, and small even for the best frame."""
    return item.weight if has_shares(answer) or is_of_own_model(answer) else None


def has_shares(answer: "Answer") -> bool:
    """Whether weights are shares of attention, so that light frames need not be shown."""
    return answer.evidence_kind != "index" and not is_of_own_model(answer)


def standing(item: "Evidence", answer: "Answer") -> str:
    """What a frame is for the answer: `cited` or only `sent` of a model server, its score in the index, or its weight."""
    if is_of_own_model(answer):
        cited = any(part.provenance.get("cited") for part in answer.parts if part.coverage.camera == item.camera)
        return "cited" if cited and item.weight > 0 else "sent "
    return f"score {item.weight:.3f}" if answer.evidence_kind == "index" else f"weight {item.weight:.3f}"
