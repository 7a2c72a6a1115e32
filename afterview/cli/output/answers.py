"""Answers and searches as text for people."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from afterview.cli.output.documents import columns_of, describe_gap, describe_time_basis, printable
from afterview.cli.output.evidence import has_shares, heading, standing
from afterview.cli.output.own_model import verdict_lines
from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo, local_timezone
from afterview.memory.base.counts import counted, were
from afterview.memory.base.records import Gap
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.plans.removal import describe_removal
from afterview.stream.ask.evidence_words import subtitles_in_words

if TYPE_CHECKING:
    from afterview.stream.ask.answer_record import AnswerRecord, Images, Origin, SearchRecord
    from afterview.stream.ask.question import Coverage, Evidence
    from afterview.stream.ask.search import Hit

PICTURE_DAMAGED = "picture damaged"  # behind a frame, and in the caption of its picture
LEAST_WEIGHT = 0.01  # evidence below this share is only counted
_LEAST = f"{100 * LEAST_WEIGHT:g} %"
_FEWEST = 3  # frames shown where all are below it
_MOST_GAPS = 10  # printed per camera; --json has all
_ASKED = {  # what the index was asked, where that is not simply the text
    "rule": 'searched for "{}", a caption made of the question; --as-is searches for the text itself',
    "other language": "the text is not in English, so no caption was made of it: searched for it as it is",
    "nothing left": "no caption can be made of the question: searched for it as it is",
}
_PLACE = re.compile(r" \((place [^)]*)\)")  # of a camera among those that are similar to the question


def zone_of(cameras: Mapping[str, CameraInfo]) -> CameraInfo:
    """The camera in whose zone the time of a question is shown: the first one; without cameras, one in the zone of this machine."""
    for info in cameras.values():
        return info
    try:
        return CameraInfo("", "", timezone=local_timezone())
    except UsageError:  # the variable TZ is no name of a zone
        return CameraInfo("", "")


def print_origin(record: "AnswerRecord | SearchRecord") -> None:
    """What was asked, when and of what: above an answer that is opened again."""
    about, zone = record.about, zone_of(record.about.cameras)
    print(f"{record.kind}: {printable(record.text)}")
    at = about.options.get("at")
    as_of = "" if at is None else f", as of {zone.show(at)}"
    print(f"asked: {zone.show(about.asked)}{as_of}, of {about.memory}, with afterview {about.version}")
    print()


def looks_in_lines(provenance: Mapping[str, Any]) -> list[str]:
    """What to know of an answer's further looks, if it made any: how many, and of the names that they looked for."""
    lines = []
    if looks := provenance.get("looks"):
        times = counted(sum(one["times"] for one in looks), "time")
        lines.append(f"looked again {times} for this answer; --json lists the looks")
    if corrected := provenance.get("names_corrected"):
        lines.append(
            f"{counted(corrected, 'name')} corrected: the model named a thing twice, or not as the question does"
        )
    if unmatched := provenance.get("names_unmatched"):
        lines.append(f"{counted(unmatched, 'name')} not as in the question: none of the model's likely words fits it")
    return lines


def print_answer(record: "AnswerRecord", images: "Images", *, text: bool = True) -> None:
    """The answer for a person: text, evidence, coverage, each time in its camera's zone. `text` False where it was streamed."""
    answer, zones = record.answer, record.about.cameras
    if text:
        print(printable(answer.text) or "(the model said nothing)")
    for line in verdict_lines(answer):
        print(f"\n{line}")
    if answer.notice:
        print(f"\nnote: {answer.notice}")
    if answer.evidence:
        print(f"\n{heading(answer)}")
    shown, rest = split_evidence(answer.evidence, all_of_them=not has_shares(answer))
    names = columns_of(item.camera for item in shown)
    for item in shown:
        when = zones[item.camera].show(item.time)
        image = images.get((item.camera, item.frame), "(no image)")
        print(
            f"  {names[item.camera]}  {when}  frame {item.frame:<7} {standing(item, answer)}  {image}{damage_of(item)}"
        )
    if rest:
        print(f"  {rest}")
    print_forgotten(record.about)
    if answer.declined:
        return
    print("\ncoverage")
    for part in answer.parts:
        info = zones[part.coverage.camera]
        _print_coverage(part.coverage, info)
        for line in looks_in_lines(part.provenance):
            print(f"    {line}")
        subtitles: Any = part.provenance.get("subtitles")
        if subtitles:
            print(f"    subtitles: {subtitles_in_words(subtitles, info.show(subtitles['until']))}")
    if len(answer.parts) + len(answer.skipped) > 1:
        for line in by_reason("asked", ((part.coverage.camera, part.why) for part in answer.parts)):
            print(f"  {line}")
    for line in by_reason("not asked", answer.skipped.items()):
        print(f"  {line}")
    first_s = min((part.timing["first_token_s"] for part in answer.parts), default=answer.total_s)
    print(f"\nfirst token after {first_s:.2f} s, complete after {answer.total_s:.2f} s; answer {answer.id}")


def damage_of(frame: "Evidence | Hit") -> str:
    """What to say behind a frame whose picture is damaged."""
    return f"  ({PICTURE_DAMAGED})" if frame.picture_damaged else ""


