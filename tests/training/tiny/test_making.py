"""How the small model is made: bank, stories, curriculum, and that training computes what answering computes."""

import io
import logging
import math
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from afterview.configs import ConfigError, UsageError, load
from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.conversation import build
from afterview.model.language.moments import MOMENT, pointer_ids
from afterview.training.base.errors import TrainingError
from afterview.training.core.trainer import BatchOf, Trainer
from afterview.training.tiny import __main__ as program
from afterview.training.tiny import data_loader
from afterview.training.tiny import make as making
from afterview.training.tiny.bank import (
    CODE,
    LABELS,
    NO_LABEL,
    VALUES,
    Bank,
    BankConfig,
    leave_ctrl_c,
    make_bank,
    plan_bank,
)
from afterview.training.tiny.data_loader import DataLoader
from afterview.training.tiny.device_batch import to_device
from afterview.training.tiny.lessons import LessonPlan, Progress
from afterview.training.tiny.naming import NamingConfig
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.sentences import SentencesConfig
from afterview.training.tiny.sight import (
    ANYTHING,
    SightBatches,
    SightObjective,
    Texts,
    attribute_loss,
    draw_text,
    make_texts,
)
from afterview.training.tiny.stories import Shelf, make_batch, shelf_of, use_clips
from afterview.training.tiny.study import StudyObjective, _drawn
from afterview.training.tiny.texts import Words
from afterview.training.tiny.word_noise import add_word_noise
from afterview.training.world import WorldConfig, split_of
from afterview.training.world.facts import KINDS
from afterview.training.world.script import Event, make_script
from afterview.training.world.vocabulary import HELD_OUT_PAIRS

RECIPE = Path(__file__).parents[3] / "configs" / "training" / "tiny.yaml"
FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    config = BankConfig(seeds=1, clips=4, backgrounds=3, image_size=64, encoded=1.0, workers=1)
    return make_bank(config, tmp_path_factory.mktemp("bank"))


def everything(**changes: object) -> LessonPlan:
    """A lesson of all kinds."""
    values = {
        "name": "all", "kinds": dict.fromkeys(KINDS, 1.0), "frames": 40, "stories": 2, "questions": 3, "most": 1,
        "duration_s": (120, 900),
    }  # fmt: skip
    return LessonPlan.model_validate({**values, **changes})


def test_every_clip_shows_what_its_labels_say(bank: Bank) -> None:
    assert len(bank.clips) == 6 * 4
    for event, row in bank.clips:
        label = dict(zip(LABELS, bank.labels[row].tolist(), strict=True))
        assert label["scene"] == CODE["scene"][event.scene]
        assert label["colour"] == (NO_LABEL if event.colour is None else CODE["colour"][event.colour])
        assert label["place"] == (NO_LABEL if event.place is None else CODE["place"][event.place])
    for scene, rows in bank.backgrounds.items():
        assert len(rows) == 3
        assert (bank.labels[rows, :-1] == NO_LABEL).all(), scene
    assert len({picture.tobytes() for picture in bank.pixels[[row for _, row in bank.clips]]}) == len(bank.clips)


def test_the_bank_shows_no_held_out_pair_and_no_seed_that_people_type(shelf: Shelf) -> None:
    assert not {(key[1], key[2]) for key in shelf.clips} & HELD_OUT_PAIRS
    assert all(split_of(job.seed) == "train" for job in plan_bank(BankConfig(seeds=2)))


def test_a_batch_is_a_function_of_its_number(shelf: Shelf, tokenizer) -> None:
    words, plan = Words(tokenizer), everything()
    one = make_batch(plan, shelf, words, FORGETTING, seed=1, number=5)
    two = make_batch(plan, shelf, words, FORGETTING, seed=1, number=5)
    other = make_batch(plan, shelf, words, FORGETTING, seed=1, number=6)
    assert np.array_equal(one.rows, two.rows)
    assert np.array_equal(one.after, two.after)
    assert not np.array_equal(one.numbers, other.numbers)


