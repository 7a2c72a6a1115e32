"""The kinds of evidence in words. Pure."""

_KINDS = {
    "memaug": "the attention of MemAug to frames of the memory",
    "decoder": "the attention of the decoder to clips, each shown by one of its frames",
    "index": "the frames that the index finds most similar to the question",
}
_SENT = "the frames that index and recall chose for the model"


def evidence_in_words(kind: str | None, *, own_model: bool) -> str:
    """What the evidence of an answer is; empty if nobody knows, or there is none. own_model: a server of the user's own answered."""
    return _SENT if own_model else _KINDS.get(kind or "", "")
