"""RVS-Ego and RVS-Movie (VStream-QA's real-time sets): open questions at moments of a stream, judged by a language model.

Format: rows {video_id, video_path, conversations [{question, answer, start_time, end_time}]}, as rekv_stream_vqa.py of ReKV reads them; a
question is asked at its end_time. VStream-QA itself publishes frames of these videos (IVGSZ/VStream-QA, vstream-realtime/), no video files.
"""

from pathlib import Path
from typing import Final

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.scoring import open_score

SETS: Final = ("ego", "movie")


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for name in [options.split] if options.split else SETS:
        patterns = (f"{name}/*_oe.json", f"rvs_{name}*.json", f"rvs/{name}/*.json", f"*{name}*.json")
        rows = data.table(*patterns, needed=bool(options.split))
        if not rows:
            data.missing[f"rvs_{name}.json"] = None
            data.problems.add("set missing", name)
        for number, (_, row) in enumerate(rows, 1):
            video_id, turns = data.text(row, "video_id"), row.get("conversations")
            if not video_id:
                data.problems.add("no id", f"{name} row {number}")
                continue
            if not isinstance(turns, list):
                data.problems.add("video without questions", f"{name} {video_id}")
                continue
            for place, own in enumerate(turns):
                key = f"{name} {video_id} {place}"
                time = clock_seconds(own.get("end_time")) if isinstance(own, dict) else None
                if time is None:
                    data.problems.add("time unreadable", key)
                    continue
                question, answer = data.text(own, "question"), data.text(own, "answer")
                video = data.video(row.get("video_path") or video_id, "videos", name, f"{name}/videos", where=key)
                if video is not None and answer:
                    data.add(Item(key, video, question, question, truth=answer, groups={"set": name}, at_s=time))
                elif not answer:
                    data.problems.add("no answer published", key)
    return data.reading()


RVS: Final = Benchmark(
    name="rvs", title="RVS-Ego and RVS-Movie (VStream-QA)", kind="online",
    needs=("rvs_ego.json and rvs_movie.json: video_id, video_path, conversations", "the videos that they name"),
    download="huggingface.co/datasets/IVGSZ/VStream-QA (questions); videos of Ego4D and MovieNet",
    source="IVGSZ/Flash-VStream, Flash-VStream-LLaVA/README.md; ReKV, video_qa/rekv_stream_vqa.py",
    read=_read, score=open_score, splits=SETS, likelihood=False,
    judge="answers are judged by GPT-3.5; here they are compared word by word",
)  # fmt: skip
