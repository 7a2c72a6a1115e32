"""The OpenAPI document, and the API held against it by schemathesis: nothing that comes back contradicts it, and nothing breaks."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.stream.service.rights.world import HIDDEN, world
from tests.support.service import API, ServiceHere, record_camera

EXAMPLES = 3  # of each operation and kind
KNOWN = {"camera": "yard", "frame": 3}
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
ENDLESS = f"{API}/events"


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "front-door", tiny, 5)
    record_camera(memory, "yard", tiny, 5)
    with ServiceHere(memory, tiny, http={"longest_queue": 100}) as running:
        yield running


@pytest.fixture(scope="module")
def document(service: ServiceHere) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get(f"{API}/openapi.json").json()
    return found


def test_every_operation_says_what_it_does_and_how_it_fails(document: dict[str, Any]) -> None:
    operations = {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert len(operations) >= 24
    for name, operation in operations.items():
        assert operation["summary"], name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (name, parameter["name"])
        if "/api/" in name:
            shapes = [
                response["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1]
                for status, response in operation["responses"].items()
                if int(status) >= 400
            ]
            assert set(shapes) == {"ErrorDocument"}, name
        elif "/v1/" in name:
            shapes = [
                response["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1]
                for status, response in operation["responses"].items()
                if status[0] in "45"
            ]
            assert set(shapes) == {"OpenAiErrorDocument"}, name
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or "Validation" in name, name
    assert json.dumps(document).count("lavfi") == 0


@pytest.mark.thorough
def test_nothing_contradicts_it(service: ServiceHere, document: dict[str, Any]) -> None:
    """Made-up requests of the right form and of wrong ones; half of the right ones about a camera that exists."""
    statuses = _fuzz(service, document, {}, EXAMPLES)
    assert {"200", "202", "400", "404", "422"} <= statuses.keys(), statuses


@pytest.mark.thorough
def test_nothing_contradicts_it_for_a_viewer_of_one_camera(
    service: ServiceHere, document: dict[str, Any], tiny: Any, tmp_path: Path
) -> None:
    """And no answer names the other camera."""
    with world(tmp_path / "memory", tiny) as made:
        statuses = _fuzz(made.service, document, made.headers("one"), 1, hidden=HIDDEN)
    assert {"200", "403", "404", "422"} <= statuses.keys(), statuses


def _fuzz(
    service: ServiceHere,
    document: dict[str, Any],
    headers: dict[str, str],
    examples: int,
    hidden: str = "no text has this",
) -> "Counter[str]":
    schema = schemathesis.openapi.from_dict(document)
    statuses: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS or operation.method.upper() == "PUT":
            continue  # without end; and made-up sources of cameras are no business of a test
        known = {name: value for name, value in KNOWN.items() if f"{{{name}}}" in operation.path}
        strategies = [operation.as_strategy(), operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)]
        if known:
            strategies.append(operation.as_strategy(path_parameters=known))
        for strategy in strategies:
            _try(service, strategy, statuses, headers, examples, hidden)
    return statuses


def _try(
    service: ServiceHere, strategy: Any, statuses: "Counter[str]", headers: dict[str, str], examples: int, hidden: str
) -> None:
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def check(case: Any) -> None:
        response = case.call(base_url=service.url, timeout=20, headers=headers)
        statuses[str(response.status_code)] += 1
        case.validate_response(response, checks=CHECKS)
        assert hidden.encode() not in response.content

    try:
        check()
    except Unsatisfiable:
        pass  # an operation that has no wrong requests


def test_every_address_is_in_the_documents(document: dict[str, Any]) -> None:
    """In docs/api.md or docs/openai.md: whole, or its end behind `.../`, or its last word beside others of its kind."""
    docs = Path(__file__).parents[4] / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("api.md", "openai.md"))
    rows = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| "))
    named = {found.partition("?")[0].split()[-1] for found in re.findall(r"`([^`]+)`", rows)}
    placeholders = {"camera": "CAMERA", "frame": "NUMBER"}
    for path in document["paths"]:
        parts = re.sub(r"\{(\w+)\}", lambda match: placeholders.get(match[1], "ID"), path).split("/")
        ends = {"/".join(["...", *parts[start:]]) for start in range(2, len(parts))}
        assert named & {"/".join(parts), parts[-1], *ends}, path
