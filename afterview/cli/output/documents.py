"""What `--json` prints, and gaps and clocks as text for people. Loads nothing heavy."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from afterview.cli.progress import cells
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import counted
from afterview.memory.base.iso_times import with_iso
from afterview.memory.base.typed_times import spell_duration

if TYPE_CHECKING:
    from afterview.memory.base.records import Gap
    from afterview.memory.plans.retention import Limits

_WIDEST_NAME = 32  # cells; a longer name is not cut, and what follows it stands further right


def dump(document: dict[str, Any], memory: str | None = None, cameras: Iterable[CameraInfo] = ()) -> None:
    """One JSON document on standard output.

    memory: the memory that the command worked on, the first key of its document. cameras: those whose times get a KEY_iso beside them.
    """
    shown = with_iso(document, {info.id: info for info in cameras})
    print(json.dumps(shown if memory is None else {"memory": memory, **shown}, ensure_ascii=False))


def for_programs(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What commands report of each camera, without the sentence for people, `said`."""
    return [{key: value for key, value in document.items() if key != "said"} for document in documents]


def printable(text: str) -> str:
    """Text that is safe to show on a terminal: control characters except line ends are made visible."""
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) == "Cc" and letter != "\n" else letter for letter in text
    )


def columns_of(names: Iterable[str]) -> dict[str, str]:
    """Each name, filled up to the width of the longest one up to _WIDEST_NAME, so that what follows stands in columns."""
    widths = {name: cells(name) for name in names}
    width = min(max(widths.values(), default=0), _WIDEST_NAME)
    return {name: name + " " * (width - own) for name, own in widths.items()}


def print_skipped(skipped: Mapping[str, str], what: str) -> None:
    """One line for each camera that a command left out, after what it did. what: happened to it ('not searched')."""
    for name, why in skipped.items():
        print(f"{printable(name)}: {what}: {printable(why)}")


def describe_gap(gap: "Gap", info: CameraInfo) -> str:
    """A gap for people, in the camera's zone."""
    why = (
        "crashed: no process is recording, and the last one did not stop cleanly"
        if gap.reason == "crashed"
        else gap.reason
    )
    if gap.lasts:
        return f"since {info.show(gap.start)} ({why})"
    return f"{info.show(gap.start)} to {info.show(gap.end)}, {spell_duration(gap.seconds)} ({gap.reason})"


def describe_limits(limits: "Limits") -> str:
    """The limits for people; empty without limits."""
    values = limits.to_dict()
    words = {"days": "{:g} days", "gigabytes": "{:.3g} GB", "coarse_days": "a quarter of the tokens after {:g} days"}
    return " and ".join(text.format(values[key]) for key, text in words.items() if values[key])


def describe_time_basis(counts: Mapping[str, int]) -> str:
    """The clock that the times come from, for people; with several clocks, how many frames each."""
    words = {
        "source": "camera or recording clock",
        "arrival": "arrival at this machine",
        "file": "start of the recording",
    }
    if len(counts) == 1:
        return words[next(iter(counts))]
    return ", ".join(f"{text} ({counted(counts[basis], 'frame')})" for basis, text in words.items() if basis in counts)
