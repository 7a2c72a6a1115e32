"""What `--json` prints: one document on standard output. Loads nothing heavy."""

import json
from typing import Any

from memory.records import Gap


def dump(document: dict[str, Any]) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, ensure_ascii=False))


def gap_document(gap: Gap) -> dict[str, Any]:
    """A gap as JSON; `end` and `seconds` are null while it lasts."""
    lasting = gap.end != gap.end
    return {
        "start": gap.start,
        "end": None if lasting else gap.end,
        "seconds": None if lasting else round(gap.seconds, 3),
        "reason": gap.reason,
    }