def test_recalled_frames_ascend_hold_the_visible_ones_and_the_events_that_prove_answers(
    shelf: Shelf, tokenizer
) -> None:
    plan = everything(stories=12, questions=4)
    batch = make_batch(plan, shelf, Words(tokenizer), FORGETTING, seed=3, number=0)
    assert (np.diff(batch.numbers, axis=1) > 0).all()
    assert (batch.numbers[:, -1] < batch.spans).all()
    ends = np.take_along_axis(batch.numbers, batch.visible, axis=1)[:, [0, -1]]
    assert (ends[:, 0] == 0).all()
    assert (ends[:, 1] == batch.spans - 1).all()
    proven = batch.needles.any(1).mean()
    assert 0.4 < proven < 0.95  # the others ask about unseen things, or about scenes


def test_words_are_read_as_the_prompt_reads_them(tokenizer) -> None:
    from afterview.training.world import QuestionPlan, make_script, questions_at, settled_time

    script = make_script(2**32, 300.0)
    question = questions_at(script, settled_time(script, 300.0), QuestionPlan(count=1))[0]
    text = Words(tokenizer).read(question, 301, Random(0), 0.0)
    prompt = build(tokenizer, question.text, frames=301, seconds=301.0)
    assert text.after == prompt.after.tolist()
    assert slice(*text.question) == prompt.question
    assert Words(tokenizer).head == prompt.before.tolist()


def test_the_tokenizer_knows_the_worlds_words_and_still_reads_anything(tokenizer) -> None:
    assert tokenizer.tokenize("Was there a purple triangle?") == ["Was", "Ġthere", "Ġa", "Ġpurple", "Ġtriangle", "?"]
    assert tokenizer.tokenize("00:41") == ["0", "0", ":", "4", "1"]
    strange = "Größe 日本 \x00 🙂"
    assert tokenizer.decode(tokenizer(strange)["input_ids"]) == strange


def test_a_wobbled_question_keeps_its_telling_words() -> None:
    rng = Random(0)
    heard = {add_word_noise("What colour was the red circle in the forest scene?", rng) for _ in range(60)}
    assert len(heard) > 10
    assert all({"colour", "red", "circle", "forest"} <= set(text.replace("?", "").split()) for text in heard)


def test_index_texts_say_which_frames_match() -> None:
    rng = Random(1)
    drawn = [draw_text(rng) for _ in range(400)]
    assert all(1 <= len(wanted) <= 2 and all(len(row) == len(LABELS) for row in wanted) for _, wanted in drawn)
    for text, wanted in drawn:
        if "red" in text.split() and len(wanted) == 1 and wanted[0][1] < ANYTHING - 2:
            assert wanted[0][1] == CODE["colour"]["red"]


def test_naming_is_told_values_and_everything_else_is_none() -> None:
    size = sum(len(values) + 1 for values in VALUES.values())
    labels = torch.tensor(
        [[CODE["kind"]["object"], CODE["colour"]["red"], ANYTHING, NO_LABEL, ANYTHING - 1, NO_LABEL, 0]]
    )
    logits, start = torch.zeros(1, size), 0
    for values, label in zip(VALUES.values(), labels[0].tolist(), strict=True):
        logits[0, start + (label if 0 <= label < len(values) else len(values))] = 50.0
        start += len(values) + 1
    assert float(attribute_loss(logits, labels)) == pytest.approx(0, abs=1e-6)
    assert float(attribute_loss(logits.roll(1, 1), labels)) > 100


