"""Arguments of the commands that move a memory to an object store and back. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import Commands, add_command, add_json, add_memory, add_verbosity

_ABOUT = """\
Keep the sealed frames of a memory (tokens, embeddings, images: nearly all of its bytes) on S3-compatible storage.

Recording always writes to the local directory first: frames are durable in its journal before anything is sent, so
recording and acknowledging never wait for the network. Chunks are sent after they are sealed. Local copies are deleted
only after the store has confirmed the chunks; the newest stay local, up to --local-gb. If the store does not answer,
retries continue without end, and nothing is lost as long as the disk has room. Questions read chunks from both places.

Needs the extra s3: pip install '.[s3]' in the checkout. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from the AWS
credentials file (AWS_PROFILE), or from the machine's role; they are never written into a memory.

examples:
  afterview store set s3://bucket/home --memory ./cameras --endpoint http://nas:9000
  afterview store status --memory ./cameras
  afterview store flush --memory ./cameras
  afterview store leave --memory ./cameras
"""


def add_store_command(commands: Commands) -> None:
    """`store` and its actions."""
    store = commands.add_parser("store", help="keep sealed frames on S3-compatible storage", description=_ABOUT)
    store.set_defaults(module="afterview.cli.commands.store")
    add_memory(store)
    add_json(store)
    add_verbosity(store)
    actions = store.add_subparsers(dest="action", metavar="ACTION", help="default: status")
    parser = _action(
        actions, "set", "name the store of a memory",
        "Tests it first: writes, reads and deletes\none small object; refuses a prefix where another memory lies. The next watch, "
        "or `store flush`, sends existing frames.",
    )  # fmt: skip
    parser.add_argument(
        "url", nargs="?", metavar="s3://BUCKET/PREFIX",
        help="each camera's objects lie under PREFIX/CAMERA/; without an address `set` shows the present settings",
    )  # fmt: skip
    parser.add_argument("--endpoint", metavar="URL", help="http(s)://host:port of a store that is not Amazon's")
    parser.add_argument("--region", metavar="NAME", help="default: AWS_REGION, else us-east-1")
    parser.add_argument(
        "--local-gb",
        type=float,
        metavar="N",
        help="the newest chunks of each camera, up to this size, also stay local (default: 2)",
    )
    _action(actions, "status", "show stored bytes, bytes not sent yet, and whether the store can be reached")
    _action(
        actions, "flush", "send everything that is sealed now",
        "Works beside a live watch. Gives up after a minute\nwithout an answer (exit 1); what was sent stays sent.",
    )  # fmt: skip
    parser = _action(
        actions, "leave", "fetch everything back and stop using the store",
        "Needs the watch to be stopped. An\ninterrupted run continues.",
    )  # fmt: skip
    parser.add_argument("--delete", action="store_true", help="then delete the objects; otherwise they stay there")
    parser.add_argument("--yes", action="store_true", help="--delete without asking; needed where there is no terminal")


def _action(actions: Commands, name: str, summary: str, more: str = "") -> argparse.ArgumentParser:
    parser = add_command(actions, name, summary, more, module="store")
    add_memory(parser, deletes=name == "leave")
    for argument in parser._actions:
        if argument.dest in ("memory", "json", "verbose", "quiet"):
            argument.default = argparse.SUPPRESS  # or the action would undo `afterview store --memory DIR ACTION`
    return parser
