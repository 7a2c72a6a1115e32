"""A byte-level BPE tokenizer trained on the world's texts: one token per known word, bytes for everything else."""

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from afterview.model.language.moments import MOMENT
from afterview.model.language.prompt import HOUR_LLAVA_TIME, SYSTEM
from afterview.model.language.tokenizer import CHATML, PADDING, TURN_END, TURN_START
from afterview.model.vision.index_encoder import canonical
from afterview.training.base.seeds import seeded
from afterview.training.world import QuestionPlan, make_script, multiple_choice, questions_at, settled_time
from afterview.training.world.facts import KINDS
from afterview.training.world.phrasing import word, wordings
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED, STILL

VOCABULARY = 2048  # at most; the corpus has fewer frequent merges
_STORIES = 60
_LEAST_FREQUENT = 2  # least occurrences of a merge; rarer strings stay bytes


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer; always the same result. Digits are separate tokens, so that a clock time is read and written digit by digit."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=_LEAST_FREQUENT,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[],
        show_progress=False,
    )
    core.train_from_iterator(corpus(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=TURN_END, pad_token=PADDING, additional_special_tokens=[TURN_START, MOMENT]
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def corpus() -> Iterator[str]:
    """Texts of the training split: the prompt, every trained wording, questions and answers of some stories, cased and canonical."""
    slots = dict.fromkeys(("the", "one", "two", "three"), "the red circle") | {"a": "a red circle", "scene": "city"}
    for _ in range(_LEAST_FREQUENT):
        yield from (SYSTEM, HOUR_LLAVA_TIME.form, "system", "user", "assistant", STILL)
        for kind in KINDS:
            for number in wordings(kind, held_out=False):
                text = word(kind, number, {**slots, "qualifier": " in the forest scene"})
                yield from (text, canonical(text))
    rng = seeded(f"words 1, {VOCABULARY}")
    for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + _STORIES):
        script = make_script(seed, rng.choice((120.0, 900.0, 5000.0)))
        for question in questions_at(
            script, settled_time(script, script.duration_s), QuestionPlan(count=60, seed=seed)
        ):
            yield from (question.text, question.answer, canonical(question.text), " " + question.answer)
            if len(question.wrong) > 1:
                yield multiple_choice(question).text
