"""Scoring of lettered answers: which form of an answer chooses which option."""

import pytest

from afterview.training.evaluation.choices import _told, chosen
from afterview.training.evaluation.judge import is_right
from afterview.training.world import WorldQuestion

OPTIONS = {"A": "blue", "B": "red", "C": "not seen", "D": "dark red"}
QUESTION = "Which colour?\nA. blue\nB. red\nC. not seen\nD. dark red"

_B = [
    "B", "b", "B.", " b. ", "(B)", "(B).", "(b)", "B)", "B:", "[B]", "{B}", '"B"', "'B'.", "\u201cB\u201d", "`B`", "**B**",
    "**B**.", "__B__", "*(B)*", "$B$", "B!", "B\n", "B. red", "b. red", "(B) red", "B) red.", "B: Red", "B - red", "B \u2014 red",
    "**B. red**", "B red", "B, red", "Answer: B", "answer: b", "Answer:B", "Answer : B", "**Answer:** B", "ANSWER: (B)",
    "Answer: B. red", "Answer is B", "Answer B", "The answer is B", "The answer is B.", "the answer is b", "The answer is: B",
    "The answer is (B).", "The answer is option B.", "The correct answer is B", "The correct answer is (B) red.",
    "The correct option is B.", "The best choice is B", "My answer is B.", "The answer would be B.", "The right answer is **B**.",
    "Final answer: B", "The final answer is $\\boxed{B}$.", "\\boxed{B}", "$\\boxed{B}$", "\\boxed{\\text{B}}",
    "\\boxed{\\mathbf{B}}", "\\boxed{(B)}", "\\boxed{B. red}", "\\boxed{red}", "<answer>B</answer>", "<answer> (B) red </answer>",
    "Option B", "option (B)", "Choice B.", "It is B", "It's B.", "I choose B", "I would say B.", "I'd go with B.",
    "I think it is B.", "I think the answer is B.", "B is correct", "B is the correct answer.", "B is the answer",
    "B because it is red", "B, because the circle is red.", "(B) because", "B. The circle is red.", "B. A red circle is there.",
    "B\n\nThe circle is red.", "The circle is red. So the answer is B.", "Let me think. A circle is red.\nAnswer: B",
    "The circle is not blue. The answer is B.", "C'est B", "C\u2019est B.", "C'est la B", "La r\u00e9ponse est B.",
    "R\u00e9ponse : B", "La bonne r\u00e9ponse est (B).", "Die Antwort ist B.", "Antwort: B", "Die richtige Antwort lautet B",
    "La respuesta es B", "La respuesta correcta es la B.", "Respuesta: B", "La risposta \u00e8 B", "A resposta \u00e9 B",
    "Het antwoord is B.", "\u041e\u0442\u0432\u0435\u0442: B", "\u7b54\u6848\u662fB", "\u7b54\u6848\uff1aB",
    "\u7b54\u6848\u662f\uff08B\uff09\u3002", "\u6b63\u786e\u7b54\u6848\u662fB\u3002", "\u9009B", "\u6b63\u89e3\u306fB\u3067\u3059",
    "\uc815\ub2f5\uc740 B", "Ans: B", "So, B.", "B\uff01", "Option B is correct", "#### B", "- B", "> B", "Choose B", "Sure! B",
    '{"answer": "B"}', "Answer = B", "The correct one is B", "It is definitely B", "\\[ B \\]", "\\(\\boxed{B}\\)",
    "<think>A or C?</think> B", "I would choose option (B).", "red", "Red", "red.", "RED", '"red"', "The answer is red.",
    "Answer: red", "It is red.", "It's red", "I think B is the best choice.", "I believe that B is correct",
]  # fmt: skip