def test_half_of_the_frames_without_digits_or_letters_are_mirrored_and_their_labels_with_them(bank: Bank) -> None:
    texts = Texts(np.zeros((2, 3), np.int64), np.zeros((2, 2, len(LABELS)), np.int16))
    draw = SightBatches(bank, texts, frames=60, asked=1, seed=0, device=torch.device("cpu"))
    row_of = {picture.tobytes(): row for row, picture in enumerate(bank.pixels)}
    other = {"top left": "top right", "bottom left": "bottom right"}
    other = {CODE["place"][a]: CODE["place"][b] for one, two in other.items() for a, b in ((one, two), (two, one))}
    place, turned, could = LABELS.index("place"), 0, 0
    for batch in (draw(0), draw(1)):
        for picture, labels, centre in zip(batch.pixels.numpy(), batch.labels, batch.centres, strict=True):
            straight = row_of.get(picture.tobytes())
            row = row_of[np.ascontiguousarray(picture[:, ::-1]).tobytes()] if straight is None else straight
            wanted, (across, down) = bank.labels[row].astype(np.int64), bank.centres[row]
            could += VALUES["kind"][wanted[0]] == "object" or wanted[0] == NO_LABEL
            if straight is None:
                assert wanted[0] in (NO_LABEL, CODE["kind"]["object"])
                turned, across = turned + 1, 1 - across
                wanted[place] = other.get(int(wanted[place]), wanted[place])
            np.testing.assert_array_equal(labels, wanted)
            np.testing.assert_allclose(centre, (across, down), rtol=1e-6)
    assert 0.3 < turned / could < 0.7


def test_an_index_that_names_what_it_sees_learns_from_that_too(bank: Bank) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    index = model.encoders.index
    texts = make_texts(index, 40, seed=0)
    batch = SightBatches(bank, texts, frames=6, asked=8, seed=0, device=torch.device("cpu"))(0)
    pixels = torch.nn.functional.interpolate(batch.pixels.permute(0, 3, 1, 2), (128, 128)).permute(0, 2, 3, 1)
    batch = replace(batch, pixels=pixels)
    plain, naming = (SightObjective(model.vision, index, naming=weight)(batch) for weight in (0.0, 2.0))
    assert "naming" not in plain.figures
    parts = sum(
        float(naming.figures[name].detach()) * weight
        for name, weight in (("reading", 1), ("matching", 1), ("naming", 2))
    )
    assert float(naming.loss.detach()) == pytest.approx(parts, rel=1e-4)


def test_where_the_bank_has_no_clip_of_an_events_length_another_stands_in() -> None:
    story = make_script(3, 600.0)
    event = next(one for one in story.events if seconds_of(one) > 1)
    thing = (event.kind, event.colour, event.shape, event.size, event.text, event.scene)

    def seen_with(clip: Event, wanted: Event) -> Event:
        shelf = Shelf({(*thing, str(seconds_of(clip))): [(clip, 70)]}, {})
        script, rows = use_clips(story.model_copy(update={"events": (wanted,)}), shelf, Random(0))
        assert rows == (70,)
        return script.events[0]

    brief = event.model_copy(update={"end_s": float(math.ceil(event.start_s) + 1), "place": "left"})
    shortened = seen_with(brief, event)
    assert (seconds_of(shortened), shortened.place) == (1, "left")
    assert seen_with(event, brief).end_s == brief.end_s  # the start of a longer clip
    with pytest.raises(TrainingError, match="give it more seeds or clips"):
        use_clips(story.model_copy(update={"events": (event,)}), Shelf({}, {}), Random(0))


def seconds_of(event: Event) -> int:
    return math.ceil(event.end_s) - math.ceil(event.start_s)


def test_lessons_end_when_they_are_learnt_or_too_long() -> None:
    plans = [everything(gate={"colour": 0.9}, most=100, least=10), everything(name="last", most=1)]
    progress = Progress(plans)
    assert not progress.note(5, {"colour": 1.0}, 5)  # learned, but too early
    assert progress.note(10, {"colour": 1.0}, 5)
    assert progress.plan.name == "last"
    assert not progress.note(500, {}, 1)
    slow = Progress(plans)
    assert not slow.note(99, {"colour": 0.1}, 1)
    assert slow.note(100, {"colour": 0.1}, 1)


def test_the_recipe_is_sound() -> None:
    recipe = load(RECIPE, Recipe)
    assert recipe.architecture.language.width % recipe.architecture.language.heads == 0


def test_lessons_name_kinds_that_exist() -> None:
    with pytest.raises(ValueError, match="no question is of kind 'taste'"):
        everything(kinds={"taste": 1.0})
    with pytest.raises(ValueError, match="does not ask"):
        everything(kinds={"colour": 1.0}, gate={"shape": 0.9})


