"""Sizes that keep files and functions readable, and imports that are declared."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("afterview", "configs", "memory", "model", "stream", "training")
LONGEST_FUNCTION, LONGEST_FILE = 60, 350  # lines


def sources() -> Iterator[tuple[str, str]]:
    """Every Python file outside the tests, by its path; the links in afterview/ are not followed."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if folder != "afterview" or path.relative_to(ROOT / folder).parts[0] not in FOLDERS:
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_no_file_and_no_function_is_too_long() -> None:
    found = []
    for name, text in sources():
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            found.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    found.append(f"{name}:{node.lineno} {node.name}: {lines} lines")
    assert not found


def test_what_is_imported_is_declared() -> None:
    """Of the core and its extras; what belongs to the operating system's Python is named here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {
        re.split(r"[<>=;\[ ]", entry)[0].lower().replace("_", "-")
        for entry in [*project["dependencies"], *(entry for name in extras if name != "dev" for entry in extras[name])]
    }
    packages = importlib.metadata.packages_distributions()
    missing = set()
    for name, text in sources():
        if name == "stream/testing/rtsp_server.py":  # run by the system's own python3, with its GStreamer bindings
            continue
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"afterview"}:
                owners = {owner.lower().replace("_", "-") for owner in packages.get(top, [top])}
                if not owners & declared:
                    missing.add(f"{name}: {top}")
    assert not missing