_NONE = [
    "", " ", ".", "?", "B or C", "B or C.", "b or c", "(B) or (C)", "B and C", "B, C", "B,C", "B/C", "B & C", "A or B", "A, B",
    "Both A and B", "Either B or C", "Neither A nor B", "A B C D", "AB", "BC", "Answer: B or C", "The answer is B or C",
    "The answer is B and C.", "The answer is either B or C.", "The answer is B, or maybe C", "Answer: A. Answer: B", "B. No, C.",
    "B... no, wait, C", "\\boxed{A} or \\boxed{B}", "\\boxed{B or C}", "<answer>B or C</answer>", "not B", "Not B.", "It is not B",
    "It isn't B.", "The answer is not B.", "I don't think it is B.", "I do not think the answer is B.", "B is wrong",
    "B is not the answer.", "Is it B?", "B?", "Ben", "Because", "Blue and red", "Certainly", "A red circle", "A red circle.",
    "A circle", "a red circle", "The answer is a red circle", "It is a red circle.", "I saw a circle.", "A is for apple", "E", "E.",
    "The answer is E", "H", "I", "1", "2", "Z", "I do not know", "I cannot tell from A to D.", "None of the above",
    "All of the above", "B. blue", "(B) blue", "A. red", "B: not seen", "C. dark red", "B12", "B-roll", "B's", "Vitamin B is there",
    "Camera B shows it", "Plan B", "It depends", "A is wrong, B is right", "A and B are both wrong", "a or b", "B or D",
    "The answer is A. red", "red or blue", "not red", "Answer: none", "A dog. A cat.", "A cat because it meows",
    "If it were B, it would be red.", "The answer isn't B", "Options: A, B, C, D", "Dark", "The colour could be B or red or C",
    "C'est B ou C", "\u7b54\u6848\u662fB\u6216C", "Je ne sais pas", "Be", "bed", "cab",
]  # fmt: skip


@pytest.mark.parametrize("answer", _B)
def test_forms_of_an_answer_that_choose_b(answer: str) -> None:
    assert chosen(answer, OPTIONS) == "B"


@pytest.mark.parametrize("answer", _NONE)
def test_forms_of_an_answer_that_choose_nothing(answer: str) -> None:
    assert chosen(answer, OPTIONS) is None


@pytest.mark.parametrize(
    ("answer", "options", "letter"),
    [
        ("A red circle", {"A": "a red circle", "B": "a blue one"}, "A"),
        ("A red circle", {"A": "a blue one", "B": "A red circle."}, "B"),
        ("A", {"A": "a red circle", "B": "a blue one"}, "A"),
        ("a", {"A": "red", "B": "blue"}, "A"),
        ("A. red", {"A": "red", "B": "blue"}, "A"),
        ("A red", {"A": "red", "B": "blue"}, "A"),
        ("The answer is A.", {"A": "red", "B": "blue"}, "A"),
        ("The answer is a", {"A": "red", "B": "blue"}, "A"),
        ("C'est B", {letter: letter.lower() * 3 for letter in "ABC"}, "B"),
        ("dark red", OPTIONS, "D"),
        ("not seen", OPTIONS, "C"),
        ("Not seen.", OPTIONS, "C"),
        ("All of the above", {"A": "red", "B": "blue", "C": "All of the above"}, "C"),
        ("B", {"A": "C", "B": "A"}, "B"),
        ("red", {"A": "red", "B": "Red"}, None),  # two options of one text
        ("A", {"A": "e", "B": "d", "C": "a"}, "A"),  # the prompt asks for a letter
        ("(A)", {"A": "e", "B": "d", "C": "a"}, "A"),
        ("The answer is A", {"A": "e", "B": "d", "C": "a"}, "A"),
        ("a", {"A": "e", "B": "d", "C": "a"}, None),
        ("a", {"A": "a", "B": "d"}, "A"),
        ("e", {"A": "e", "B": "d", "C": "a"}, "A"),  # no letter that is offered
        ("B", {"A": "B", "B": "A"}, "B"),
        ("H", None, "H"),
        ("I", None, None),
    ],
)
def test_an_options_text_counts_and_letters_that_are_not_offered_do_not(
    answer: str, options: dict[str, str] | None, letter: str | None
) -> None:
    assert chosen(answer, options) == letter


def test_the_world_evaluation_scores_choices_by_it() -> None:
    question = WorldQuestion(
        kind="colour", text=QUESTION, answer="B", wrong=("A", "C", "D"), at_s=1.0, multiple_choice=True
    )
    for answer, right in (("Answer: B", True), ("red", True), ("B or C", False), ("A red circle", False), ("A", False)):
        assert is_right(question, answer) is right


