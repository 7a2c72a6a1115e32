"""Stages 3 to 6: captions of clips, events, captions of events, the caption of the video."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from afterview.training.marathon.models.prompts import prompt
from afterview.training.marathon.models.request import ItemFailed, Request, Shown
from afterview.training.marathon.models.shapes import CaptionAnswer, ClipCaptionAnswer, EventsAnswer, SaidMoment
from afterview.training.marathon.rows import (
    Clip,
    ClipCaption,
    Failure,
    GlobalCaption,
    LeftOut,
    Moment,
    Row,
    Video,
    VideoEvent,
)
from afterview.training.marathon.stages.tools import CAPTIONER, WRITER, Tools, look_role
from afterview.training.marathon.stages.videos import clips_of

_APART = 1_000_003  # between the seeds of captioners, which must not repeat each other
_OUTSIDE_S = 1.0  # how far a moment may reach beyond its clip; it is then cut


def clip_captions(video: Video, clips: Sequence[Clip], tools: Tools, *, role: str = CAPTIONER) -> list[Row]:
    """The captions of clips, or failures in their places."""
    requests = [_clip_request(video, clip, tools) for clip in clips]
    answers = tools.asker(role).ask_all(requests)
    return [captioned(clip, answer) for clip, answer in zip(clips, answers, strict=True)]


def further_captions(video: Video, tools: Tools) -> list[Row]:
    """What the further captioners say of shifted clips."""
    rows: list[Row] = []
    looks = len(tools.config.models.looks)
    for look in range(1, looks + 1):
        clips = clips_of(video, tools.config.clips, look=look, looks=looks)
        rows += clip_captions(video, clips, tools, role=look_role(look))
    return rows


def _clip_request(video: Video, clip: Clip, tools: Tools) -> Request:
    config = tools.config.clips
    step = (clip.end_s - clip.start_s) / config.frames
    times = tuple(round(clip.start_s + (number + 0.5) * step, 3) for number in range(config.frames))
    span = {"start_s": clip.start_s, "end_s": clip.end_s}
    data = {"seconds": video.seconds, "clip": span, "frames": list(times)}

    return Request(
        purpose="clip_caption", item=clip.key, source=video.identity, messages=prompt("clip_caption").messages(data),
        prompt_hash=prompt("clip_caption").hash, data=data, shape=ClipCaptionAnswer,
        seed=tools.config.seed + clip.look * _APART, check=lambda answer: within_clip(answer, clip),
        pictures=partial(_pictures, tools.videos / video.video, times, config.image_size),
        picture_times=times, picture_size=config.image_size,
    )  # fmt: skip


def _pictures(path: Path, times: tuple[float, ...], size: int) -> list[Shown]:
    """The pictures of a video at these times. A function of the module, so that a worker can be given it."""
    from afterview.stream.errors import SourceError  # late: they load PyAV
    from afterview.stream.source.recordings.pictures_at import pictures_at

    try:
        found = pictures_at(path, times, short_side=size)
    except SourceError as error:
        raise ItemFailed(f"its pictures cannot be read: {error}") from None
    return [Shown(one.at_s, one.jpeg) for one in found]


def within_clip(answer: ClipCaptionAnswer, clip: Clip) -> None:
    """Raise ValueError for a moment outside of its clip."""
    for one in answer.moments:
        if one.end_s < one.start_s or one.start_s < clip.start_s - _OUTSIDE_S or one.end_s > clip.end_s + _OUTSIDE_S:
            raise ValueError(
                f"a moment is not within the clip: '{one.text[:60]}' from {one.start_s:g} to {one.end_s:g} s, and the clip lasts from "
                f"{clip.start_s:g} to {clip.end_s:g} s"
            )


def captioned(clip: Clip, answer: ClipCaptionAnswer | ItemFailed) -> Row:
    """The row of a clip: its caption, with moments cut to the clip, or a failure."""
    if isinstance(answer, ItemFailed):
        return Failure(key=f"{clip.key}/{clip.look}", video=clip.video, failed=str(answer))
    moments = sorted((_within(one, clip) for one in answer.moments), key=lambda one: (one.start_s, one.end_s, one.text))
    return ClipCaption(
        **clip.model_dump(), temporality=answer.temporality, spatiality=answer.spatiality, object=answer.object, action=answer.action,
        scene=answer.scene, summary=answer.summary, moments=tuple(moments),
    )  # fmt: skip


def _within(one: SaidMoment, clip: Clip) -> Moment:
    start, end = max(one.start_s, clip.start_s), min(one.end_s, clip.end_s)
    return Moment(start_s=min(start, end), end_s=max(start, end), aspect=one.aspect, text=one.text)


def told(captions: Sequence[ClipCaption], *aspects: str) -> list[dict[str, Any]]:
    """Captions as the data of a prompt: times, some aspects, and the moments. One aspect alone is called `caption`."""
    return [
        {
            "start_s": one.start_s, "end_s": one.end_s,
            **{("caption" if len(aspects) == 1 else aspect): getattr(one, aspect) for aspect in aspects},
            "moments": [moment.model_dump() for moment in one.moments],
        }
        for one in captions
    ]  # fmt: skip


def text_request(
    purpose: Any,
    item: str,
    video: Video,
    data: dict[str, Any],
    shape: Any,
    tools: Tools,
    check: Any = lambda answer: None,
    entries: tuple[int, int] | None = None,
) -> Request:
    """A request without pictures. entries: fewest and most that are asked for."""
    return Request(
        purpose=purpose, item=item, source=video.identity, messages=prompt(purpose).messages(data), prompt_hash=prompt(purpose).hash,
        data=data, shape=shape, seed=tools.config.seed, check=check, entries=entries,
    )  # fmt: skip


def events_of(video: Video, captions: Sequence[ClipCaption], failures: Sequence[Failure], tools: Tools) -> list[Row]:
    """The events of a video, without gaps; or why it is left out."""
    if failures:
        why = f"{len(failures)} of {len(failures) + len(captions)} clips have no caption, so nothing is certain about the whole video"
        return [LeftOut(key=video.video, video=video.video, left_out=why)]

    videos = tools.config.videos

    def check(answer: EventsAnswer) -> None:
        if len(answer.events) > videos.most_events:
            raise ValueError(f"there are {len(answer.events)} events; give at most {videos.most_events}")
        starts = [one.start_s for one in answer.events]
        if starts != sorted(set(starts)) or starts[-1] >= video.seconds:
            raise ValueError(
                f"the events must follow each other from 0 to {video.seconds:g} s; they start at {starts[:20]}"
            )

    data = {"seconds": video.seconds, "clips": told(captions, "scene", "summary")}
    edges = {edge for one in captions for moment in one.moments for edge in (moment.start_s, moment.end_s)}
    most = min(videos.most_events, max(videos.least_events, len(captions) + len(edges)))  # each begins at one of them
    request = text_request("events", video.video, video, data, EventsAnswer, tools, check, (1, most))
    answer = tools.asker(WRITER).ask(request)
    if isinstance(answer, ItemFailed):
        return [Failure(key=video.video, video=video.video, failed=str(answer))]
    starts = [0.0, *(one.start_s for one in answer.events[1:]), video.seconds]
    events: list[Row] = [
        VideoEvent(
            key=f"{video.video}#{start:g}-{end:g}",
            video=video.video,
            number=number,
            title=one.title,
            start_s=start,
            end_s=end,
        )
        for number, (one, start, end) in enumerate(zip(answer.events, starts[:-1], starts[1:], strict=True))
    ]
    if len(events) < videos.least_events:
        why = f"has {len(events)} events, fewer than {videos.least_events}"
        return [LeftOut(key=video.video, video=video.video, left_out=why)]
    return events


def event_captions(
    video: Video, events: Sequence[VideoEvent], captions: Sequence[ClipCaption], tools: Tools
) -> list[Row]:
    """The events with their captions, or failures in their places. Each is told what comes before and after it."""
    requests = []
    for number, event in enumerate(events):
        near = [one for one in captions if one.end_s > event.start_s and one.start_s < event.end_s]
        data = {
            "event": {"start_s": event.start_s, "end_s": event.end_s, "title": event.title},
            "before": events[number - 1].title if number else None,
            "after": events[number + 1].title if number + 1 < len(events) else None,
            "seconds": video.seconds,
            "clips": told(near, "summary", "object", "action"),
        }
        requests.append(text_request("event_caption", event.key, video, data, CaptionAnswer, tools))
    return [
        Failure(key=event.key, video=video.video, failed=str(answer))
        if isinstance(answer, ItemFailed)
        else event.model_copy(update={"caption": answer.caption})
        for event, answer in zip(events, tools.asker(WRITER).ask_all(requests), strict=True)
    ]


def global_caption(video: Video, events: Sequence[VideoEvent], failures: Sequence[Failure], tools: Tools) -> list[Row]:
    """The caption of the whole video; or why it has none."""
    if failures:
        why = f"{len(failures)} of {len(failures) + len(events)} events have no caption"
        return [LeftOut(key=video.video, video=video.video, left_out=why)]
    said = [{"start_s": one.start_s, "end_s": one.end_s, "caption": one.caption} for one in events]
    data = {"seconds": video.seconds, "events": said}
    answer = tools.asker(WRITER).ask(text_request("global_caption", video.video, video, data, CaptionAnswer, tools))
    if isinstance(answer, ItemFailed):
        return [Failure(key=video.video, video=video.video, failed=str(answer))]
    return [GlobalCaption(key=video.video, video=video.video, caption=answer.caption)]
