"""The bucket of a memory's sealed frames: `DIR/store.json`. Names a place, never credentials."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from afterview.configs import ConfigError, Schema, load_mapping
from afterview.memory.base.documents import exists, read_json, write_json
from afterview.memory.base.errors import DamagedMemory

FILE = "store.json"
_REMEDY = "name the store again with `afterview store set`"
SCHEME = "s3://"
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^?#@]*))?", re.ASCII)
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")


class StoreSettings(Schema):
    """A place on S3-compatible storage. Credentials come from the environment or the AWS credentials file."""

    url: str  # s3://bucket/prefix; the objects of a camera lie under url/CAMERA/
    endpoint: str | None = None  # http(s)://host[:port] of a store that is not Amazon's
    region: str | None = None  # default: AWS_REGION, else us-east-1
    local_gigabytes: float = Field(default=2.0, ge=0)  # 1e9 bytes; the newest chunks are kept locally, too; per camera
    timeout_s: float = Field(default=15.0, gt=0)  # to wait for an answer; sending a chunk may take 8 times as long

    @field_validator("url")
    @classmethod
    def _place(cls, url: str) -> str:
        if not _URL.fullmatch(url):
            raise ValueError("write s3://bucket/prefix, without credentials (they come from the environment)")
        return url.rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _host(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
            raise ValueError("write http://host:port or https://host, without credentials")
        return endpoint and endpoint.rstrip("/")

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.url.removeprefix(SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        """The prefix of every key, without slashes at its ends; may be empty."""
        return self.url.removeprefix(SCHEME).partition("/")[2].strip("/")


def read_store(memory: Path) -> StoreSettings | None:
    """The store of a memory; None if it has none. Raises DamagedMemory."""
    path = memory / FILE
    if not exists(path):
        return None
    try:
        values = read_json(path, missing=str(path), remedy=_REMEDY)
        return load_mapping(values, StoreSettings, source=str(path))
    except ConfigError:  # not quoted: it may contain credentials
        raise DamagedMemory(f"{path}: not a file that `afterview store set` wrote; set the store again") from None


def write_store(memory: Path, settings: StoreSettings) -> None:
    """Write the settings, durably."""
    write_json(memory / FILE, settings.model_dump(mode="json"))
