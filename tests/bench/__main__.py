"""`python -m tests.bench [NAME ...] [--write]`: run benchmarks, print a table for each, and with --write keep it in RESULTS.md."""

import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

from tests.bench.table import Table

NAMES = ["ingest", "cost", "gpu", "loading", "memaug", "cameras", "recall_cost", "memory", "recall", "size"]
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--write", action="store_true", help="put the tables of this run into RESULTS.md")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    text = [_heading()]
    for name in arguments.names or NAMES:
        print(f"--- {name}", file=sys.stderr)
        tables: list[Table] = importlib.import_module(f"tests.bench.{name}").run()
        for table in tables:
            text.append(table.markdown())
            print(table.markdown(), flush=True)
    if arguments.write:
        RESULTS.write_text("\n".join(text))
    return 0


def _heading() -> str:
    import torch

    command = "python -m tests.bench " + " ".join(sys.argv[1:])
    return (
        "# Measured\n\nFigures of one run; the machine is shared and noisy, so trust ratios within a table more than absolute times.\n\n"
        f"- command: `{command.strip()}`\n- date: {time.strftime('%Y-%m-%d')}\n"
        f"- machine: {platform.machine()}, {os.cpu_count()} cores, Linux; Python {platform.python_version()}, torch {torch.__version__}"
        f"{', ' + torch.cuda.get_device_name() if torch.cuda.is_available() else ', no GPU'}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
