"""What was probably meant."""

from afterview.configs.suggestions import did_you_mean

COMMANDS = ["search", "store", "watch", "reembed"]


def test_the_similar_word_is_named_whatever_its_case_and_its_dashes() -> None:
    assert did_you_mean("serch", COMMANDS) == "; did you mean 'search'?"
    assert did_you_mean("WATHC", COMMANDS) == "; did you mean 'watch'?"
    assert did_you_mean("--memry", ["--memory", "--camera"]) == "; did you mean '--memory'?"
    assert did_you_mean("front dor", ["Front door", "yard"]) == "; did you mean 'Front door'?"


def test_a_beginning_means_every_word_that_begins_so() -> None:
    assert (
        did_you_mean("--open", ["--open-timeout", "--opens", "--read"])
        == "; did you mean '--open-timeout' or '--opens'?"
    )
    assert did_you_mean("s", COMMANDS) == ""


def test_nothing_is_suggested_for_a_word_that_is_like_none() -> None:
    assert did_you_mean("zzzz", COMMANDS) == ""
    assert did_you_mean("", COMMANDS) == ""
