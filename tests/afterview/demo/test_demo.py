"""The demo: its quiz is drawn by the seed and true of the moment asked about, and a short one runs from pixels to the score."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.demo.demo import play
from afterview.demo.report import Show
from afterview.training.base.errors import WorldError
from afterview.training.evaluation.quiz import QUIZ_KINDS, draw_quiz
from afterview.training.world import World, make_script, settled_time
from tests.support.servers import need_rtsp


def test_a_quiz_asks_every_kind_once_and_of_the_past_too() -> None:
    present: Counter[str] = Counter()
    for seed in range(30):
        script = make_script(seed, 600)
        quiz = draw_quiz(script, 540.0)
        assert quiz == draw_quiz(script, 540.0)
        assert {put.question.kind for put in quiz} == set(QUIZ_KINDS)
        assert [put.put_s for put in quiz] == sorted(put.put_s for put in quiz)
        assert all(545 <= put.put_s <= 597 for put in quiz)
        assert sum(put.question.at_s < 540 for put in quiz if put.question.kind not in ("now", "scene now")) >= 1
        present.update(put.question.answer for put in quiz if put.question.kind == "now")
    assert 0.2 < present["nothing"] / present.total() < 0.9  # now and then something is on show


def test_a_question_is_only_about_what_was_shown_by_the_moment_it_asks_about() -> None:
    for seed in range(20):
        script = make_script(seed, 600)
        for put in draw_quiz(script, 540.0, count=15):
            question = put.question
            assert question.at_s <= put.put_s
            assert question.at_s == settled_time(script, question.at_s)
            assert all(script.events[number].start_s <= question.at_s for number in question.events)
            if question.kind == "now":
                assert question.answer == next((e.name for e in script.visible_at(question.at_s)), "nothing")
            if question.kind == "scene now":
                assert question.answer == script.segment_at(question.at_s).scene


def test_there_must_be_room_for_the_questions() -> None:
    for live_s, count in ((0.0, 3), (595.0, 3), (540.0, 0)):
        with pytest.raises(WorldError, match="no room for"):
            draw_quiz(make_script(1, 600), live_s, count=count)


@pytest.mark.slow  # ten seconds of live video
@pytest.mark.parametrize("scheme", ["RTSP", "HLS"])
def test_a_short_demo_answers_while_it_watches_and_counts_what_is_right(
    scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheme == "HLS":
        monkeypatch.setattr("afterview.demo.demo.rtsp_missing", lambda: "not for this test")
    else:
        need_rtsp()
    monkeypatch.setattr("afterview.memory.base.camera.local_timezone", lambda: "Asia/Tokyo")
    world = World(2, 50.0)
    asked = play(Show(tmp_path, world, draw_quiz(world.script, 40.0, count=4), 40.0, quiet=True))
    out, progress = capsys.readouterr()
    document = json.loads(out)
    assert [one.number for one in asked] == [1, 2, 3, 4]
    assert document["right"] == sum(one.right for one in asked) >= 2
    assert document["live"]["recorded"] >= (9 if scheme == "RTSP" else 5)  # over HLS one joins where the broadcast is
    assert f"live, by {scheme} from another process" in progress
    assert any(one["as_of_s"] < 40 for one in document["questions"])
    assert all(Path(one["contact_sheet"]).read_bytes().startswith(b"\x89PNG") for one in document["questions"])
    assert f"{document['right']} of 4 right" in progress
    times = re.findall(r"\d\d:\d\d:\d\d(?: \w+)?", progress)
    assert len(times) >= 3 * 4  # of every question: when it was put, its evidence, its newest frame
    assert all(time.endswith(" JST") for time in times)
    for one in document["questions"]:
        assert one["coverage"]["frames"] <= one["as_of_s"] + 2  # nothing later than the moment asked about
        assert all(Path(frame["image"]).exists() for frame in one["evidence"])


def test_an_impossible_number_of_questions_and_a_seed_of_training_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--questions", "0", "--output", str(tmp_path)]) == 2
    assert "1 to 60 fit into the live minute" in capsys.readouterr().err
    assert main(["demo", "--seed", str(2**32), "--output", str(tmp_path)]) == 2
    assert "this world is in the training split" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