def test_a_bank_too_small_for_its_stories_is_named(tokenizer) -> None:
    small = shelf_of(plan_bank(BankConfig(seeds=1, clips=4, backgrounds=3)))
    with pytest.raises(TrainingError, match="give it more seeds"):
        make_batch(everything(), small, Words(tokenizer), FORGETTING, seed=0, number=0)


@pytest.mark.parametrize("number", [0, 1])
def test_the_study_runs_what_answers_run(number: int, shelf: Shelf) -> None:
    """The batched path that shares a story's memory, against VideoLanguageModel on one question at a time, with the shipped weights."""
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    assert model.tokenizer is not None
    words, plan = Words(model.tokenizer), everything(wobble=0.0)
    batch = make_batch(plan, shelf, words, FORGETTING, seed=1, number=number)
    table = torch.randn(400, 64, 128, generator=torch.Generator().manual_seed(number)).half()
    batch.rows[:] %= len(table)
    objective = StudyObjective(model.video_language, words.head, forgetting=FORGETTING).eval()
    with torch.no_grad():
        embeds, masses, _ = objective.find(to_device(batch, table))
    for row in range(len(batch.after)):
        story = row // plan.questions
        start, end = batch.question[row]
        prompt = model.prompt(
            model.tokenizer.decode(batch.after[row, start:end]),
            frames=int(batch.spans[story]),
            seconds=float(batch.spans[story]),
        )
        layout = plan_layout(int(batch.spans[story]), batch.numbers[story], config=FORGETTING, trained_frames=12_000)
        plain = model.video_language.inputs_embeds(table[batch.rows[story]], layout, prompt)
        together = embeds[row, : len(plain.inputs_embeds)]
        torch.testing.assert_close(together, plain.inputs_embeds, atol=2e-4, rtol=1e-3)
        np.testing.assert_allclose(masses.mean(0)[row].numpy(), plain.frame_weights, atol=1e-5)


def test_of_each_frame_a_part_may_be_read_every_token_at_its_own_position() -> None:
    memory = torch.arange(2 * 5 * 65.0).view(2, 5, 65, 1)
    positions = memory[..., 0].long()
    tokens, at = _drawn(memory, positions, 7)
    assert torch.equal(tokens[..., 0].long(), at)
    drawn = at.view(2, 5, 7)
    assert (drawn // 65 == positions[:, :, :1] // 65).all()  # seven of every frame
    assert (drawn.diff(dim=-1) > 0).all()
    assert len({tuple(frame) for frame in (drawn % 65).flatten(0, 1).tolist()}) > 5  # not the same for all
    for count in (65, None):
        whole, everywhere = _drawn(memory, positions, count)
        assert torch.equal(whole, memory.flatten(1, 2))
        assert torch.equal(everywhere, positions.flatten(1))


def test_evidence_over_a_part_of_each_frame_still_sums_to_one(shelf: Shelf) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    words, plan = Words(model.tokenizer), everything(wobble=0.0)
    batch = make_batch(plan, shelf, words, FORGETTING, seed=1, number=0)
    table = torch.randn(400, 64, 128, generator=torch.Generator().manual_seed(0)).half()
    batch.rows[:] %= len(table)
    objective = StudyObjective(model.video_language, words.head, forgetting=FORGETTING).eval()
    with torch.no_grad():
        _, masses, _ = objective.find(to_device(batch, table, tokens_read=9))
        _, again, _ = objective.find(to_device(batch, table, tokens_read=9))
    assert masses.shape[1:] == batch.needles.shape
    torch.testing.assert_close(masses.sum(2), torch.ones(masses.shape[:2]))
    assert not torch.equal(masses, again)


def test_loss_falls_and_figures_name_the_kinds(shelf: Shelf) -> None:
    recipe = load(RECIPE, Recipe)
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    assert model.tokenizer is not None
    words = Words(model.tokenizer)
    objective = StudyObjective(model.video_language, words.head, forgetting=FORGETTING)
    plan = everything(
        kinds={"colour": 1.0},
        frames=16,
        wobble=0.0,
        world=WorldConfig(objects=(1, 1), repeats=(0, 0), digits=(0, 0), words=(0, 0)),
    )
    table = torch.randn(400, 64, 128, generator=torch.Generator().manual_seed(0)).half()
    batch = make_batch(plan, shelf, words, recipe.forgetting, seed=1, number=0)
    batch.rows[:] %= len(table)
    moved = to_device(batch, table)
    for parameter in model.video_language.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.video_language.parameters(), lr=3e-4)
    losses = []
    for _ in range(4):
        output = objective(moved)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < losses[0]
    assert int(output.figures["colour/asked"]) == len(batch.after)
    assert int(output.figures["shape/asked"]) == 0


