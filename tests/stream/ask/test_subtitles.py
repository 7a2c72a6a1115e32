"""Subtitles: the files that are read, what of them a question shows, and that none comes from after the moment asked."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.evidence_words import subtitles_in_words
from afterview.stream.ask.question import Question
from afterview.stream.ask.shown_subtitles import (
    MOST_CHARACTERS,
    MOST_TOKENS,
    ShownSubtitles,
    before_question,
    recording_begins,
    shown_subtitles,
    with_subtitles,
)
from afterview.stream.ask.subtitles import (
    LARGEST_FILE,
    Subtitle,
    SubtitleFile,
    clock_seconds,
    parse_subtitles,
    read_subtitles,
)
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.support.clips import make_clip
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.presets import small_model

SRT = (
    '\ufeff1\r\n00:00:01,000 --> 00:00:02,500\r\n<font color="white" size=".72c">Hello &amp; welcome</font>\r\n\r\n'
    "2\r\n00:00:05.000 --> 00:00:06\r\ntwo\r\nlines\r\n\r\n3\r\nnot a time --> 00:00:09,000\r\nlost\r\n"
)


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_subrip_is_read_with_its_oddities(tmp_path: Path) -> None:
    found = read_subtitles(written(tmp_path, "a.srt", SRT))
    assert found.lines == (Subtitle(1.0, 2.5, "Hello & welcome"), Subtitle(5.0, 6.0, "two lines"))
    assert found.unreadable == 1


def test_webvtt_is_read(tmp_path: Path) -> None:
    text = "WEBVTT\n\nNOTE a remark\n\n00:01.000 --> 00:02.000 align:start\n<v Ann>Hi\n"
    assert read_subtitles(written(tmp_path, "a.vtt", text)).lines == (Subtitle(1.0, 2.0, "Hi"),)


@pytest.mark.parametrize("between", ["", "2\n", "\u00a0\n2\n", "\n\n", " \n2\n"])
def test_each_times_begin_a_line_of_their_own(between: str) -> None:
    """Else what is said later would be shown as part of the line before it."""
    text = f"1\n00:00:01,000 --> 00:00:02,000\nhello\n{between}00:00:25,000 --> 00:00:27,000\nlater\n"
    found = parse_subtitles(text, "a.srt")
    assert (found.lines, found.unreadable) == ((Subtitle(1.0, 2.0, "hello"), Subtitle(25.0, 27.0, "later")), 0)


@pytest.mark.parametrize(
    "entry",
    [
        "2\n00:00:25,000 -> 00:00:27,000\nlater",
        "2\n00:00:25 - 00:00:27\nlater",
        "2\nat the end\nlater",
        "at the end\nlater",
        "2",
    ],
)
def test_what_has_no_times_is_counted_and_belongs_to_no_other_line(entry: str) -> None:
    for text in (f"{{}}\n\n{entry}\n", f"{entry}\n\n{{}}\n"):
        found = parse_subtitles(text.format("1\n00:00:01,000 --> 00:00:02,000\nhello"), "a.srt")
        assert (found.lines, found.unreadable) == ((Subtitle(1.0, 2.0, "hello"),), 1)


def test_a_text_after_a_first_empty_row_is_read_as_video_sites_write_it() -> None:
    text = "WEBVTT\nKind: captions\n\nSTYLE\n::cue {}\n\n"
    text += "00:00.160 --> 00:02.390 align:start\n \nhello<00:00:01.199><c> world</c>\n\nname\n00:03.000 --> 00:04.000\nso\n"
    found = parse_subtitles(text, "a.vtt")
    assert (found.lines, found.unreadable) == ((Subtitle(0.16, 2.39, "hello world"), Subtitle(3.0, 4.0, "so")), 0)
    found = parse_subtitles("1\n00:00:01,000 --> 00:00:02,000\n\nhello\n", "a.srt")
    assert (found.lines, found.unreadable) == ((Subtitle(1.0, 2.0, "hello"),), 0)


def test_times_that_are_said_are_text() -> None:
    found = parse_subtitles("1\n00:00:01,000 --> 00:00:02,000\n10:30 - 11:45\n9:00 to 10:00 is closed\n", "a.srt")
    assert (found.lines, found.unreadable) == ((Subtitle(1.0, 2.0, "10:30 - 11:45 9:00 to 10:00 is closed"),), 0)


def test_a_number_that_is_said_is_no_number_of_a_line() -> None:
    found = parse_subtitles("00:01.000 --> 00:02.000\n42\n\n00:03.000 --> 00:04.000\n7\n", "a.srt")
    assert [line.text for line in found.lines] == ["42", "7"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_lines_may_end_in_any_way(end: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:03,000 --> 00:00:04,000\nthere\n".replace("\n", end)
    found = parse_subtitles(text, "a.srt")
    assert ([line.text for line in found.lines], found.unreadable) == (["hello", "there"], 0)


def test_another_encoding_is_named_and_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\ncaf\xe9\n")
    with pytest.raises(UsageError, match=r"a\.srt: is not UTF-8 \(byte 35\); convert it: iconv"):
        read_subtitles(tmp_path / "a.srt")


def test_both_shapes_of_longvideobench_are_read_and_moved_to_the_clip(tmp_path: Path) -> None:
    one = [
        {"timestamp": [100.5, 102], "text": "a"},
        {"timestamp": [103, None], "text": "b"},
        {"timestamp": [1, 2], "text": "old"},
    ]
    other = [{"start": "00:01:40.500", "end": "00:01:42.000", "line": "a"}, {"start": "x", "end": "y", "line": "bad"}]
    found = read_subtitles(written(tmp_path, "a.json", json.dumps(one)), begins_s=100, ends_s=9.5)
    assert found.lines == (Subtitle(0.5, 2.0, "a"), Subtitle(3.0, 9.5, "b"))
    found = read_subtitles(written(tmp_path, "b.json", json.dumps(other)), begins_s=100)
    assert (found.lines, found.unreadable) == ((Subtitle(0.5, 2.0, "a"),), 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.srt", "no times", "holds no subtitles"),
        ("a.json", "{}", "no list"),
        ("a.json", "[" * 99_999, "cannot be read"),
        ("a.json", '[{"start": 1%s, "end": null, "line": "x"}]' % ("0" * 400), "holds no subtitles"),
    ],
)
def test_what_holds_no_subtitles_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_subtitles(written(tmp_path, name, text))
    with pytest.raises(UsageError, match="cannot be read"):
        read_subtitles(tmp_path / "nowhere.srt")
    with pytest.raises(UsageError, match="is no file"):
        read_subtitles(tmp_path)
    with pytest.raises(UsageError, match="no file has such a name"):
        read_subtitles(Path("a\0.srt"))


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.srt").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(UsageError, match="more than 32 MB"):
        read_subtitles(tmp_path / "a.srt")


def test_utf_16_is_read_where_the_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(SRT.lstrip("\ufeff").encode("utf-16"))
    assert read_subtitles(tmp_path / "a.srt").lines[0].text == "Hello & welcome"


def test_a_text_is_read_like_a_file_and_an_error_does_not_quote_it() -> None:
    assert parse_subtitles(SRT, "subtitles").unreadable == 1
    half = parse_subtitles('[{"start": 1, "end": 2, "line": "\\ud800 \\u00e9"}]', "subtitles")
    assert half.lines == (Subtitle(1.0, 2.0, "? é"),)  # half of a surrogate pair would fail in the tokenizer
    with pytest.raises(UsageError) as refused:
        parse_subtitles("/etc/passwd", "subtitles")
    assert str(refused.value).startswith("subtitles: holds no subtitles; ")
    assert "passwd" not in str(refused.value)


def shown(question: Question, first: float, last: float, **more: int) -> ShownSubtitles:
    found = shown_subtitles(question, first, last, **more)
    assert found is not None
    return found


def test_no_line_from_after_the_moment_is_shown_and_the_others_are_counted() -> None:
    lines = tuple(Subtitle(second, second + 0.9, f"line {second}") for second in range(10))
    found = shown(Question("What?", subtitles=(*lines, Subtitle(3, 4, "")), subtitles_unreadable=2), 2.95, 5.0)
    assert [line.text for line in found.lines] == ["line 3", "line 4", "line 5"]
    counts = {"used": 3, "until": 5.0, "later": 4, "earlier": 3, "over_limit": 0, "empty": 1, "unreadable": 2}
    assert found.to_dict() == counts
    assert shown(Question("What?", at=7.5, subtitles=lines), 2.95, 5.0).until == 7.5  # asked after the last frame
    assert shown(Question("What?", at=7.5, subtitles=lines), 2.95, 5.0).later == 2
    assert shown_subtitles(Question("What?"), 0, 5) is None
    assert before_question([], "What?") == "What?"
    assert before_question(lines[:1], "What?") == "This video's subtitles are listed below:\nline 0\nWhat?"


def test_too_many_lines_are_thinned_evenly_and_counted() -> None:
    lines = tuple(Subtitle(float(second), second + 1.0, f"{second:09}") for second in range(MOST_CHARACTERS // 5))
    found = shown(Question("What?", subtitles=lines), 0, 1e9)
    assert found.characters <= MOST_CHARACTERS
    assert found.over_limit + len(found.lines) == len(lines)
    assert found.lines[0].start == 0
    assert found.lines[-1].start > 0.99 * len(lines)
    huge = (Subtitle(0.0, 1.0, "x" * 1000),)
    assert shown(Question("What?", subtitles=huge), 0, 1, most=999).over_limit == 1
    assert shown(Question("What?", subtitles=huge), 0, 1, most=0).lines == ()


@pytest.mark.parametrize(("place", "size"), [(0, 70_000), (0, 59_999), (50, 59_999), (99, 40_000)])
def test_one_long_line_costs_no_other(place: int, size: int) -> None:
    lines = [Subtitle(float(second), second + 1.0, f"a short line {second}") for second in range(1, 2000)]
    lines.insert(place, Subtitle(float(place), place + 1.0, "x" * size))
    found = shown(Question("What?", subtitles=tuple(lines)), 0, 1e9)
    assert (len(found.lines), found.over_limit) == (1999, 1)


def test_lines_of_many_lengths_are_thinned_to_the_end() -> None:
    lines = [Subtitle(float(second), second + 1.0, "x" * (20 if second < 2000 else 2000)) for second in range(2100)]
    found = shown(Question("What?", subtitles=tuple(lines)), 0, 1e9)
    assert 0.8 * MOST_CHARACTERS < found.characters <= MOST_CHARACTERS
    assert (found.lines[0].start, found.lines[-1].start) == (0, 2099)
    steps = {round(after.start - before.start) for before, after in pairwise(found.lines)}
    assert max(steps) - min(steps) <= 1
    alone = (Subtitle(0.0, 1.0, "x" * 700), Subtitle(1.0, 2.0, "y" * 800))
    assert len(shown(Question("What?", subtitles=alone), 0, 1e9, most=1000).lines) == 1


def test_all_counts_together_are_the_entries_of_the_file() -> None:
    entries = [
        "0:01 --> 0:02\nhi",
        "0:02 --> 0:03\n<i></i>",
        "x --> 4\nlost",
        "0:05 --> 0:06\nso",
        "0:07 --> 0:08\n<b> </b>",
        "0:09 --> 0:10\nlate",
    ]
    found = parse_subtitles("\n\n".join(entries), "a.srt")
    own = shown(Question("What?", at=8.0, subtitles=found.lines, subtitles_unreadable=found.unreadable), 0, 8.0)
    counts = own.to_dict()
    assert sum(counts[name] for name in ("used", "later", "earlier", "over_limit", "empty", "unreadable")) == len(
        entries
    )
    said = subtitles_in_words(counts, "8 s")
    assert said == "2 lines read, up to 8 s; not read: 1 later, 2 without text; without a time that can be read: 1"
    assert "without text" not in subtitles_in_words({**counts, "empty": 0}, "8 s")
    assert subtitles_in_words(
        {name: counts[name] for name in counts if name != "empty"}, "8 s"
    )  # saved by an earlier version


def test_times_of_any_form() -> None:
    assert [clock_seconds(text) for text in ("01:02:03,5", "02:03", 7, 7.5, "8.25")] == [3723.5, 123, 7, 7.5, 8.25]
    assert [clock_seconds(text) for text in ("", "soon", -1, True, None, float("nan"))] == [None] * 6


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return small_model()


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory, model: AfterviewModel) -> Path:
    """One camera with eight frames."""
    place = tmp_path_factory.mktemp("memory")
    clip = make_clip(place / "clip.mp4", frames=16, rate=2)

    async def replay() -> None:
        async with Session(place / "cameras", model.encoders) as session:
            session.add("a", IngestConfig(parse_source(str(clip)), live=False, start=1000.0))
            await session.run()

    run_loop(replay())
    return place / "cameras"


def test_the_model_reads_what_had_begun_by_the_moment_asked(memory: Path, model: AfterviewModel) -> None:
    answerer = Answerer(Memory(memory), model)
    lines = tuple(Subtitle(1000.0 + second, 1000.5 + second, f"word{second}") for second in range(8))

    def prompt(at: float | None, *own: Subtitle) -> str:
        planned = answerer.plan("a", Question("Who?", at=at, subtitles=own), 2000.0).prompt
        assert model.tokenizer is not None
        return str(model.tokenizer.decode(planned.after))

    assert "word2\nWho?" in prompt(1002.0, *lines)
    assert "word3" not in prompt(1002.0, *lines)
    assert "word7\nWho?" in prompt(None, *lines)
    assert prompt(1002.0) == prompt(1002.0, replace(lines[5]))  # none yet: as without
    answer = answerer.ask(Question("Who?", ("a",), subtitles=lines, max_new_tokens=1))
    counts = {"used": 8, "until": 1007.0, "later": 0, "earlier": 0, "over_limit": 0, "empty": 0, "unreadable": 0}
    assert answer.parts[0].provenance["subtitles"] == counts
    assert "subtitles" not in answerer.ask(Question("Who?", ("a",), max_new_tokens=1)).parts[0].provenance


def test_scripts_with_many_tokens_a_character_are_thinned_further(memory: Path, model: AfterviewModel) -> None:
    """Sixty thousand emoji would be some hundred thousand tokens, and one question would hold the model for minutes."""
    lines = tuple(Subtitle(1000.0, 1001.0, "\U0001f9ff" * 50) for _ in range(1200))
    context = Answerer(Memory(memory), model).plan("a", Question("Who?", subtitles=lines), 2000.0)
    assert context.subtitles is not None
    assert 0.8 * MOST_TOKENS < len(context.prompt.after) <= MOST_TOKENS
    assert len(context.subtitles.lines) + context.subtitles.over_limit == len(lines)


def test_times_count_from_the_first_frame_also_when_it_is_forgotten(tmp_path: Path) -> None:
    spec = make_spec()
    with open_camera(tmp_path, "door", spec) as repository:
        for number in range(12):
            repository.append(make_frame(number, spec))
        repository.sync()
        repository.forget(START, START + 4)
    reader = Memory(tmp_path).camera("door")
    assert reader.snapshot().times[0] == START + 5
    assert recording_begins(reader.snapshot()) == START
    found = SubtitleFile((Subtitle(6.0, 7.0, "six"),), 3)
    question = with_subtitles(Question("Who?"), found, [reader], "camera")
    assert question.subtitles == (Subtitle(START + 6, START + 7, "six"),)
    assert question.to_dict()["subtitles"] == 1
    with pytest.raises(UsageError, match="camera: subtitles belong to one recording, and 2 are asked; name one camera"):
        with_subtitles(Question("Who?"), found, [reader, reader], "camera")


def test_frames_are_recalled_by_their_own_text(memory: Path, model: AfterviewModel) -> None:
    asked: list[str] = []
    answerer = Answerer(Memory(memory), replace(model, preset=model.preset.model_copy(update={"recall": model.preset.recall.model_copy(
        update={"budget": 4, "window": 1, "nearest": 2})})))  # fmt: skip
    plain = answerer._embed
    answerer._planner._embed = lambda text: (asked.append(text), plain(text))[1]  # type: ignore[func-returns-value]
    answerer.ask(Question("Choose one.\nA. red", ("a",), recall_text="a red ring", max_new_tokens=1))
    assert asked == ["a red ring"]


def test_the_command_reads_a_file_and_refuses_what_is_none(
    memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ask", "Who?", "--memory", str(memory), "--subtitles"]
    assert main([*arguments, str(tmp_path / "none.srt")]) == 2
    assert "none.srt: cannot be read" in capsys.readouterr().err
