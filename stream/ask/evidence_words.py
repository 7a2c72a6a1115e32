"""What an answer rests on, in words: the kinds of evidence, and subtitles. Pure."""

from collections.abc import Mapping
from typing import Any

from afterview.memory.base.counts import counted

_KINDS = {
    "memaug": "the attention of MemAug to frames of the memory",
    "decoder": "the attention of the decoder to clips, each shown by one of its frames",
    "index": "the frames that the index finds most similar to the question",
}
_NOT_READ = {
    "later": "later", "earlier": "before the span", "over_limit": "beyond the limit of length", "no_frame": "without a frame",
    "empty": "without text",
}  # fmt: skip
_SENT = "the frames that index and recall chose for the model"


def evidence_in_words(kind: str | None, *, own_model: bool) -> str:
    """What the evidence of an answer is; empty if nobody knows, or there is none. own_model: a server of the user's own answered."""
    return _SENT if own_model else _KINDS.get(kind or "", "")


def subtitles_in_words(counts: Mapping[str, Any], until: str) -> str:
    """What an answer's `provenance.subtitles` says. until: that time, as text."""
    said = [f"{counted(counts['used'], 'line')} read, up to {until}"]
    left = [f"{counts[key]} {what}" for key, what in _NOT_READ.items() if counts.get(key)]
    if left:
        said.append(f"not read: {', '.join(left)}")
    if counts["unreadable"]:
        said.append(f"without a time that can be read: {counts['unreadable']}")
    return "; ".join(said)
