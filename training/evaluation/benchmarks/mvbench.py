"""MVBench: 20 temporal tasks about short videos, 200 questions each.

Format: OpenGVLab/MVBench: json/<task>.json with video, question, candidates, answer (the text of the option), and for some tasks start and
end (seconds): the part that is asked about. Folders of the videos: lmms-eval, lmms_eval/tasks/mvbench/utils.py. Prompt: MVBench's own
(the instruction and "Only give the best option."); official rule: lmms-eval's.
"""

from pathlib import Path
from typing import Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.lettering import letter_of, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, lone_letter

_PROMPT: Final = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of objects, and the action "
    "and pose of persons. Based on your observations, select the best option that accurately addresses the question.\n"
    "Question: {question}\nOptions:\n{options}\nOnly give the best option."
)
FOLDERS: Final = {
    "object_interaction": "star/Charades_segment", "action_sequence": "star/Charades_segment",
    "action_prediction": "star/Charades_segment", "action_localization": "sta/sta_video_segment",
    "moving_count": "clevrer/video_validation",
    "fine_grained_pose": "nturgbd_convert", "character_order": "perception/videos", "object_shuffle": "perception/videos",
    "egocentric_navigation": "vlnqa", "moving_direction": "clevrer/video_validation",
    "episodic_reasoning": "tvqa/video_fps3_hq_segment", "fine_grained_action": "Moments_in_Time_Raw/videos",
    "scene_transition": "scene_qa/video", "state_change": "perception/videos", "moving_attribute": "clevrer/video_validation",
    "action_antonym": "ssv2_video_mp4", "unexpected_action": "FunQA_test/test", "counterfactual_inference": "clevrer/video_validation",
    "object_existence": "clevrer/video_validation", "action_count": "perception/videos",
}  # fmt: skip
# Where whole videos lie, of which `start` and `end` name a part; in the folders above the parts were cut out already.
_WHOLE: Final = {
    "star/Charades_segment": "star/Charades_v1_480", "sta/sta_video_segment": "sta/sta_video",
    "tvqa/video_fps3_hq_segment": "tvqa/video_fps3_hq",
}  # fmt: skip


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for task in [options.split] if options.split else sorted(FOLDERS):
        rows = data.table(f"json/{task}.json", f"{task}.json", f"{task}/*.json", f"{task}*.parquet", needed=False)
        if not rows:
            data.missing[f"json/{task}.json"] = None
            data.problems.add("task missing", task)
        folder = FOLDERS[task]
        for number, (_, row) in enumerate(rows):
            key, question = f"{task} {number}", data.text(row, "question")
            own = data.options_of(row.get("candidates"), key)
            if not own:
                continue
            whole = _WHOLE.get(folder, folder)
            places = [
                f"{parent}{place}" for place in (folder, whole, f"data0613/{folder}") for parent in ("", "video/")
            ]
            video = data.video(row.get("video"), *places, where=key)
            if video is None:
                continue
            cut = whole != folder and f"/{whole}/" not in video.as_posix()  # the file is the part
            span = [None, None] if cut else data.times(row, "start", "end", where=key)
            if span is None:
                continue
            prompt = _PROMPT.format(question=question, options=listing(own, "({letter}) {text}"))
            truth = letter_of(row.get("answer"), own, "text")
            data.add(Item(key, video, question, prompt, own, truth, {"task": task}, start_s=span[0], end_s=span[1]))
    return data.reading()


MV_BENCH: Final = Benchmark(
    name="mvbench", title="MVBench", kind="offline",
    needs=("json/<task>.json, 20 tasks", "the folders of their videos, such as perception/videos/ or clevrer/video_validation/"),
    download="huggingface.co/datasets/OpenGVLab/MVBench (revision video)",
    source="lmms-eval, lmms_eval/tasks/mvbench/utils.py; StreamingChat of yzy-bupt/SVBench, eval/mvbench/evaluate_mvbench.py",
    read=_read, score=choice_score(lone_letter), splits=tuple(sorted(FOLDERS)),
)  # fmt: skip
