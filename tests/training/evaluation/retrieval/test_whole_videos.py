"""MomentSeeker as published since July 2025: whole videos, whose candidates are stretches of ten seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.stream.media import VideoWriter
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.results import read_results
from afterview.training.evaluation.retrieval.momentseeker import read_momentseeker
from afterview.training.evaluation.retrieval.ranking import chunks

RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (20, 20, 220)


def entry(text: Any, moments: Any, name: str = "ego_1.mp4", **more: Any) -> dict[str, Any]:
    """A query as published."""
    return {
        "qry_text": text, "qry_img_path": "", "qry_video_path": "", "src_video_path": f"./videos/{name}",
        "task": "Action Recognition", "answering_time_interval": moments, **more,
    }  # fmt: skip


def write_colours(path: Path, colours: list[tuple[int, int, int]], seconds: int) -> None:
    """A video of several colours, each shown equally long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 160, 96, rate=2) as writer:
        for colour in colours:
            for _ in range(2 * seconds):
                writer.write(np.full((96, 160, 3), colour, np.uint8))


def test_a_video_is_cut_into_stretches_of_ten_seconds() -> None:
    assert chunks(25.0) == [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]
    assert chunks(20.0) == [(0.0, 10.0), (10.0, 20.0)]
    assert chunks(0.5) == [(0.0, 0.5)]


def test_odd_queries_are_counted_and_left_out(tmp_path: Path) -> None:
    for name in ("videos/ego_1.mp4", "query_images/a/1.jpg", "query_videos/2.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    rows = [
        entry("a red wall", [[3, 7.5], ["12", "00:20"]]),
        entry("a red wall", [[3, 7.5], ["12", "00:20"]]),  # its files have such pairs
        entry("", [[3, 7]]),
        *(entry("when", moments) for moments in ([], None, [[3]], [[7, 3]], [3, 7], [[3, 7], [8, None]], [[4, 4]])),
        entry("where", [[3, 7]], "gone.mp4"),
        entry("where", [[3, 7]], "../../etc/passwd.mp4"),
        entry("no name", [[3, 7]], src_video_path=""),
        *(entry("how long", moments) for moments in ([[3, 6]], [[3, 40], [50, 52]], [[3, 6.5], [9, 60]], [[3, 36]])),
    ]
    pictures = [
        entry("like it", [[3, 7]], qry_img_path="./query_images/a/1.jpg"),
        entry("like it", [[3, 7]], qry_img_path="./query_images/a/2.jpg"),
        entry("like it", [[3, 7]], qry_img_path="../../../etc/a.jpg"),
    ]
    (tmp_path / "t2v.json").write_text(json.dumps(rows))
    (tmp_path / "ti2v.json").write_text(json.dumps(pictures))
    (tmp_path / "tv2v.json").write_text(json.dumps([entry("as here", [[3, 7]], qry_video_path="./query_videos/2.mp4")]))
    found = read_momentseeker(tmp_path)
    assert [(query.id, query.text) for query in found.queries] == [
        ("t2v/0", "a red wall"),
        ("t2v/1", "a red wall"),
        *((f"t2v/{number}", "how long") for number in range(13, 17)),
        ("ti2v/0", "like it"),
        ("tv2v/0", "as here"),
    ]
    first, *_, picture, clip = found.queries
    assert (first.video, first.moments) == (tmp_path / "videos" / "ego_1.mp4", ((3.0, 7.5), (12.0, 20.0)))
    assert (first.kind, first.shown) == ("Action Recognition", None)
    assert picture.shown == tmp_path / "query_images" / "a" / "1.jpg"
    assert clip.shown == tmp_path / "query_videos" / "2.mp4"
    assert {problem["kind"]: problem["count"] for problem in found.problems.to_dicts()} == {
        "query stands there twice": 1, "query lacks its text or a moment of the truth": 8, "video missing": 2,
        "no name of a video": 1, "no stretch of ten seconds can be true": 2, "the query's picture or clip is missing": 2,
    }  # fmt: skip
    (tmp_path / "ti2v.json").unlink()
    (tmp_path / "tv2v.json").unlink()
    (tmp_path / "t2v.json").write_text(json.dumps(rows[2:13]))
    with pytest.raises(BenchmarkError, match="holds no query that can be asked"):
        read_momentseeker(tmp_path)


