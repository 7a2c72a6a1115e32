"""Topics: a name can be anything, and still no topic is another one's, nor a wildcard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterview.stream.service.mqtt.topics import WORDS, Meaning, Topics, level_of

TOPICS = Topics("house/afterview", "homeassistant")


@given(st.text(min_size=1, max_size=50))
def test_a_level_is_one_level(camera: str) -> None:
    level = level_of(camera)
    assert not set(level) & set("/+#$ \0")
    assert level.isprintable()
    assert level not in WORDS


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_different_cameras_have_different_levels(one: str, other: str) -> None:
    assert (level_of(one) == level_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("camera", "level"),
    [
        ("front-door", "front-door"), ("übergang-2", "übergang-2"), ("answer", "%61nswer"), ("%61nswer", "%2561nswer"),
        ("a/+#$b", "a%2f%2b%23%24b"),
    ],
)  # fmt: skip
def test_levels_of_names(camera: str, level: str) -> None:
    assert level_of(camera) == level


@pytest.mark.parametrize(
    ("topic", "meaning"),
    [
        ("house/afterview/ask", Meaning("ask")),
        ("house/afterview/available", Meaning("available")),
        ("house/afterview/instance", Meaning("instance")),
        ("house/afterview/yard/paused/set", Meaning("set", "yard", "paused")),
        ("house/afterview/yard/attributes", Meaning("attributes", "yard")),
        ("homeassistant/status", Meaning("birth")),
        ("house/afterview/yard/masks/set", None),
        ("house/afterview/yard/paused/state", None),
        ("house/afterview//paused/set", None),
        ("house/afterview/answer", None),
        ("house/afterview", None),
        ("house/ask", None),
        ("ask", None),
        ("", None),
    ],
)
def test_what_a_topic_means(topic: str, meaning: Meaning | None) -> None:
    assert TOPICS.meaning(topic) == meaning


@given(st.text(max_size=60))
def test_any_topic_has_a_meaning_or_none(text: str) -> None:
    for topic in (text, f"house/afterview/{text}", f"house/afterview/{text}/set"):
        meaning = TOPICS.meaning(topic)
        assert meaning is None or meaning.kind == "birth" or topic.startswith("house/afterview/")


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("house/afterview/answer/me", True),
        ("house/afterview/answer/a/b/c", True),
        ("house/afterview/answer", False),
        ("house/afterview/answer/", False),
        ("house/afterview/answer//x", False),
        ("house/afterview/answer/+", False),
        ("house/afterview/answer/#", False),
        ("house/afterview/yard/paused/set", False),
        ("homeassistant/device/x/config", False),
        ("zigbee2mqtt/lock/set", False),
        ("$SYS/x", False),
        ("house/afterview/answer/a\0b", False),
        ("house/afterview/answer/" + "x" * 300, False),
        ("house/afterview/answer/1/2/3/4/5/6/7/8/9", False),
    ],
)
def test_where_an_answer_may_go(topic: str, allowed: bool) -> None:
    assert TOPICS.allows_response(topic) is allowed


@given(st.text(max_size=80))
def test_an_answer_goes_nowhere_else(text: str) -> None:
    for topic in (text, f"house/afterview/answer/{text}"):
        if TOPICS.allows_response(topic):
            assert topic.startswith("house/afterview/answer/")
            assert TOPICS.meaning(topic) is None  # nor to a topic that means something to us
            assert not any(topic == own for camera in ("answer", "x") for own in TOPICS.all_of_level(level_of(camera)))


def test_all_retained_topics_of_a_camera_are_known() -> None:
    assert TOPICS.all_of_level("yard")[-1] == "house/afterview/yard/state"
    assert set(TOPICS.all_of_level("yard")) == {
        f"house/afterview/yard/{rest}" for rest in ("state", "attributes", "last_frame", "evidence", "paused/state")
    }
    assert not any("set" in topic for topic in TOPICS.subscriptions(commands=False))
    assert "homeassistant/status" not in Topics("a").subscriptions(commands=True)
