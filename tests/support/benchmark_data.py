"""Small data directories in the published formats of benchmarks. The videos are those that the caller gives, or empty files."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def lay_out(directory: Path, files: dict[str, Any], videos: Sequence[str] = (), *, footage: Path | None = None) -> Path:
    """Write files (texts as they are, anything else as JSON; JSON Lines by their suffix) and videos below a directory; returns it."""
    for name, value in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(value, str):
            lines = "\n".join(json.dumps(one) for one in value) if name.endswith(".jsonl") else json.dumps(value)
            value = lines
        path.write_text(value, encoding="utf-8")
    for name in videos:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if footage is None:
            path.write_bytes(b"")
        else:
            shutil.copy(footage, path)
    return directory


QUESTION = "Which colour was the ring?"
COLOURS = ["red", "blue", "green", "orange"]
SRT = "1\n00:00:01,000 --> 00:00:02,000\na red ring\n"


def video_mme(directory: Path, **options: Any) -> Path:
    rows = [
        {
            "videoID": "v1", "question_id": f"00{number}-1", "duration": "short", "domain": "Knowledge",
            "sub_category": "Geography", "task_type": "Attribute Perception", "question": QUESTION,
            "options": [f"{letter}. {text}." for letter, text in zip("ABCD", COLOURS, strict=True)], "answer": "A",
        }
        for number in (1, 2)
    ]  # fmt: skip
    return lay_out(
        directory, {"videomme/test.jsonl": rows, "rows.jsonl": rows, "subtitle/v1.srt": SRT}, ["data/v1.mp4"], **options
    )


def long_video_bench(directory: Path, **options: Any) -> Path:
    row: dict[str, Any] = {
        "id": "a_0", "video_path": "a.mp4", "question": QUESTION, "candidates": COLOURS, "correct_choice": 0, "duration": 12.5,
        "duration_group": 15, "question_category": "T2O", "subtitle_path": "a_en.json", "starting_timestamp_for_subtitles": 100,
    }  # fmt: skip
    other = {**row, "id": "a_1", "subtitle_path": "b_en.json"}
    other |= dict(zip(("option0", "option1", "option2"), COLOURS, strict=False))
    del other["candidates"]
    other |= {"option3": "N/A", "option4": "N/A", "correct_choice": 1}
    one = [{"timestamp": [101.0, 102.5], "text": "a red ring"}, {"timestamp": [9.0, 10.0], "text": "before the clip"}]
    two = [{"start": "00:01:41.000", "end": "00:01:42.000", "line": "a blue ring"}]
    files = {"lvb_val.json": [row, other], "subtitles/a_en.json": one, "subtitles/b_en.json": two}
    return lay_out(directory, files, ["videos/a.mp4"], **options)


def lv_bench(directory: Path, **options: Any) -> Path:
    text = QUESTION + "".join(f"\n({letter}) {colour}" for letter, colour in zip("ABCD", COLOURS, strict=True))
    qa = {
        "uid": 7,
        "question": text,
        "answer": "A",
        "question_type": ["reasoning", "entity recognition"],
        "time_reference": "00:01-00:02",
    }
    line = {"key": "Xy-1", "type": "cartoon", "qa": [qa]}
    return lay_out(directory, {"video_info.meta.jsonl": [line]}, ["all_videos/Xy-1.mp4"], **options)


def mlvu(directory: Path, **options: Any) -> Path:
    row = {
        "video": "plot_1.mp4",
        "question": QUESTION,
        "candidates": COLOURS,
        "answer": "red",
        "question_type": "plotQA",
        "duration": 480,
    }
    summary = {"video": "s.mp4", "question": "Summarise.", "answer": "...", "question_type": "summary"}
    return lay_out(
        directory, {"json/1_plotQA.json": [row], "json/9_summary.json": [summary]}, ["video/1_plotQA/plot_1.mp4"], **options
    )  # fmt: skip


def temp_compass(directory: Path, **options: Any) -> Path:
    listed = "".join(f"\n{letter}. {colour}" for letter, colour in zip("ABC", COLOURS, strict=False))
    captions = "\nOption 1: The ring is blue.\nOption 2: The ring is red."
    told = "".join(
        f"\nInformation {letter}: {{'subject': 'ring', 'colour': '{colour}'}}"
        for letter, colour in zip("ABC", COLOURS, strict=False)
    )
    files = {
        "questions/multi-choice.json": {
            "10": {"attribute_change": [{"question": QUESTION + listed, "answer": "A. red"}]}
        },
        "questions/yes_no.json": {"10": {"attribute_change": [{"question": "Is the ring red?", "answer": "yes"}]}},
        "questions/caption_matching.json": {
            "10": {"attribute_change": [{"question": "Which fits?" + captions, "answer": "Option 2: The ring is red."}]}
        },
        "questions/captioning.json": {
            "10": {
                "attribute_change": [{"question": f"Write a caption.{told}\nGenerated Caption:", "answer": "A. red"}]
            }
        },
    }
    return lay_out(directory, files, ["videos/10.mp4"], **options)


def ego_schema(directory: Path, **options: Any) -> Path:
    options_ = {f"option {number}": f"C sees a {colour} ring." for number, colour in enumerate([*COLOURS, "pink"])}
    rows = [{"q_uid": uid, "question": QUESTION, "google_drive_id": "x", **options_} for uid in ("u-1", "u-2")]
    return lay_out(
        directory, {"questions.json": rows, "subset_answers.json": {"u-1": 0}}, ["videos/u-1.mp4"], **options
    )


def charades(directory: Path, **options: Any) -> Path:
    lines = "AB1CD 1.0 3.5##a red ring is shown.\nAB1CD 0.0 ##broken\n"
    return lay_out(directory, {"charades_sta_test.txt": lines}, ["Charades_v1_480/AB1CD.mp4"], **options)


def vn_bench(directory: Path, **options: Any) -> Path:
    rows = [
        {
            "video": "/somewhere/else/needle.mp4", "question": QUESTION, "options": COLOURS[number:] + COLOURS[:number],
            "gt": "red", "gt_option": "ADCB"[number], "length": 30, "type": "ret_edit1", "try": number, "needle_time": [3],
        }
        for number in range(4)
    ]  # fmt: skip
    return lay_out(directory, {"VNBench-main-4try.json": rows}, ["VNBench_new/needle.mp4"], **options)


def mv_bench(directory: Path, **options: Any) -> Path:
    row = {"video": "v.mp4", "question": QUESTION, "candidates": COLOURS, "answer": "red"}
    cut = {**row, "start": 1, "end": 3.5}
    files = {"json/state_change.json": [row], "json/action_sequence.json": [cut]}
    return lay_out(directory, files, ["video/perception/videos/v.mp4", "video/star/Charades_v1_480/v.mp4"], **options)


def hour_video(directory: Path, **options: Any) -> Path:
    test = QUESTION + "".join(f"\n{letter}. {colour}" for letter, colour in zip("ABCD", COLOURS, strict=True))
    rows = [
        {"qid": "q1", "task": "perception/visual", "mcq_test": test, "correct_answer_label": "A"},
        {"qid": "q2", "task": "reasoning/spatial/layout", "mcq_test": "Which picture?", "correct_answer_label": "A"},
        {"qid": "q3", "task": "perception/visual", "mcq_test": test},
    ]
    files = {"json/hourvideo_release_v1_0.json": {"h-1": {"video_metadata": {}, "benchmark_dataset": rows}}}
    return lay_out(directory, files, ["videos/h-1.mp4"], **options)


def own(directory: Path, **options: Any) -> Path:
    text = (
        "id,video,question,option_a,option_b,answer,category,subtitles\n1,v.mp4,Which colour?,red,blue,A,colour,v.srt\n"
    )
    text += '2,v.mp4,"What, then?",,,a red ring,,\n'
    return lay_out(directory, {"mine.csv": text, "v.srt": SRT}, ["v.mp4"], **options)


MADE = {
    "video-mme": video_mme, "longvideobench": long_video_bench, "lvbench": lv_bench, "mlvu": mlvu, "tempcompass": temp_compass,
    "egoschema": ego_schema, "charades-sta": charades, "vnbench": vn_bench, "mvbench": mv_bench, "hourvideo": hour_video, "own": own,
}  # fmt: skip


def streaming_bench(directory: Path, **options: Any) -> Path:
    def asked(stamp: str, **more: Any) -> dict[str, Any]:
        return {"task_type": "Object Recognition", "question": QUESTION, "time_stamp": stamp, "answer": "A",
                "options": [f"{letter}. {text}." for letter, text in zip("ABCD", COLOURS, strict=True)],
                "required_ability": "working memory", **more}  # fmt: skip

    real = [
        {"time": "[0:00:00 - 0:00:10]", "video_path": "./videos/s1.mp4", "questions": [asked("00:00:06")]},
        {
            "time": "[0:00:00 - 0:00:10]",
            "video_path": "./videos/s1.mp4",
            "questions": [asked("00:00:03", options=COLOURS), asked("soon")],
        },
    ]
    causal = asked("00:00:05", task_type="Causal Reasoning", captions=["a"], cause="b", effect="c")
    sequence = [
        [
            {"video_path": "./videos/s1.mp4", "questions": [asked("00:00:02")]},
            {"video_path": "./videos/s1.mp4", "questions": [asked("00:00:08")]},
        ]
    ]
    output = {
        "task_type": "Proactive Output", "question": 'When a ring is shown, output "ring".', "time_stamp": "00:00:02",
        "ground_truth_time_stamp": "00:00:05", "ground_truth_output": "ring",
    }  # fmt: skip
    files = {
        "questions_real.json": real,
        "questions_omni.json": [{"video_path": "videos/s1.mp4", "questions": [causal]}],
        "questions_sqa.json": sequence,
        "questions_proactive.json": [{"video_path": "./videos/s1.mp4", "questions": [output]}],
    }
    return lay_out(directory, files, ["videos/s1.mp4"], **options)


def ovo_bench(directory: Path, **options: Any) -> Path:
    choice = {"question": QUESTION, "answer": "red", "options": COLOURS, "gt": 0, "video": "x/a.mp4"}
    rows = [
        {"id": 0, "task": "EPM", "realtime": 9.5, **choice},
        {"id": 1, "task": "OCR", "realtime": 4, **choice},
        {"id": 2, "task": "OCR", "realtime": 4, **choice, "gt": 7},
        {"id": 3, "task": "REC", "video": "x/a.mp4", "activity": "jump", "start_times": [1], "end_times": [2],
         "test_info": [{"realtime": 3, "count": 0}, {"realtime": 7.5, "count": 2}]},
        {"id": 4, "task": "SSR", "video": "x/a.mp4", "tutorial": "t", "all_steps": ["close the box"], "start_time": [4], "end_time": [6],
         "test_info": [{"realtime": 5, "step": "close the box", "type": 1}]},
        {"id": 5, "task": "CRR", "video": "x/a.mp4", "question": "What is inside?", "answer": "a ring", "ask_time": 2, "clue_time": 6,
         "test_info": [{"realtime": 2, "type": 0}, {"realtime": 6, "type": 1}]},
    ]  # fmt: skip
    return lay_out(directory, {"ovo_bench_new.json": rows}, ["src_videos/x/a.mp4"], **options)


def rvs(directory: Path, **options: Any) -> Path:
    turns = [{"question": "What is shown?", "answer": "a red ring", "start_time": 0, "end_time": 4.0}]
    files = {
        f"rvs_{name}.json": [{"video_id": "e", "video_path": "e.mp4", "conversations": turns}]
        for name in ("ego", "movie")
    }
    return lay_out(directory, files, ["videos/e.mp4"], **options)


def svbench(directory: Path, **options: Any) -> Path:
    meta = (
        "Video_Name,Sort_of_Set,Path_of_QandA,Path_of_Video,Video_Duration,Source_of_Dataset\n"
        "--a_1,Test,SVBench/Dialogue/Dialogue_EN/--a_1.json,SVBench/Video/--a_1.mp4,12.0,Panda-70M\n"
    )
    first = {"questions": ["What is shown?", "Which colour is it?"], "answers": ["A ring.", "It is red."]}
    second = {"questions": ["What happened next?"], "answers": ["It went away."]}
    chains = [
        {"images": ["/made/1.jpg"], "chain": first, "qac_timestamps_start": 0.0, "qac_timestamps_end": 4.5},
        {},
        {"images": [], "chain": second, "qac_timestamps_start": 4.5, "qac_timestamps_end": 9},
    ]
    path = {
        "questions": [first["questions"][1], *second["questions"]], "answers": [first["answers"][1], *second["answers"]],
        "timestamps": [[0.0, 4.5], [4.5, 9.0]],
    }  # fmt: skip
    files = {
        "Meta/Meta_EN/meta_test.csv": meta,
        "Dialogue/Dialogue_EN/--a_1.json": chains,
        "Streaming/Streaming_EN/--a_1.json": [path],
    }
    return lay_out(directory, files, ["Video/--a_1.mp4"], **options)


MADE_ONLINE = {"streamingbench": streaming_bench, "ovo-bench": ovo_bench, "rvs": rvs, "svbench": svbench}