def test_from_whole_videos_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_colours(tmp_path / "videos" / "ego_1.mp4", [RED, GREEN, BLUE], 10)
    write_colours(tmp_path / "query_videos" / "blue.mp4", [BLUE], 2)
    texts = [
        entry("a red thing", [[0, 8]]),
        entry("a short moment", [[3, 5]]),  # no stretch of ten seconds fits it: nobody can find it
    ]
    shown = [entry("this", [[24, 30]], qry_video_path="./query_videos/blue.mp4")]
    (tmp_path / "t2v.json").write_text(json.dumps(texts))
    (tmp_path / "tv2v.json").write_text(json.dumps(shown))
    command = ["evaluate", "retrieval", "--data", str(tmp_path), "--work", str(tmp_path / "work")]
    command += ["--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["answered"], found["complete"], found["task"]) == (6, True, "momentseeker")
    rows = {row.id: row for row in read_results(tmp_path / "out")[1]}
    assert set(rows) == {f"{query}/{way}" for query in ("t2v/0", "t2v/1", "tv2v/0") for way in ("max", "top-4")}
    like = rows["tv2v/0/top-4"]
    assert (like.answer, like.truth) == ("20-30 s", "24-30 s")
    assert (like.scores["R@1"], like.scores["R@1 IoU 0.5"], like.scores["R@1 IoU 0.7"]) == (1.0, 1.0, 0.0)
    assert rows["t2v/0/max"].scores["R@3"] == 1.0
    assert {name: rows["t2v/1/max"].scores[name] for name in ("R@10", "mAP")} == {"R@10": 0.0, "mAP": 0.0}
    assert like.groups == {"queries": "top-4", "task": "tv2v, top-4", "kind": "Action Recognition, top-4"}
    assert main(command) == 0  # resumed: nothing is ranked again
    assert json.loads(capsys.readouterr().out)["scores"] == found["scores"]


def test_a_broken_video_and_a_late_moment_are_counted_and_the_rest_is_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_colours(tmp_path / "videos" / "ego_1.mp4", [RED], 12)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    rows = [entry("red", [[0, 8]]), entry("red", [[500, 510], [0, 8]]), *[entry("red", [[0, 8]], "broken.mp4")] * 2]
    (tmp_path / "t2v.json").write_text(json.dumps(rows))
    command = ["evaluate", "retrieval", "--data", str(tmp_path), "--work", str(tmp_path / "work")]
    command += ["--out", str(tmp_path / "out")]
    for _ in range(2):
        assert main([*command, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["items"], found["answered"], found["complete"]) == (8, 4, False)
        counted = {problem["kind"]: (problem["count"], problem["examples"][0]) for problem in found["problems"]}
        assert counted["video cannot be read"][0] == 1
        assert counted["video cannot be read"][1].startswith("broken.mp4: ")
        assert counted["moment after the video's end"] == (1, "t2v/1: 500 s of 12 s")
    assert main(command) == 0
    assert "4 of 8 rankings" in capsys.readouterr().out
    for out in (".", "json", "work/.."):
        assert main([*command[:-1], str(tmp_path / out)]) == 2
        assert "whose *.json are read" in capsys.readouterr().err
    (tmp_path / "t2v.json").write_text(json.dumps(rows[2:]))
    assert main([*command[:-1], str(tmp_path / "none"), "--json"]) == 1  # none could be ranked


def test_a_picture_can_belong_to_a_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    write_colours(tmp_path / "videos" / "ego_1.mp4", [GREEN, BLUE], 10)
    (tmp_path / "query_images").mkdir()
    image.new("RGB", (160, 96), BLUE).save(tmp_path / "query_images" / "1.png")
    (tmp_path / "ti2v.json").write_text(json.dumps([entry("this", [[10, 20]], qry_img_path="./query_images/1.png")]))
    assert main(["evaluate", "retrieval", "--data", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["groups"]["queries"]["top-4"]["R@1"]["value"] == 1.0
