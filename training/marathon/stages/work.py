"""Makes one file of a stage: the same work in this process, and in a worker of Ray."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from afterview.memory.base.failpoints import reach
from afterview.training.marathon.config import MarathonConfig
from afterview.training.marathon.models.request import Waiting
from afterview.training.marathon.rows import Row, Video
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.stage import BY_NAME, VIDEOS, Inputs
from afterview.training.marathon.stages.tools import Tools
from afterview.training.marathon.stages.videos import look_at

_MOST_VIDEOS_AT_ONCE = 16


def find_videos(data: DataSet, number: int, group: list[tuple[str, int]], root: Path, config: MarathonConfig) -> None:
    """Write a file of the first stage."""
    data.write(VIDEOS, number, [look_at(root, name, size, config) for name, size in group])


def make_files(data: DataSet, names: Sequence[str], number: int, tools: Tools) -> bool:
    """Write the files of this number of stages, in order, unless they are there. False: one waits for answers (models.batched)."""
    return all(data.file(name, number).is_file() or _make(data, name, number, tools) for name in names)


def _make(data: DataSet, name: str, number: int, tools: Tools) -> bool:
    stage = BY_NAME[name]
    videos, inputs = data.videos(number), data.inputs(stage, number)

    def made(video: Video) -> list[Row] | None:
        try:
            return stage.make(video, inputs.get(video.video, Inputs({})), tools)
        except Waiting:  # the other videos are to wait together with it
            return None

    at_once = max([1, *(tools.asker(role).model.at_once for role in stage.roles(tools.config))])
    with ThreadPoolExecutor(min(at_once, _MOST_VIDEOS_AT_ONCE)) as pool:
        try:
            futures = [pool.submit(made, video) for video in videos]
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in ended:  # the first failure, not what follows from it
                if error := future.exception():
                    raise error
        except BaseException:  # Ctrl-C, too: nobody waits for the other videos
            pool.shutdown(wait=False, cancel_futures=True)
            tools.stop()
            raise
    made_rows = [future.result() for future in futures]
    rows = [row for of in made_rows if of is not None for row in of]
    if None in made_rows:
        return False
    reach("marathon.before-file")
    data.write(name, number, rows)
    reach("marathon.after-file")
    return True