def test_the_feeder_gives_the_same_batch_as_drawing_it(shelf: Shelf, tokenizer, tmp_path: Path) -> None:
    plan = everything(frames=33, stories=1)
    tokenizer.save_pretrained(tmp_path)
    with DataLoader(BankConfig(seeds=120), tmp_path, FORGETTING, seed=1, workers=1, ahead=1) as loader:
        fed = loader.batch(plan, 2)
    drawn = make_batch(plan, shelf, Words(tokenizer), FORGETTING, seed=1, number=2)
    assert np.array_equal(fed.rows, drawn.rows)
    assert np.array_equal(fed.answers, drawn.answers)


def test_workers_leave_ctrl_c_to_the_process_that_gave_the_work() -> None:
    with multiprocessing.get_context("spawn").Pool(1, leave_ctrl_c) as pool:
        pool.apply_async(signal.raise_signal, (signal.SIGINT,)).get(timeout=60)  # raises what the worker raised


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tokenizer: PreTrainedTokenizerFast) -> Recipe:
    """A few steps of every stage on a bank of noise instead of pictures, to test that the stages fit together."""
    recipe = load(RECIPE, Recipe)
    lesson = recipe.study.lessons[0].model_copy(update={"stories": 1, "questions": 2})
    first = recipe.sight.trainer.model_copy(update={"steps": 2, "precision": "no", "save_every": 1})

    planned = cache(plan_bank)
    monkeypatch.setattr(data_loader, "plan_bank", planned)
    monkeypatch.setattr(making, "train_tokenizer", lambda: tokenizer)

    @cache
    def bank_of_noise(config: BankConfig) -> Bank:
        from afterview.training.tiny.bank import index_bank

        jobs = planned(config)
        picture = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
        frames = jobs[-1].first_frame + len(jobs[-1].times)
        return index_bank(jobs, np.lib.stride_tricks.as_strided(picture, (frames, 128, 128, 3), (0, 384, 3, 1)))

    monkeypatch.setattr(making, "rendered_bank", lambda config, directory, report: bank_of_noise(config))
    monkeypatch.setattr(
        making,
        "encode_all",
        lambda vision, pixels, device, report: torch.zeros(1, 64, 128).half().expand(len(pixels), -1, -1),
    )
    return recipe.model_copy(
        update={
            "bank": BankConfig(seeds=16, clips=88, backgrounds=2, image_size=128, workers=1),
            "sight": recipe.sight.model_copy(
                update={"frames": 6, "texts": 4, "pool": 8, "trainer": first}
            ),
            "naming": NamingConfig(steps=2, frames=8),
            "sentences": SentencesConfig(
                lesson=lesson, trainer=first.model_copy(update={"learning_rates": {"language": 1e-3}})
            ),
            "study": recipe.study.model_copy(
                update={
                    "lessons": (lesson,), "workers": 1, "telling_weight": 0.3,
                    "trainer": recipe.study.trainer.model_copy(update={"steps": 3, "precision": "no", "save_every": 1}),
                }
            ),
        }
    )  # fmt: skip


