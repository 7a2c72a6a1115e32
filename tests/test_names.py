"""The project's name, everywhere; and no advice to install a name from a registry that may be somebody else's."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SKIPPED = {".git", ".venv", "build", "dist", "cameras", "demo-output", "tiny-output", "__pycache__"}
FIRST_NAME = "after" + "image"
KEPT = {  # files that may hold the first name, and the only lines of them that do
    "CHANGELOG.md": ".*",
    "training/base/seeds.py": rf'^    return Random\(f"{FIRST_NAME} ',
    "memory/span_file.py": f'^FORMAT = "{FIRST_NAME}-span-1"$',
}


def texts() -> dict[str, str]:
    """Every text file of the project by its path."""
    found = {}
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if SKIPPED & set(parts) or any(part.startswith(".") and part != ".ci" for part in parts[:1]):
            continue
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", "") and (
            ".egg-info" not in str(path)
        ):  # fmt: skip
            found["/".join(parts)] = path.read_text(encoding="utf-8", errors="replace")
    return found


def test_the_first_name_is_left_only_where_stored_data_need_it() -> None:
    lines = [
        f"{name}: {line}"
        for name, text in texts().items()
        for line in text.splitlines()
        if FIRST_NAME in line.lower() and not re.search(KEPT.get(name, "(?!)"), line)
    ]
    assert not lines


def test_nobody_is_told_to_install_the_bare_name() -> None:
    advice = re.compile(r"""pip3? install\s+(?:-\S+\s+)*["']?afterview(?!\[[^]]+\] @ git\+)""")
    assert advice.search("pip install -U 'afterview[s3]'")
    assert not advice.search("pip install 'afterview[s3] @ git+URL'")
    lines = [
        f"{name}: {line}"
        for name, text in texts().items()
        for line in text.splitlines()
        if advice.search(line) and name != "tests/test_names.py"
    ]
    assert not lines
