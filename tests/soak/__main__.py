"""`python -m tests.soak NAME [--hours N]`: run one soak test, print its report, and write NAME.md and NAME.png to tests/soak/.

Run it in the background, on a machine that does nothing else, and commit the report. The exit status is 1 where the run left damage.
"""

import argparse
import importlib
import sys
from pathlib import Path

NAMES = {
    "writing": "one camera's writer, index, retention and reader over days of stream time, with outages",
    "cameras": "odd cameras at once, in real time, whose faults come and go",
    "service": "a service that is killed again and again, eight cameras with outages, and twenty clients, in real time",
}


def main() -> int:
    names = "".join(f"\n  {name}: {text}" for name, text in NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__ + "\nSoak tests:" + names,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=f"one of: {', '.join(NAMES)}")
    parser.add_argument(
        "--hours", type=float, default=24.0, help="of stream time (default: 24); `cameras` and `service` take as long"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="where NAME.md and NAME.png go")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    report = importlib.import_module(f"tests.soak.{arguments.name}").run(arguments.hours)
    report.plot(arguments.output / f"{arguments.name}.png")
    text = f"# Soak test: {NAMES[arguments.name]}\n{report.text()}\n![samples]({arguments.name}.png)\n"
    (arguments.output / f"{arguments.name}.md").write_text(text)
    print(text)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
