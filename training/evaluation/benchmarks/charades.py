"""Charades-STA: find the span of time that a sentence describes, in videos of half a minute. R@1 at IoU .3, .5 and .7, and mean IoU.

Format: charades_sta_test.txt, lines `VIDEO START END##SENTENCE`; also lmms-eval's rows (video, caption, timestamp[2]); videos in
Charades_v1_480/. Prompt and official rule: lmms-eval, lmms_eval/tasks/charades_sta/charades.yaml and eval_tvg.py.

Each item is asked twice: with the published prompt, whose text names a span, and with the sentence alone, whose evidence shows one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.lettering import as_list
from afterview.training.evaluation.benchmarks.spans import official_span, span_in_text, span_scores

_PROMPT: Final = (
    "Please find the visual event described by a sentence in the video, determining its starting and ending times. The format should be: "
    "'The event happens in the start time - end time'. For example, The event 'person turn a light on' happens in the 24.3 - 30.4 seonds. "
    "Now I will give you the textual sentence: {sentence}. Please return its start time and end time."
)
_TOKENS: Final = 50  # as published


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    if texts := data.find("charades_sta_test.txt", "*/charades_sta_test.txt", "charades*test*.txt"):
        data.files.append(texts[0])
        # Not splitlines: a caption may hold other marks that end lines, such as U+0085.
        lines = texts[0].read_text(encoding="utf-8-sig", errors="replace").split("\n")
        rows = [_of_line(line) for line in lines if line.strip()]
        for row in rows:
            if "\ufffd" in row["caption"]:
                data.problems.add("a sentence is not UTF-8", f"{row['video']}: {row['caption']}")
    else:
        rows = [row for _, row in data.table("*.parquet", "*.jsonl", "*.json", "*.csv")]
    for number, row in enumerate(rows):
        sentence, key = data.text(row, "caption", "sentence").rstrip("."), f"{data.text(row, 'video')} {number}"
        span = [clock_seconds(value) for value in as_list(row.get("timestamp"))]
        if len(span) != 2 or span[0] is None or span[1] is None or span[1] <= span[0]:
            data.problems.add("no span of time", f"{key}: {row.get('timestamp')!r}")
            continue
        video = data.video(row.get("video"), "Charades_v1_480", "Charades_v1", "videos", "video", where=key)
        if video is not None:
            data.add(
                Item(
                    key, video, sentence, _PROMPT.format(sentence=sentence), truth=f"{span[0]:g} - {span[1]:g}",
                    truth_s=(span[0], span[1]), max_new_tokens=_TOKENS,
                )
            )  # fmt: skip
    return data.reading()


def _of_line(line: str) -> dict[str, Any]:
    head, _, sentence = line.partition("##")
    parts = head.split()
    return {"video": parts[0] if parts else "", "timestamp": parts[1:3], "caption": sentence.strip()}


def _score(item: Item, answer: str) -> Mapping[str, float]:
    assert item.truth_s is not None, "the reader gives every item one"
    return {
        **span_scores("text", span_in_text(answer), item.truth_s),
        **span_scores("official", official_span(answer), item.truth_s),
    }


CHARADES_STA: Final = Benchmark(
    name="charades-sta", title="Charades-STA", kind="offline",
    needs=("charades_sta_test.txt", "Charades_v1_480/<video>.mp4"),
    download="huggingface.co/datasets/lmms-lab/charades_sta; videos: Charades_v1_480 of prior.allenai.org/projects/charades",
    source="lmms-eval, lmms_eval/tasks/charades_sta/charades.yaml, utils.py, eval_tvg.py",
    read=_read, score=_score, span=True, likelihood=False,
)  # fmt: skip
