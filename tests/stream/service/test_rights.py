"""Every way in, with every role: a viewer of one camera cannot learn that there is another. tests/stream/service/rights has the tables."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stream.service import rights
from tests.stream.service.rights import Rule, Verdict
from tests.stream.service.rights.world import (
    HIDDEN,
    HIDDEN_NAME,
    MISSING,
    STRANGERS,
    SUBTITLES,
    TARGETS,
    World,
    world,
)
from tests.support.service import API

DOORS = [
    importlib.import_module(f"{rights.__name__}.{found.name}")
    for found in pkgutil.iter_modules(rights.__path__)
    if found.name != "world"
]
_KEYS = r"id|bytes\w*|\w+_bytes|time\w*|since\w*|asked|saved|created|ended|began|\w*_s|file|expires\w*|directory"
VOLATILE = re.compile(rf'"({_KEYS})": ("[^"]*"|[\d.e-]+|\{{[^{{}}]*\}}|null)')


@pytest.fixture(scope="module")
def both(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("both"), tiny, broker=tmp_path_factory.mktemp("broker")) as made:
        yield made


def expected(rule: Rule, role: str, target: str | None) -> Verdict:
    """What a role gets."""
    if role in STRANGERS:
        return "ok" if rule.may == "anyone" else "stranger"
    if rule.may == "admin" and role not in ("owner", "admin"):
        return "forbidden"
    if target == "missing" or (target == "hidden" and role == "one"):
        return rule.of_missing
    if rule.about == "answer" and role == "viewer":
        return rule.of_missing  # somebody else's
    return "ok"


@pytest.mark.thorough
@pytest.mark.parametrize("door", DOORS, ids=[door.__name__.rsplit(".", 1)[-1] for door in DOORS])
def test_every_way_in_with_every_role(both: World, door: Any) -> None:
    getattr(door, "need", lambda world: None)(both)
    of_others = {name for other in DOORS if other is not door for name in other.RULES}
    assert door.names(both) - of_others == set(door.RULES), "a way in is not in the table of its door, or is gone"
    wrong = []
    for name, rule in door.RULES.items():
        for target in TARGETS if rule.about else (None,):
            for role in door.ROLES:
                outcome = door.attempt(both, role, name, target)
                if outcome.verdict != expected(rule, role, target):
                    wrong.append(
                        f"{name} as {role}, {target}: {outcome.verdict}, not {expected(rule, role, target)}: {outcome.text}"
                    )
                given = rule.about and both.things[rule.about]["hidden"]
                if role in ("one", *STRANGERS) and _names_attic(outcome.text, given if target == "hidden" else None):
                    wrong.append(f"{name} as {role}, {target}: tells of the attic: {outcome.text}")
    assert not wrong, "\n".join(wrong)


def _names_attic(text: str, given: str | None) -> bool:
    """Whether a text tells of the hidden camera; what the client itself gave may come back."""
    return "attic" in (text.replace(given, "") if given else text)


@pytest.mark.parametrize("door", DOORS, ids=[door.__name__.rsplit(".", 1)[-1] for door in DOORS])
def test_what_is_hidden_and_what_is_not_there_look_the_same(both: World, door: Any) -> None:
    getattr(door, "need", lambda world: None)(both)
    if "one" not in door.ROLES:
        pytest.skip("the door has one account")
    for name, rule in door.RULES.items():
        if rule.about is None:
            continue
        hidden, missing = (both.things[rule.about][which] for which in ("hidden", "missing"))
        first = door.attempt(both, "one", name, "hidden").text.replace(hidden, "THING")
        second = door.attempt(both, "one", name, "missing").text.replace(missing, "THING")
        assert first == second, name


@pytest.mark.parametrize("given", [HIDDEN, HIDDEN_NAME, HIDDEN_NAME.upper(), HIDDEN[:-1], f" {HIDDEN_NAME}"])
def test_no_spelling_finds_a_hidden_camera(both: World, given: str) -> None:
    words = set()
    for name in (given, MISSING):
        for body in (
            {"question": "Which scene?", "cameras": [name]},
            {"question": "Which scene?", "cameras": ["yard", name]},
        ):
            answer = both.service.client.post(f"{API}/ask", json=body, headers=both.headers("one"))
            assert answer.status_code == 404
            words.add(answer.text.replace(name, "THING"))
    assert len(words) == 1, words


@pytest.mark.slow
def test_everything_looks_as_if_there_were_no_other_camera(tiny: Any, tmp_path: Path) -> None:
    """The same requests to a service that has no other camera give the same, but for times and ids."""
    with world(tmp_path / "both", tiny) as two, world(tmp_path / "alone", tiny, attic=False) as alone:
        _require_alike(two, alone)


def _require_alike(both: World, alone: World) -> None:
    paths = [f"{API}/service", f"{API}/cameras", f"{API}/cameras/yard", f"{API}/cameras/yard/frames", f"{API}/cameras/yard/timeline",
             f"{API}/answers", f"{API}/session", "/metrics", "/health/ready", f"{API}/jobs", f"{API}/openapi.json"]  # fmt: skip
    for role in ("one", "nobody"):
        for path in paths:
            first, second = (
                _plain(one.service.client.get(path, headers=one.headers(role)).text) for one in (both, alone)
            )
            assert first == second, (role, path, _difference(first, second))
    for path, body in (
        (f"{API}/ask", {"question": "Which scene do you see now?"}),
        (f"{API}/search", {"text": "a red ring"}),
    ):
        first, second = (
            _plain(one.service.client.post(path, json=body, headers=one.headers("one")).text) for one in (both, alone)
        )
        assert first == second, (path, _difference(first, second))


def _difference(first: str, second: str) -> str:
    start = next((place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    return f"{first[max(0, start - 60) : start + 60]} / {second[max(0, start - 60) : start + 60]}"


def _plain(text: str) -> str:
    """Without what differs between two services that do the same."""
    text = re.sub(r"^(afterview_\w*(?:seconds|bytes)\S*) .*$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"[0-9a-f]{12}", "ID", re.sub(r"next try in [\d.]+ s", "", text))
    return VOLATILE.sub(r'"\1": 0', text)


def test_a_question_that_names_no_camera_goes_to_the_visible_ones(both: World) -> None:
    answer = both.json("one", "POST", "/ask", {"question": "Which scene do you see now?"})
    assert [part["camera"] for part in answer["cameras"]] == ["yard"]
    assert (answer["skipped"], "attic" in json.dumps(answer)) == ({}, False)
    everything = both.json("viewer", "POST", "/ask", {"question": "Which scene do you see now?"})
    assert [part["camera"] for part in everything["cameras"]] == [HIDDEN, "yard"]
    found = both.json("one", "POST", "/search", {"text": "a ring", "top": 100})
    assert {hit["camera"] for hit in found["hits"]} == {"yard"}


def test_subtitles_find_no_hidden_camera(both: World) -> None:
    words = set()
    for name in (HIDDEN, MISSING):
        body = {"question": "Which scene do you see now?", "cameras": [name], "subtitles": SUBTITLES}
        answer = both.service.client.post(f"{API}/ask", json=body, headers=both.headers("one"))
        assert answer.status_code == 404
        words.add(answer.text.replace(name, "THING"))
    assert len(words) == 1, words
    body = {"question": "Which scene do you see now?", "subtitles": SUBTITLES}
    answer = both.json("one", "POST", "/ask", body)  # who sees one camera need not name it
    assert (answer["provenance"]["subtitles"]["used"], "attic" in json.dumps(answer)) == (1, False)
    assert both.json("viewer", "POST", "/ask", body, status=400)["error"]["kind"] == "usage"
