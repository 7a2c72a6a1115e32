"""The part of the command line that moves a memory to an object store and back: its arguments. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import Commands, add_command

_ABOUT = """\
Keep the sealed part of a memory - tokens, embeddings, images: nearly all of its bytes - on S3-compatible storage.

The directory stays the front: frames are durable in its journal before anything is sent, so recording and acknowledging
never wait for the network. Chunks are sent after they are sealed; their local copies go only after the store has
confirmed them, the newest stay up to --local-gb. A store that goes away is tried again for ever; nothing is lost
meanwhile as long as the disk has room. Questions read chunks from wherever they lie.

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
    store = commands.add_parser(
        "store", help="keep sealed frames on S3-compatible storage", description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = store.add_subparsers(dest="action", metavar="ACTION", required=True)
    parser = _action(
        actions, "set", "name the store of a memory",
        "Tries it out first: writes, reads and deletes\none small object; refuses a prefix where another memory lies. A memory that "
        "holds frames already is sent by the next watch, or by `store flush`.",
    )  # fmt: skip
    parser.add_argument("url", metavar="s3://BUCKET/PREFIX", help="each camera's objects lie under PREFIX/CAMERA/")
    parser.add_argument("--endpoint", metavar="URL", help="http(s)://host:port of a store that is not Amazon's")
    parser.add_argument("--region", metavar="NAME", help="default: AWS_REGION, else us-east-1")
    parser.add_argument(
        "--local-gb", type=float, metavar="N", help="newest chunks of each camera that stay here, too (default: 2)"
    )
    _action(actions, "status", "say what lies there, what waits, and whether it answers")
    _action(
        actions, "flush", "send everything that is sealed, now",
        "Works beside a live watch. Gives up after a minute\nwithout an answer (exit 1); what was sent stays sent.",
    )  # fmt: skip
    parser = _action(
        actions, "leave", "bring everything back and need the store no more",
        "Wants the watch stopped. Interrupted, it\ngoes on where it was.",
    )  # fmt: skip
    parser.add_argument("--delete", action="store_true", help="then delete the objects; without, they stay there")


def _action(actions: Commands, name: str, summary: str, more: str = "") -> argparse.ArgumentParser:
    parser = add_command(actions, name, summary, more, module="store")
    parser.add_argument("--memory", required=True, metavar="DIR")
    return parser
