"""Questions become captions for an index that was trained with captions; the answer and the search say what the index was asked."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterview.cli.main import main
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.model.checkpoint.preset import ModelPreset, find_preset
from afterview.stream.ask import caption_words
from afterview.stream.ask.answer_record import Origin, SearchRecord, opened
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.captions import LONGEST, caption_of
from afterview.stream.ask.index_query import index_query
from afterview.stream.ask.question import Question
from afterview.stream.ask.search import search
from tests.stream.ask.caption_tables import HELD_OUT, TABLE
from tests.support.memory_world import START, make_frame

FUNCTION_WORDS = frozenset(
    (  # as a person would skip them
        "a", "an", "the", "of", "on", "in", "at", "to", "it", "its", "my", "your", "his", "her", "their", "is", "are", "was", "were",
        "by", "with", "and", "or", "something", "person", "that", "there", "any", "some",
    )
)  # fmt: skip
QUESTION = "Did you see a red ring between 9 am and 10 am?"


def _content(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.lower())) - FUNCTION_WORDS


@pytest.mark.parametrize(("question", "caption"), TABLE)
def test_a_caption_of_the_table(question: str, caption: str) -> None:
    assert caption_of(question).text == caption


def test_the_tables_are_of_the_size_that_is_stated_and_apart() -> None:
    assert (len(TABLE), len(HELD_OUT)) == (60, 30)
    assert not {question for question, _ in TABLE} & {question for question, _ in HELD_OUT}


def test_on_questions_that_it_was_not_made_for_it_keeps_the_words_that_count() -> None:
    """docs/models.md states these figures."""
    exact = sum(caption_of(question).text == caption for question, caption in HELD_OUT)
    wanted = [(word, caption_of(question).text) for question, caption in HELD_OUT for word in sorted(_content(caption))]
    kept = sum(word in _content(made) for word, made in wanted)
    assert (exact, kept, len(wanted)) == (13, 90, 95)  # when the table was new: 10, 90, 95


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("a car parked by the gate", "as given"),
        ("count of boxes on a pallet", "as given"),
        ("Où est le chat ?", "other language"),
        ("Ist die Katze im Garten?", "other language"),
        ("¿Dónde está el gato?", "other language"),
        ("what?", "nothing left"),
        ("?", "nothing left"),
        ("Who saw what? " * 200, "as given"),
    ],
)
def test_what_is_no_question_about_a_picture_stays(text: str, how: str) -> None:
    assert (caption_of(text).text, caption_of(text).how) == (text.strip(), how)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(sorted(caption_words.AUXILIARIES | caption_words.DETERMINERS | caption_words.RELATIVES | caption_words.BASES)),
            st.sampled_from(["what", "who", "did", "you", "show", "me", "at", "14:30", "last", "hour", '"', "“", "?", ".", "\x00"]),
            st.text(max_size=6),
        ),
        max_size=14,
    )
)  # fmt: skip
def test_no_text_breaks_it_or_leaves_nothing(parts: list[str]) -> None:
    text = " ".join(parts)
    caption = caption_of(text)
    assert bool(caption.text) == bool(text.strip())
    assert caption.changed or caption.text == text.strip()


def test_a_text_of_any_length_costs_little() -> None:
    for piece in ("show me ", "between 1 and ", "last ", "who is ", '"', "1:", ", "):
        text = (piece * LONGEST)[: LONGEST - 1] + "?"
        assert caption_of(
            text
        ).text  # the suite's time limit is the bound: a pattern that backtracks would take minutes


def test_which_presets_ask_captions() -> None:
    shipped = {name: find_preset(name).asks_captions for name in ("tiny", "hour-llava-3b", "videochat-flash-2b")}
    assert shipped == {"tiny": False, "hour-llava-3b": True, "videochat-flash-2b": True}
    assert ModelPreset(name="x", checkpoint="owner/name").asks_captions
    assert not ModelPreset(name="x", checkpoint="owner/name", index_encoder="/a/directory").asks_captions
    assert ModelPreset(name="x", checkpoint="y", index_encoder="/a/directory", index_queries="captions").asks_captions
    assert not ModelPreset(name="x", checkpoint="owner/name", index_queries="questions").asks_captions


def test_the_text_itself_is_asked_on_request() -> None:
    preset = find_preset("hour-llava-3b")
    assert index_query(preset, QUESTION).text == "a red ring"
    assert index_query(preset, QUESTION, as_is=True).text == QUESTION
    assert index_query(find_preset("tiny"), f" {QUESTION} ").text == f" {QUESTION} "  # nothing changes for tiny


@pytest.fixture(scope="module")
def tiny() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu")


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory, tiny: AfterviewModel) -> Path:
    memory, spec = tmp_path_factory.mktemp("memory"), tiny.encoders.feature_spec
    with open_camera(memory, "yard", spec) as repository:
        for number in range(200):
            repository.append(make_frame(number, spec))
    return memory


def _asking_captions(model: AfterviewModel) -> AfterviewModel:
    return replace(model, preset=model.preset.model_copy(update={"index_queries": "captions"}))


def test_a_search_says_what_the_index_was_asked(yard: Path, tiny: AfterviewModel) -> None:
    memory, encoders = Memory(yard), _asking_captions(tiny).encoders
    spans = {"yard": (None, None)}
    found = search(memory, encoders, QUESTION, spans, most=5, skip_others=False)
    plain = search(memory, encoders, "a red ring", spans, most=5, skip_others=False)
    as_is = search(memory, encoders, QUESTION, spans, most=5, skip_others=False, as_is=True)
    assert [hit.score for hit in found.hits] == [hit.score for hit in plain.hits] != [hit.score for hit in as_is.hits]
    assert found.to_dict()["asked_index"] == "a red ring"
    assert found.to_dict()["asked_index_how"] == "rule"
    assert as_is.to_dict()["asked_index"] == QUESTION
    about = Origin("a", START, str(yard), "0", {}, {"yard": memory.camera("yard").info})
    record, parts = SearchRecord(about, found, {}).documents()
    again = opened("here", json.loads(json.dumps(record)), json.loads(json.dumps(parts)), lambda camera, frame: b"")
    assert isinstance(again, SearchRecord)
    assert again.result.asked == found.asked
    del record["asked_index"]  # as earlier versions saved it
    older = opened("here", record, parts, lambda camera, frame: b"")
    assert isinstance(older, SearchRecord)
    assert older.result.to_dict()["asked_index"] == QUESTION


def test_an_answer_says_what_the_index_was_asked(yard: Path, tiny: AfterviewModel) -> None:
    question = Question("Did you see a big ring?", at=START + 800)
    for model, asked, how in (
        (tiny, question.text, "as given"),
        (_asking_captions(tiny), "a big ring", "rule"),
    ):
        (part,) = Answerer(Memory(yard), model).ask(question).parts
        assert part.provenance["search"] == "exact"
        assert (part.provenance["asked_index"], part.provenance["asked_index_how"]) == (asked, how)
    (short,) = Answerer(Memory(yard), _asking_captions(tiny)).ask(replace(question, at=START + 20)).parts
    assert short.provenance["search"] == "none"
    assert short.provenance["asked_index"] is None


def test_the_command_line_shows_it(yard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["search", QUESTION, "--memory", str(yard), "--model", "tiny", "--top", "1", "--json"]
    assert main(base) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["asked_index"], shown["options"]["as_is"]) == (QUESTION, False)
    assert main([*base, "--as-is"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["as_is"] is True