def split_evidence(evidence: Sequence["Evidence"], *, all_of_them: bool = False) -> tuple[list["Evidence"], str]:
    """The evidence to show, and what to say of the rest; all of it is in JSON. all_of_them: weights are no shares of attention."""
    if all_of_them:
        return list(evidence), ""
    heavy = [item for item in evidence if item.weight >= LEAST_WEIGHT]
    if heavy or not evidence:
        rest = len(evidence) - len(heavy)
        return heavy, f"{rest} more below {_LEAST}" if rest else ""
    few = list(evidence[:_FEWEST])
    more = f"; {len(evidence) - len(few)} more are left out" if len(evidence) > len(few) else ""
    return few, f"the attention is spread: no frame has {_LEAST} of it{more}"


def by_reason(what: str, cameras: Iterable[tuple[str, str]]) -> list[str]:
    """One line per reason, with the cameras that it is true of: "asked hall, gate: no camera was named"."""
    together: dict[str, list[str]] = {}
    for camera, why in cameras:
        place = _PLACE.search(why)
        named = f"{camera} ({place[1]})" if place else camera
        together.setdefault(_PLACE.sub("", why), []).append(named)
    return [f"{what} {', '.join(names)}: {why}" for why, names in together.items()]


def print_search(record: "SearchRecord", images: "Images") -> None:
    """What a search found."""
    result = record.result
    if not result.hits:
        print("nothing was recorded in that span")
    names = columns_of(hit.camera for hit in result.hits)
    for hit in result.hits:
        image = images.get((hit.camera, hit.frame), "(no image)")
        when = record.about.cameras[hit.camera].show_exact(hit.time)
        print(f"{names[hit.camera]}  {when}  frame {hit.frame:<7} score {hit.score:.3f}  {image}{damage_of(hit)}")
    print_forgotten(record.about)
    if result.asked is not None and result.asked.how in _ASKED:
        print(f"note: {_ASKED[result.asked.how].format(result.asked.text)}")
    if not result.exact:
        print("note: part of the span was searched approximately (its index is too large to compare every frame)")
    if result.notice:
        print(f"note: {result.notice}")
    for line in by_reason("not searched", result.skipped.items()):
        print(line)
    print(f"answer {record.about.id}")


def print_forgotten(about: "Origin") -> None:
    """What of a saved answer was deleted since it was given."""
    for camera, counts in about.forgotten.items():
        shown = f" ({counts['shown']} of them had been shown)" if counts["shown"] else ""
        print(
            f"  {camera}: forgotten on request since: frames of the span: {counts['frames']}{shown}; what came from them is deleted"
        )


def _print_coverage(coverage: "Coverage", info: CameraInfo) -> None:
    first, last = info.show(coverage.first_time), info.show(coverage.last_time)
    length = spell_duration(coverage.last_time - coverage.first_time + 1 / info.fps)
    how = "bounded recall" if coverage.recall == "bounded" else "evenly spaced clips"
    attended = "all of them" if coverage.recall == "full" else f"{coverage.recalled} of them ({how})"
    attended = f"attended to {attended}"
    if coverage.recall == "index":
        attended = "the index compared all of them with the question"
    if coverage.search == "approximate":
        attended += " (approximate search: the same question may recall other frames)"
    print(f"  {coverage.camera}: {counted(coverage.frames, 'frame')}, {first} to {last} ({length})")
    lag = spell_duration(coverage.lag_s)
    print(f"    {attended}; newest frame is {lag} older than the time of the question")
    print(f"    times from: {describe_time_basis(coverage.time_basis)}")
    for line in describe_gaps(coverage.gaps, info):
        print(f"    {line}")
    for gone in coverage.removed:
        print(f"    {describe_removal(gone, info)}")
    if coverage.in_no_whole_clip:
        left = f"{were(coverage.in_no_whole_clip)} left out: the rest of their clip is not in the span, or is forgotten"
        print(f"    {counted(coverage.in_no_whole_clip, 'more frame')} {left}")
    if coverage.damaged:
        left = f"{were(coverage.damaged)} left out; `afterview fsck` says what is wrong"
        print(f"    {counted(coverage.damaged, 'frame')} could not be read and {left}")
    if coverage.unreachable:
        left = f"{were(coverage.unreachable)} left out: {coverage.unreachable_why}"
        print(f"    {counted(coverage.unreachable, 'frame')} cannot be read now and {left}")


def describe_gaps(gaps: Sequence[Gap], info: CameraInfo) -> list[str]:
    """The longest gaps by time, one per line, and how many more there are."""
    longest = sorted(gaps, key=lambda gap: (gap.lasts, gap.seconds if not gap.lasts else 0.0), reverse=True)
    shown, rest = longest[:_MOST_GAPS], longest[_MOST_GAPS:]
    lines = [f"gap: {describe_gap(gap, info)}" for gap in sorted(shown, key=lambda gap: gap.start)]
    if rest:
        whole = spell_duration(sum(gap.seconds for gap in rest))
        lines.append(f"and {counted(len(rest), 'more gap')}, {whole} in all, none longer than these; --json lists them")
    return lines
