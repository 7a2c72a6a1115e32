"""The documents name what the code has: commands, keys of the configuration, metrics, addresses and statuses of the API."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afterview.cli.main import build_parser
from afterview.stream.service.config import json_schema
from afterview.stream.service.http.app import EVERY_STATUS
from afterview.stream.service.http.errors import STATUS
from afterview.stream.service.measured import Measured, exposition

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"`([^`]+)`")


def document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def first_cells(text: str, heading: str) -> list[str]:
    """The first cell of each row of the tables under a heading."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row not in ("key", "status", "command")]


def test_every_command_is_in_the_readme() -> None:
    parser = build_parser()
    commands = next(action for action in parser._actions if action.dest == "command").choices or ()
    named = {word.split()[0] for row in first_cells(document("README.md"), "Commands") for word in CODE.findall(row)}
    assert not set(commands) - named, "commands that the table lacks"


def test_the_tables_of_the_configuration_are_those_of_the_schema() -> None:
    schema = json_schema()

    def keys(node: dict[str, Any], place: str) -> Iterator[str]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/")[-1]]
        for other in node.get("anyOf", ()):
            yield from keys(other, place)
        parts = dict(node.get("properties", {}))
        if isinstance(node.get("additionalProperties"), dict):
            parts["NAME"] = node["additionalProperties"]
        for name, part in parts.items():
            below = list(keys(part, f"{place}{name}."))
            yield from below or [f"{place}{name}"]

    documented = set()
    for name, heading in (("docs/service.md", "The configuration"), ("docs/mqtt.md", "The configuration")):
        for row in first_cells(document(name), heading):
            whole, *others = CODE.findall(row)  # `http.bind`, `port`: the others are beside the first one
            documented |= {
                whole,
                *(f"{whole.rpartition('.')[0]}.{other}" if "." not in other else other for other in others),
            }
    documented -= {"mqtt.tls"}  # which can be {}
    assert documented == set(keys(schema, ""))


def test_the_metrics_are_those_of_the_documents() -> None:
    made = {
        line.split()[2]
        for line in exposition([], {}, Measured(), model_ready=True, waiting=0, refused=0, tasks=0).splitlines()
        if line.startswith("# TYPE")
    }
    source = document("stream/service/mqtt/service.py")
    made |= {f"afterview_{name}" for name in re.findall(r'\("(mqtt_\w+)", "(?:gauge|counter)"', source)}
    named = set(re.findall(r"`(afterview_\w+)`", document("docs/service.md") + document("docs/mqtt.md")))
    assert named == made


def test_statuses_of_the_api_are_explained() -> None:
    explained = {
        int(number) for row in first_cells(document("docs/api.md"), "Errors") for number in re.findall(r"\d+", row)
    }
    assert {*EVERY_STATUS, *(status for _, status in STATUS), 405, 500} <= explained
