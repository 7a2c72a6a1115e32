"""Questions that are answered yes or no: how they are recognized, and what the words of an answer confirm. Pure, English only."""

import re
from dataclasses import dataclass
from typing import Literal

VERDICT_RULE = (
    "This is a question of yes or no. Begin with one of the words CONFIRMED (the frames show that it is so), REJECTED (the frames show "
    "that it is not so) or UNVERIFIED (the frames do not show whether it is so), then a colon and the reason in one or two sentences."
)
Verdict = Literal["confirmed", "rejected", "unverified"]
_BEGINS = re.compile(
    r"(?:(?:and|but|so|then|now|please|tell me|say|check|whether|if)[,:]?\s+)*"
    r"(?!(?:can|could|will|would)\s+you\b)"
    r"(?:is|isn|are|aren|was|wasn|were|weren|do|don|does|doesn|did|didn|has|hasn|have|haven|had|hadn|can|could|will|would)\b(?:'t|’t)?",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\bor\b(?!\s+not\b)", re.IGNORECASE)
_SAID = re.compile(
    r"[\s*_#>`\"'(\[]*(?:verdict\W+|answer\W+)?"
    r"(confirmed|rejected|unverified|unconfirmed|not confirmed|not verified|(?:yes|no)(?=\s*(?:[,.:;!*–—-]|$)))\b[\s*_`\"')\].,:;!–—-]*",
    re.IGNORECASE,
)
_MEANS: dict[str, Verdict] = {"confirmed": "confirmed", "yes": "confirmed", "rejected": "rejected", "no": "rejected"}
_LONGEST_REASON = 500


@dataclass(frozen=True)
class Judged:
    """A verdict, and why."""

    verdict: Verdict
    reason: str

    def to_dict(self) -> dict[str, str]:
        """The same as JSON."""
        return {"verdict": self.verdict, "reason": self.reason}


def is_yes_or_no(question: str) -> bool:
    """Whether a question is answered yes or no: "Was the door open?", but not "Was it red or blue?"."""
    last = re.split(r"(?<=[.!?])\s+", question.strip())[-1]
    return _BEGINS.match(last) is not None and _CHOICE.search(last) is None


def judge(text: str, *, cut: str = "") -> Judged:
    """What an answer to such a question confirms. An answer that does not say, or contradicts itself, leaves it unverified."""
    found = _SAID.match(text)
    if found is None:
        return Judged("unverified", "the model did not say yes or no")
    words = {word.lower() for word in re.findall(r"\b(?:CONFIRMED|REJECTED)\b", text)}
    if len(words) > 1:
        return Judged("unverified", "the model said both confirmed and rejected")
    reason = " ".join(text[found.end() :].split())
    verdict = _MEANS.get(found[1].lower(), "unverified")
    if len(reason) > _LONGEST_REASON:
        reason = reason[:_LONGEST_REASON].rstrip() + " ..."
    if cut:
        reason = f"{reason} (the answer was cut: {cut})".strip()
    return Judged(verdict, reason or "the model gave no reason")
