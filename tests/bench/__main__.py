"""`python -m tests.bench [NAME ...] [--write]`: run benchmarks, print a table for each, and with --write put them into RESULTS.md."""

import argparse
import importlib
import os
import platform
import re
import sys
import time
from pathlib import Path

from tests.bench.table import Table

NAMES = [
    "startup", "ingest", "decode", "many_cameras", "encode", "reuse", "cost", "gpu", "loading", "memaug", "cameras", "recall_cost",
    "memory", "store", "recall", "service", "mqtt", "size", "training",
]  # fmt: skip
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--write", action="store_true", help="put the tables of this run into RESULTS.md, in place of those of the same benchmarks"
    )  # fmt: skip
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        print(f"--- {name}", file=sys.stderr)
        tables: list[Table] = importlib.import_module(f"tests.bench.{name}").run()
        text = "\n".join([_how_measured(name), *(table.markdown() for table in tables)])
        print(text, flush=True)
        if arguments.write and tables:
            RESULTS.write_text(with_part(RESULTS.read_text(), name, text))
    return 0


def with_part(results: str, name: str, text: str) -> str:
    """RESULTS.md with the part of one benchmark replaced, or appended."""
    part = f"{_mark(name)}\n\n{text.strip()}\n"
    found = re.search(rf"{re.escape(_mark(name))}\n.*?(?=\n<!-- bench |\Z)", results, re.DOTALL)
    if found is None:
        return f"{results.rstrip()}\n\n{part}"
    return results[: found.start()] + part + results[found.end() :]


def _mark(name: str) -> str:
    return f"<!-- bench {name} -->"


def _how_measured(name: str) -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"`python -m tests.bench {name}`, {time.strftime('%Y-%m-%d')}: {platform.machine()}, {os.cpu_count()} cores, Linux; "
        f"Python {platform.python_version()}, torch {torch.__version__}, {device}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
