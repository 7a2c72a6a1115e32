"""What a tool says: text for the assistant, links to pictures, and the same as data. All is bounded; what is cut is said. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from afterview.stream.ask.evidence_words import evidence_in_words, subtitles_in_words

SHOWN_FRAMES = 5  # in the text, with links: all of it goes into the prompt of the assistant
_MOST_LINES = 20  # about cameras, and of each kind of remark
_LONGEST_TEXT = 12_000  # characters
_LONGEST_ANSWER = 8_000  # characters of an answer, and of any other text in the data
_LARGEST_DATA = 120_000  # characters as JSON
_MOST_ENTRIES = (64, 16, 4, 1)  # of each list or mapping in the data; the next, if it is still too large

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Link:
    """A picture that the HTTP API gives."""

    name: str
    url: str


@dataclass(frozen=True)
class Result:
    """What a call returns. data: the same as `text`, for programs. pictures: JPEGs. failed: whether it is an error."""

    text: str
    data: dict[str, Any]
    links: tuple[Link, ...] = ()
    pictures: tuple[bytes, ...] = ()
    failed: bool = False


def answered(document: Document, base: str | None) -> Result:
    """An answer as `/api/v1/ask` gives it. base: the address of the HTTP API; None where there is none, so that pictures have no links."""
    keys = (
        "id",
        "question",
        "answer",
        "declined",
        "finds_only",
        "evidence_kind",
        "notice",
        "coverage",
        "skipped",
        "notes",
    )
    data: dict[str, Any] = {"status": "answered", **{key: document[key] for key in keys if key in document}}
    data["evidence"] = [_linked(item, base) for item in document["evidence"]]
    data["cameras"] = [
        {**{key: part[key] for key in ("camera", "answer", "why", "coverage") if key in part}, **_from_provenance(part)}
        for part in document["cameras"]
    ]
    shown = data["evidence"][:SHOWN_FRAMES]
    answer = document["answer"] or "(the model gave no words)"
    verdicts = [
        f"Verdict ({one['camera']}): {one['verdict']['verdict']}" for one in data["cameras"] if "verdict" in one
    ]
    lines = [_shortened(answer), *verdicts, "", f"Answer {document['id']} rests on:"]
    covered = [part["coverage"] for part in document["cameras"] if part.get("coverage")]
    lines += [_coverage(coverage) for coverage in covered[:_MOST_LINES]]
    if len(covered) > _MOST_LINES:
        lines.append(f"- {len(covered) - _MOST_LINES} more cameras: see the data")
    heard = [one["subtitles"] for one in data["cameras"] if "subtitles" in one]
    lines += [f"- subtitles: {subtitles_in_words(one, one['until_iso'])}" for one in heard]
    if shown:
        own_model = any("answered_by" in one for one in data["cameras"])
        words = evidence_in_words(document.get("evidence_kind"), own_model=own_model)
        title = f"Evidence{f' ({words})' if words else ''}, strongest first"
        lines += ["", _title(title, shown, data["evidence"], base)]
        number = "score" if document.get("finds_only") else "weight"
        lines += [_line(item, f"{number} {item['weight']:.2f}") for item in shown]
    lines += _remarks(document)
    return bounded(Result("\n".join(lines), data, _links(shown)))


def _from_provenance(part: Document) -> Document:
    """What subtitles were read, and what the answer of a user's own model server has more."""
    provenance = part.get("provenance") or {}
    return {key: provenance[key] for key in ("answered_by", "sent", "verdict", "subtitles") if provenance.get(key)}


def found(document: Document, base: str | None) -> Result:
    """A search as `/api/v1/search` gives it."""
    keys = ("id", "text", "exact", "skipped", "stale", "notice", "notes", "asked_index")
    data: dict[str, Any] = {"status": "answered", **{key: document[key] for key in keys if key in document}}
    data["hits"] = [_linked(hit, base) for hit in document["hits"]]
    shown = data["hits"][: 2 * SHOWN_FRAMES]
    count = f"{len(data['hits'])} frame{'s' if len(data['hits']) != 1 else ''}"
    lines = [f"{count} most similar to '{_shortened(document['text'])}'; similar does not mean that it is there."]
    if (asked := document.get("asked_index")) and asked != document["text"].strip():
        lines.append(f"The index was asked for '{_shortened(asked)}', a caption made of the question.")
    if shown:
        lines += ["", _title("Frames, best first", shown, data["hits"], base)]
        lines += [_line(hit, f"score {hit['score']:.2f}") for hit in shown]
    lines += [f"Not up to date: {camera}: {why}" for camera, why in _some(document.get("stale", {}))]
    lines += _remarks(document)
    return bounded(Result("\n".join(lines), data, _links(shown[:SHOWN_FRAMES])))


