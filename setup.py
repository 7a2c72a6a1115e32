"""Everything is in pyproject.toml. This file only checks what an archive without symbolic links gets wrong."""

import sys
from pathlib import Path

from setuptools import setup

LINKS = ("configs", "memory", "model", "stream", "training")

for name in LINKS:
    if not (Path(__file__).parent / "afterview" / name).is_dir():
        sys.exit(
            f"error: afterview/{name} should be a link to the folder {name}; this copy was unpacked without links. "
            "Use `git clone`, or an archive that keeps symbolic links (tar)."
        )

setup()