EGO = {"A": "C cleans the house.", "B": "C cooks.", "C": "C and X talk.", "D": "A dog barks.", "E": "What is that?"}


@pytest.mark.parametrize("letter", EGO)
@pytest.mark.parametrize(
    "form",
    ["{}. {}", "({}) {}", "{}: {}", "The answer is {}. {}", "Answer: {}. {} Because it is so.", "{}", "({})", "{}."],
)
def test_words_of_the_options_own_text_name_no_other_option(letter: str, form: str) -> None:
    """EgoSchema calls the person with the camera C."""
    assert chosen(form.format(letter, EGO[letter]), EGO) == letter


@pytest.mark.parametrize(
    ("answer", "options", "letter"),
    [
        ("B. A Beautiful Mind", {"A": "Heat", "B": "A Beautiful Mind"}, "B"),
        ("C. A and B", {"A": "red", "B": "blue", "C": "A and B"}, "C"),
        ("A. Team B", {"A": "Team B", "B": "Team A"}, "A"),
        ("(B) When?", {"A": "Where?", "B": "When?"}, "B"),
        ("A. Team B or Team A", {"A": "Team B", "B": "Team A"}, None),
        ("A. Team B. No, B.", {"A": "Team B", "B": "Team A"}, None),
        ("A. Team B?", {"A": "Team B", "B": "Team A"}, None),
    ],
)
def test_a_letter_with_its_text(answer: str, options: dict[str, str], letter: str | None) -> None:
    assert chosen(answer, options) == letter


ARTICLES = {"A": "A man is running", "B": "A dog is running", "C": "A cat sleeps", "D": "None of the above"}
NAMES = {"A": "Team A", "B": "Team B", "C": "Vitamin C", "D": "Camera D"}


@pytest.mark.parametrize(
    "answer", ["B", "B. No", "B. No, he stays", "(B) No, he doesn't walk.", "B\n\nNo, he does not", "No, he does not"]
)
def test_an_option_may_begin_with_a_word_of_denial(answer: str) -> None:
    options = {"A": "Yes, he does", "B": "No, he does not"}
    assert chosen(answer, options) == "B"
    assert chosen("A. No", options) is None


PLAIN = {"A": "Red", "B": "Blue", "C": "Green", "D": "Yellow"}


@pytest.mark.parametrize(
    "answer",
    [
        "(B) does not appear in the video", "(B) did not occur in the video", "(B) contradicts the video", "(B) has no evidence",
        "(B) may be tempting, but the car is green.", "B, but the car is actually green.", "Option B, however, is not shown.",
        "I would rule out option B.", "Eliminate option B.", "We can exclude option B", "I reject option B.",
        "Any option except option B.", "Anything other than option B.", "Instead of option B", "It would be a mistake to choose B.",
        "If the answer is B, the car is blue.", "It is unclear whether the answer is B.", "I wonder if it is red",
        "The question is whether it is red.", "\u4e0d\u9009B", "\u4e0d\u80fd\u9009B\u3002", "\u4e0d\u9009\u62e9B\u3002",
        "La risposta non \u00e8 B.", "A resposta n\u00e3o \u00e9 B.", "\\boxed{B} is wrong", "Answer: B\nSo the answer is Green",
        "Answer: B\nFinal answer: Green.", "The answer is Blue.\nAnswer: C", "The answer is blue. No, green.",
        "A: The car in the video is blue.", "A: Blue", "A: I cannot see the video.", "The least likely answer is B.",
    ],
)  # fmt: skip
def test_what_is_rejected_hedged_or_contradicted_chooses_nothing(answer: str) -> None:
    assert chosen(answer, PLAIN) is None