def listed(document: Document, now: str) -> Result:
    """All cameras. now: the present time, for people."""
    cameras = document["cameras"]
    lines = [
        f"It is {now}. {len(cameras)} camera{'s' if len(cameras) > 1 else ''}:"
        if cameras
        else f"It is {now}. There is no camera that you may see."
    ]
    for camera in cameras[:_MOST_LINES]:
        name = f"'{camera['name']}'" + (f" (id {camera['camera']})" if camera["camera"] != camera["name"] else "")
        detail = f" ({camera['detail']})" if camera.get("detail") else ""
        span = f"{camera['frames']} frames"
        if camera["frames"]:
            span += f" from {camera['first_time_iso']} to {camera['last_time_iso']}, zone {camera['timezone']}"
        lines.append(f"- {name}: {camera['state']}{detail}; {'frames unknown' if camera['frames'] is None else span}")
    if len(cameras) > _MOST_LINES:
        lines.append(f"- {len(cameras) - _MOST_LINES} more cameras: see the data")
    lines += [f"Cannot be read: {camera}: {why}" for camera, why in _some(document["skipped"])]
    return bounded(Result("\n".join(lines), {"now_iso": now, **document}))


def line_of_time(document: Document) -> Result:
    """The timeline of a camera."""
    lines = [
        f"Camera '{document['name']}' (id {document['camera']}), zone {document['timezone']}: {document['frames']} frames"
    ]
    if document["frames"]:
        lines[0] += f" from {document['first_time_iso']} to {document['last_time_iso']}"
    lines += [f"- frames from {one['start_iso']} to {one['end_iso']}: {one['frames']}" for one in document["coverage"]]
    lines += [
        f"- no frames from {one['start_iso']} to {one['end_iso'] or 'now'}: {one['reason']}" for one in document["gaps"]
    ]
    lines += [f"- no longer remembered: {json.dumps(one)}" for one in document["no_longer_remembered"]]
    missing = [f"{count} of {name}" for name, count in document["left_out"].items() if count]
    if missing:
        lines.append(f"Earlier entries are left out: {', '.join(missing)}. Ask about a shorter span.")
    return bounded(Result("\n".join(lines), dict(document)))


def framed(document: Document, base: str | None, *, picture: bool) -> Result:
    """One frame. picture: whether the client wanted it."""
    data = _linked(document, base)
    damaged = " Parts of its picture were lost." if data["picture_damaged"] else ""
    lines = [f"Camera '{data['camera']}', frame {data['frame']}, {data['time_iso']}.{damaged}"]
    if data["image"]:
        lines.append(f"Picture: {data['image']}")
    elif not picture:
        lines.append("There is no link, because no service gives pictures here: call frame again with picture true.")
    lines += [f"Note: {note}" for note in data["notes"]]
    return bounded(Result("\n".join(lines), data, _links([data])))


def with_pictures(result: Result, pictures: Sequence[bytes], missing: Sequence[str]) -> Result:
    """The same with pictures, and why others are missing."""
    text = "\n".join([result.text, *(f"Note: {one}" for one in missing)])
    return replace(result, text=text, pictures=tuple(pictures))


def waiting(handle: str, what: str, patience_s: float, kept_s: float) -> Result:
    """An answer that is not there yet. what: question or search."""
    text = (
        f"The {what} is not answered after {patience_s:.0f} s. Call answer_status with handle '{handle}': it waits up to "
        f"{patience_s:.0f} s and returns the answer, or asks you to call it again. The handle ends {kept_s / 60:.0f} minutes "
        "after its last use."
    )
    return Result(text, {"status": "waiting", "handle": handle, "next": "answer_status"})


def failed(kind: str, message: str) -> Result:
    """An error: what is wrong, and the remedy."""
    return bounded(Result(message, {"error": {"kind": kind, "message": message}}, failed=True))


