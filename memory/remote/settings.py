"""The bucket of a memory's sealed frames: `DIR/store.json`. Names a place, never credentials."""

import re
from pathlib import Path

from pydantic import Field, field_validator

from afterview.configs import ConfigError, Schema, load_mapping
from afterview.memory.base.documents import exists, read_json, write_json
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.store_address import SCHEME

FILE = "store.json"
_REMEDY = "name the store again with `afterview store set`"
_URL = re.compile(r"s3://(?P<bucket>[^/?#@]*)(?:/(?P<prefix>[^?#@]*))?")
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]", re.ASCII)
_LONGEST_PREFIX = 800  # bytes; a key has at most 1024, and a camera and its file need the rest
_ENDPOINT = re.compile(
    r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:(?P<port>\d{1,5}))?(/[^?#@\s]*)?", re.ASCII | re.IGNORECASE
)
_REGION = re.compile(r"[a-z0-9-]{1,64}", re.ASCII | re.IGNORECASE)


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
        match = _URL.fullmatch(url)
        if match is None:
            raise ValueError("write s3://bucket/prefix, without credentials (they come from the environment)")
        if not _BUCKET.fullmatch(match["bucket"]):
            raise ValueError(
                "write s3://bucket/prefix; a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens, begins and ends "
                "with a letter or digit, and has no two dots together"
            )
        prefix = (match["prefix"] or "").strip("/")
        if len(prefix.encode(errors="replace")) > _LONGEST_PREFIX:
            raise ValueError(f"the prefix is too long; at most {_LONGEST_PREFIX} bytes are possible")
        parts = prefix.split("/") if prefix else []
        if not prefix.isprintable() or any(part in ("", ".", "..") for part in parts):
            raise ValueError("the prefix must be printable text, and no part of it empty, '.' or '..'")
        return url.rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _host(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not is_endpoint(endpoint):
            raise ValueError("write http://host:port or https://host, without credentials")
        return endpoint and endpoint.rstrip("/")

    @field_validator("region")
    @classmethod
    def _known_region(cls, region: str | None) -> str | None:
        if region is not None and not is_region(region):
            raise ValueError("write the name of a region, such as eu-central-1")
        return region

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.url.removeprefix(SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        """The prefix of every key, without slashes at its ends; may be empty."""
        return self.url.removeprefix(SCHEME).partition("/")[2].strip("/")


def is_endpoint(text: str) -> bool:
    """Whether this can be the address of a store: obstore panics at others."""
    match = _ENDPOINT.fullmatch(text)
    return match is not None and (match["port"] is None or 0 < int(match["port"]) < 65536)


def is_region(text: str) -> bool:
    """Whether this can be the name of a region."""
    return _REGION.fullmatch(text) is not None


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