@pytest.mark.thorough
def test_the_whole_making_goes_on_wherever_it_was_killed_and_ends_with_the_same_bits(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert making.make(short, whole, cpu=True)
    take_step, killed_before = Trainer._take_step, {"sight": 1, "sentences": 1, "study": 2}

    def until_killed(trainer: Trainer, batch_of: BatchOf) -> None:
        if killed_before.get(trainer.directory.name) == trainer.step:
            del killed_before[trainer.directory.name]
            raise KeyboardInterrupt
        take_step(trainer, batch_of)

    monkeypatch.setattr(Trainer, "_take_step", until_killed)
    for stage in ("sight", "sentences", "study"):
        with pytest.raises(KeyboardInterrupt):
            making.make(short, parts, cpu=True)
        assert stage not in killed_before
        assert not (parts / "model").exists()
    assert making.make(short, parts, cpu=True)
    for name in ("model.safetensors", "index_encoder/model.safetensors"):
        assert (parts / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()
    assert "telling" in (parts / "study" / "log.jsonl").read_text()
    model = load_pretrained(parts / "model", device="cpu")
    assert model.trained
    assert model.notice == short.notice
    assert sum(path.stat().st_size for path in (parts / "model").rglob("*.safetensors")) < 25e6


def test_a_making_stops_at_its_deadline_and_refuses_another_recipe(short: Recipe, tmp_path: Path) -> None:
    assert not making.make(short, tmp_path, cpu=True, deadline=0.0)
    assert not (tmp_path / "model").exists()
    assert not making.make(short.model_copy(update={"notice": "reworded"}), tmp_path, cpu=True, deadline=0.0)
    other = short.model_copy(update={"bank": short.bank.model_copy(update={"clips": 90})})
    with pytest.raises(UsageError, match=r"started with bank\.clips 88, not 90; give the configuration"):
        making.make(other, tmp_path, cpu=True)
    (tmp_path / "sight" / "learnt.safetensors").write_bytes(b"cut short")
    with pytest.raises(
        TrainingError,
        match=r"learnt\.safetensors: is damaged, or of another model; delete it to train this stage again",
    ):
        making.make(short, tmp_path, cpu=True)


def test_a_bank_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    config = BankConfig(seeds=1, clips=2, backgrounds=1, image_size=32, encoded=0.0, workers=1)
    recipe = load(RECIPE, Recipe).model_copy(update={"bank": config})
    made = making.rendered_bank(recipe.bank, tmp_path).pixels.copy()
    pixels = tmp_path / "bank.pixels"
    for damage in (lambda: None, lambda: os.truncate(pixels, 1000), pixels.unlink):
        damage()
        assert np.array_equal(making.rendered_bank(recipe.bank, tmp_path).pixels, made)
    assert made.reshape(len(made), -1).any(1).all()


@pytest.mark.parametrize(("arguments", "message"), [(["nowhere.yaml"], "nowhere.yaml"), ([str(RECIPE)], "file")])
def test_the_program_that_makes_it_names_what_is_wrong(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert program.main([*arguments, "--out", str(tmp_path / "file"), "--cpu"]) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith("python -m afterview.training.tiny: error: ")
    assert message in error


def test_the_program_shows_its_log_on_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    for name in ("", "afterview"):  # basicConfig adds a handler only if there is none
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    monkeypatch.setattr(program, "make", lambda *_, **__: making._LOGGER.info("bank ...") or True)
    before = logging.getLogger("afterview").level
    try:
        assert program.main([str(RECIPE), "--out", str(tmp_path)]) == 0
    finally:
        logging.getLogger("afterview").setLevel(before)
    assert shown.getvalue() == "bank ...\n"


def test_a_time_is_pointed_to_wherever_there_is_proof_of_it(shelf: Shelf, tokenizer) -> None:
    plan = everything(kinds={"when": 1.0, "last": 1.0, "colour": 1.0}, stories=12)
    batch = make_batch(plan, shelf, Words(tokenizer), FORGETTING, seed=4, number=0)
    pointed = (batch.answers == pointer_ids(tokenizer)[MOMENT]).any(1)
    timed = batch.kinds != KINDS.index("colour")
    assert np.array_equal(pointed, timed & batch.needles.any(1))
    assert 0 < pointed.sum() < timed.sum()  # unseen things get "not seen"


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.read_text().replace("memaug_depth", "memaug_deph"))
    with pytest.raises(ConfigError, match="did you mean 'memaug_depth'"):
        load(path, Recipe)