def bounded(result: Result) -> Result:
    """The same, cut to what an assistant can take. `left_out` of the data counts what is missing from each list."""
    data, left_out = result.data, dict[str, int]()
    for most in _MOST_ENTRIES:
        left_out = {}
        data = _cut(result.data, most, "", left_out)
        if len(json.dumps(data, ensure_ascii=False)) <= _LARGEST_DATA:
            break
    else:
        data = {key: value for key, value in data.items() if isinstance(value, str | int | float | None)}
        left_out = {"": 1}
    text, said = _whole(result.text), ""
    if len(text) > _LONGEST_TEXT:
        said = f"\n(cut here: {len(text) - _LONGEST_TEXT} more characters)"
    if left_out:
        data["left_out"] = left_out
        counted = ", ".join(f"{count} of {name or 'all lists'}" for name, count in list(left_out.items())[:8])
        said += (
            f"\nThe data were cut to a size that fits; left out: {counted}. Ask about a shorter span or fewer cameras."
        )
    return replace(result, text=text[:_LONGEST_TEXT] + said, data=data)


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_ANSWER:
        return text
    return f"{text[:_LONGEST_ANSWER]} (cut here: {len(text) - _LONGEST_ANSWER} more characters)"


def _cut(value: Any, most: int, place: str, left_out: dict[str, int]) -> Any:
    if isinstance(value, str):
        return _whole(_shortened(value))
    if isinstance(value, Mapping):
        fixed = not place or any(isinstance(one, Mapping | list) or one is None for one in value.values())
        kept = list(value.items()) if fixed else list(value.items())[: max(most, 32)]
        _count(place, len(value) - len(kept), left_out)
        return {_whole(str(key)): _cut(one, most, f"{place}.{key}".strip("."), left_out) for key, one in kept}
    if isinstance(value, list | tuple):
        newest = place.rpartition(".")[2] in ("gaps", "coverage", "no_longer_remembered")  # these are in order of time
        kept_list = value[-most:] if newest else value[:most]
        _count(place, len(value) - len(kept_list), left_out)
        return [_cut(one, most, place, left_out) for one in kept_list]
    return value


def _count(place: str, missing: int, left_out: dict[str, int]) -> None:
    if missing > 0:
        left_out[place] = left_out.get(place, 0) + missing


def _whole(text: str) -> str:
    """A text that can be sent: half of a surrogate pair is no text."""
    return text.encode("utf-8", "replace").decode()


def _linked(item: Document, base: str | None) -> dict[str, Any]:
    path = item.get("image")
    return {**item, "image": f"{base}{path}" if base and path else None}


def _links(items: Iterable[Document]) -> tuple[Link, ...]:
    return tuple(Link(f"{item['camera']}, {item['time_iso']}", item["image"]) for item in items if item["image"])


def _title(title: str, shown: Sequence[Any], all_items: Sequence[Any], base: str | None) -> str:
    more = f" ({len(shown)} of {len(all_items)})" if len(shown) < len(all_items) else ""
    return f"{title}{more}{'' if base else '; the tool frame shows their pictures'}:"


def _line(item: Document, more: str) -> str:
    damaged = ", picture damaged" if item.get("picture_damaged") else ""
    link = f": {item['image']}" if item["image"] else ""
    return f"- {item['camera']}, {item['time_iso']}, frame {item['frame']}, {more}{damaged}{link}"


def _coverage(coverage: Document) -> str:
    if not coverage.get("frames"):
        return f"- {coverage['camera']}: no frames"
    said = f"- {coverage['camera']}: {coverage['frames']} frames from {coverage['first_time_iso']} to {coverage['last_time_iso']}"
    gaps = [gap for gap in coverage.get("gaps", ()) if gap.get("end") is not None]
    if gaps:
        count = "1 gap," if len(gaps) == 1 else f"{len(gaps)} gaps, the last"
        said += f"; {count} from {gaps[-1]['start_iso']} to {gaps[-1]['end_iso']} ({gaps[-1]['reason']})"
    lasting = [gap for gap in coverage.get("gaps", ()) if gap.get("end") is None]
    if lasting:
        said += f"; none since {lasting[-1]['start_iso']} ({lasting[-1]['reason']})"
    if coverage.get("no_longer_remembered"):
        said += f"; {len(coverage['no_longer_remembered'])} spans are no longer remembered"
    missing = {key: coverage[key] for key in ("damaged", "unreachable") if coverage.get(key)}
    return said + "".join(f"; {count} frames are {why}" for why, count in missing.items())


def _remarks(document: Document) -> list[str]:
    skipped = [f"Not asked: {camera}: {why}" for camera, why in _some(document.get("skipped", {}))]
    notes = [f"Note: {note}" for note in list(document.get("notes", ()))[:_MOST_LINES]]
    notice = [f"Note: {document['notice']}"] if document.get("notice") else []
    said = [*skipped, *notes, *notice]
    return ["", *said] if said else []


def _some(values: Mapping[str, str]) -> list[tuple[str, str]]:
    some = list(values.items())[:_MOST_LINES]
    return some if len(some) == len(values) else [*some, (f"{len(values) - _MOST_LINES} more cameras", "see the data")]
