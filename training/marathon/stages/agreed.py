"""Stage 9: what enough of the captioners say of each clip.

Each of them errs in its own way. Of an answer that rests on several things (a count, an order, a list) one error of a captioner spoils the
whole, so that comparing answers rejects right questions and, where the same thing was overlooked, keeps wrong ones. Compared thing by
thing, what one captioner leaves out others tell, and what one makes up stands alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from afterview.training.marathon.models.prompts import prompt
from afterview.training.marathon.models.request import Request
from afterview.training.marathon.models.shapes import ClipCaptionAnswer
from afterview.training.marathon.rows import Clip, ClipCaption, Failure, LeftOut, Moment, Row, Video
from afterview.training.marathon.stages.captions import captioned, told, within_clip
from afterview.training.marathon.stages.tools import CHECKER, Tools

_ASPECTS = ("temporality", "spatiality", "object", "action", "scene", "summary")


def agreed_captions(
    video: Video,
    captions: Sequence[ClipCaption],
    further: Sequence[ClipCaption],
    failures: Sequence[Failure],
    tools: Tools,
) -> list[Row]:
    """A caption of each clip, or failures in their places; or why there are none. further, failures: of all looks."""
    if failures:
        why = (
            f"{len(failures)} of {len(failures) + len(further)} clips lack a further caption, so silence proves nothing"
        )
        return [LeftOut(key=video.video, video=video.video, left_out=why)]
    clips = [Clip.model_validate(one.model_dump(include=set(Clip.model_fields))) for one in captions]
    requests = [_request(video, clip, [*captions, *further], tools) for clip in clips]
    answers = tools.asker(CHECKER).ask_all(requests)
    return [captioned(clip, answer) for clip, answer in zip(clips, answers, strict=True)]


def _request(video: Video, clip: Clip, captions: Sequence[ClipCaption], tools: Tools) -> Request:
    looks = range(1 + len(tools.config.models.looks))
    said = [[cut for one in captions if one.look == look for cut in _cut(one, clip)] for look in looks]
    data: dict[str, Any] = {
        "clip": {"start_s": clip.start_s, "end_s": clip.end_s}, "least": tools.config.checks.captioners,
        "captioners": [{"captioner": look + 1, "captions": told(ones, *_ASPECTS)} for look, ones in enumerate(said)],
    }  # fmt: skip
    return Request(
        purpose="agreed_caption", item=clip.key, source=video.identity, messages=prompt("agreed_caption").messages(data),
        prompt_hash=prompt("agreed_caption").hash, data=data, shape=ClipCaptionAnswer, seed=tools.config.seed,
        check=lambda answer: within_clip(answer, clip),
    )  # fmt: skip


def _cut(one: ClipCaption, clip: Clip) -> Iterator[ClipCaption]:
    """The caption with its moments within the clip; nothing if it is of another part of the video."""
    if min(one.end_s, clip.end_s) > max(one.start_s, clip.start_s):
        yield one.model_copy(
            update={"moments": tuple(found for moment in one.moments for found in _part(moment, clip))}
        )


def _part(moment: Moment, clip: Clip) -> Iterator[Moment]:
    start, end = max(moment.start_s, clip.start_s), min(moment.end_s, clip.end_s)
    if start < end or clip.start_s <= moment.start_s == moment.end_s < clip.end_s:
        yield moment.model_copy(update={"start_s": start, "end_s": end})