@pytest.mark.parametrize(
    "answer",
    [
        "The correct answer is (B) Blue because it is shown.", "The correct answer is (B) Blue, as seen at 0:05.",
        "Answer: (B) The car is blue.", "Best option: (B) the blue car", "The correct answer is B) Blue because it is shown.",
        "Option B is correct because the car is blue.", "B is the best answer based on the video.", "B is the most likely answer.",
        "The answer to the question is B.", "The correct choice here is B.", "The correct answer based on the video is B.",
        "The option that best describes the video is B.", "It should be B.", "B<|im_end|>", "B</s>", "ASSISTANT: B", "Assistant: B. Blue",
        "B\\. Blue", "Blue (B)", "The answer is blue (B).", "The answer is blue. It is shown at 0:05.", "Answer: B\nThe answer is Blue",
    ],
)  # fmt: skip
def test_common_forms_of_an_answer(answer: str) -> None:
    assert chosen(answer, PLAIN) == "B"


def test_what_leads_tell_is_read_as_far_as_an_option_reaches() -> None:
    """A model in a loop writes thousands of leads. Each was compared to the end of the answer: a minute for one answer."""
    told = _told("The answer is " * 2000, PLAIN)
    assert len(told) > 1000
    assert max(map(len, told)) < 500


def test_a_name_in_an_explanation_is_no_other_option() -> None:
    assert chosen("A. C cleans the house. In the video, C is seen in the kitchen.", EGO) == "A"
    assert chosen("A. C cleans the house. Or C.", EGO) is None


@pytest.mark.parametrize("options", [ARTICLES, NAMES])
@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize(
    "form",
    [
        "{}\n\nExplanation: the man runs.", "{} is correct.", "{} because he runs", "Answer: {}\n\nHe is seen running.", "{} - {}",
        "{}\n{}", "{}, because he runs",
    ],
)  # fmt: skip
def test_the_place_of_the_right_option_decides_nothing(form: str, letter: str, options: dict[str, str]) -> None:
    assert chosen(form.format(letter, options[letter]), options) == letter


@pytest.mark.parametrize("letter", ["A", "B"])
@pytest.mark.parametrize(
    "form",
    [
        "({}) is wrong.", "({}) is not correct.", "({}) can be ruled out", "({}) is false", "{}) is wrong", '"{}" is not the answer',
        "{}, which is wrong", "{}: incorrect", "{}. No", "Option {}: not shown in the video.", "I doubt it is {}", "({}) is clearly wrong.",
        "{} isn't it", "{}. {} is wrong", "{}, it is wrong", "{} - not sure", "({}) was never shown", "The answer is {}, which is unlikely",
    ],
)  # fmt: skip
def test_an_option_that_is_named_to_be_rejected_is_not_chosen(form: str, letter: str) -> None:
    assert chosen(form.format(letter, ARTICLES[letter]), ARTICLES) is None


@pytest.mark.parametrize(
    "answer",
    [
        "B. not seen", "(B) Not seen.", "B: not seen, because it is dark", "B, because it is not blue", "B. The circle is not blue.",
        "B. It is not blue but grey.", "B, no doubt",
    ],
)  # fmt: skip
def test_words_of_denial_elsewhere_reject_nothing(answer: str) -> None:
    assert chosen(answer, {"A": "blue", "B": "not seen"}) == "B"


@pytest.mark.parametrize(
    "answer", ["\u3010B\u3011", "\uff3bB\uff3d", "\u300aB\u300b", "\uff22", "\u7b54\u6848\u4e3a\u3010B\u3011"]
)
def test_brackets_and_letters_of_chinese_type(answer: str) -> None:
    assert chosen(answer, OPTIONS) == "B"


@pytest.mark.parametrize(
    "answer",
    [
        "It is a", "This is a", "e.g. a man", "E.g. a man", "a.m.", "a.k.a. the boss", "a, the man", "C, the camera wearer, cooks.",
        "<think>The answer is A, hmm wait", "The answer is b. wait, actually c", "The answer is B. Actually, C",
        "I think a man", "I think A man cooks", "I think a",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_letter_chooses_nothing(answer: str) -> None:
    assert chosen(answer, EGO) is None


def test_what_comes_before_the_end_of_a_thought_does_not_count() -> None:
    assert chosen("It may be A. </think> B", EGO) == "B"
    assert chosen("<think>A? <think>no</think> B?</think>The answer is (C)", EGO) == "C"
