"""The objects of one camera on S3-compatible storage, through obstore. Errors name the place and never a credential.

Keys are paths under the camera's directory, so that a bucket is laid out like the memory itself. Objects are read whole: a chunk's
checksum covers all of it, and a range could not be checked. Synchronous; any thread; several objects at a time through `each`.
obstore is an optional package; the first bucket that is opened loads it.
"""

import configparser
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from datetime import timedelta
from functools import cached_property, lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from afterview.configs import missing_extra
from afterview.configs.system_errors import describe
from afterview.memory.base.errors import StoreError, StoreRefused, StoreUnreachable
from afterview.memory.remote.settings import StoreSettings, is_endpoint, is_region, read_store

AT_ONCE = 32  # requests in flight; 128 scattered chunks take four rounds
CACHE_BYTES = 64_000_000  # of objects that were read last, above all the pack whose images are read one by one
CONNECT_S = 5.0
SILENT_S = 3.0  # after a read without an answer, others fail at once for so long instead of each waiting
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_WRITE_PATIENCE = 8  # times timeout_s: the longest time to send an object

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class BucketClient:
    """The objects of one camera. Every method raises StoreRefused or StoreUnreachable."""

    def __init__(self, settings: StoreSettings, camera: str) -> None:
        self._settings = settings
        self._prefix = "/".join(filter(None, [settings.prefix, camera]))
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        self._silent_until, self._silence = 0.0, ""
        self.keeps_versions = (
            False  # whether the bucket keeps old versions of replaced or deleted objects, as far as seen
        )

    @property
    def name(self) -> str:
        """The place, for people."""
        at = f" at {self._settings.endpoint}" if self._settings.endpoint else ""
        return f"s3://{self._settings.bucket}/{self._prefix}{at}"

    # --- objects ---

    def read(self, key: str) -> bytes | None:
        """The present content of an object; None if there is none."""
        return self._ask(self._reading, lambda api, store: bytes(api.get(store, key).bytes()))

    def get(self, key: str) -> bytes | None:
        """The content of a sealed chunk's object, possibly from the cache; None if there is none."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            if time.monotonic() < self._silent_until:
                raise StoreUnreachable(self._silence)
        try:
            data = self.read(key)
        except StoreUnreachable as error:
            with self._lock:
                self._silent_until, self._silence = time.monotonic() + SILENT_S, str(error)
            raise
        if data is not None:
            self._remember(key, data)
        return data

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if there is none."""
        return self._ask(self._reading, lambda api, store: int(api.head(store, key)["size"]))

    def put(self, key: str, data: bytes) -> None:
        """Store or replace an object. Returns once the store has confirmed it; the request names its SHA-256."""
        self._uncache(key)
        result = self._ask(self._writing, lambda api, store: api.put(store, key, data, use_multipart=False))
        if result is None:
            raise StoreRefused(f"{self.name}: there is no such bucket")
        self.keeps_versions |= bool(result["version"]) and result["version"] != "null"

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        gone = list(keys)
        for key in gone:
            self._uncache(key)
        if gone:
            self._ask(self._reading, lambda api, store: api.delete(store, gone))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Size of every object by key, under a folder or all."""

        def collect(api: Any, store: Any) -> dict[str, int]:
            pages = api.list(store, prefix or None, chunk_size=1000)
            return {item["path"]: int(item["size"]) for page in pages for item in page}

        return self._ask(self._reading, collect) or {}

    def folders(self) -> list[str]:
        """Names of the top-level folders."""

        def collect(api: Any, store: Any) -> list[str]:
            return [str(path).rstrip("/") for path in api.list_with_delimiter(store)["common_prefixes"]]

        return self._ask(self._reading, collect) or []

    def each(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Call `function` for every item, many at a time. Raises the first error once no call is running any more."""
        waiting = [pool().submit(function, item) for item in items]
        try:
            return [future.result() for future in waiting]
        except Exception:
            # A call that is left running could change a file or an object after the caller has released its lock.
            for future in waiting:
                if not future.cancel():
                    future.exception()  # waits
            raise

    # --- the connection ---

    @cached_property
    def _reading(self) -> Any:
        wait = timedelta(seconds=self._settings.timeout_s)
        patience = {"timeout": _WRITE_PATIENCE * wait, "read_timeout": wait}
        return self._connect(patience, {"max_retries": 2, "retry_timeout": wait})

    @cached_property
    def _writing(self) -> Any:
        wait = timedelta(seconds=self._settings.timeout_s)
        return self._connect(
            {"timeout": _WRITE_PATIENCE * wait}, {"max_retries": 0}
        )  # the uploader has its own retries

    def _connect(self, client: dict[str, Any], retry: dict[str, Any]) -> Any:
        try:
            from obstore import store as stores
        except ImportError:
            raise missing_extra("s3", f"{self.name}") from None
        place = self._settings
        region = place.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        credentials = _credentials()
        self._require_usable(region, credentials)
        endpoint: dict[str, Any] = {"endpoint": place.endpoint} if place.endpoint else {}
        plain = (place.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")).startswith("http://")
        options = {**client, "connect_timeout": timedelta(seconds=CONNECT_S), "allow_http": plain}
        options |= self._authority(plain)
        connect: Any = stores.S3Store
        try:
            return connect(
                place.bucket, prefix=self._prefix, region=region, retry_config=retry, client_options=options,
                **endpoint, **credentials,
            )  # fmt: skip
        except Exception:  # its text may quote a secret
            raise StoreRefused(
                f"{self.name}: cannot be addressed; check its url, its endpoint, the region, the certificates and the AWS_ variables"
            ) from None

    def _require_usable(self, region: str, credentials: dict[str, str]) -> None:
        """Raise StoreRefused for values from the environment that no request can carry: obstore panics at them."""
        address = os.environ.get("AWS_ENDPOINT_URL", "")
        if address and not self._settings.endpoint and not is_endpoint(address):
            raise StoreRefused(f"{self.name}: AWS_ENDPOINT_URL: write http://host:port or https://host")
        if not is_region(region):
            raise StoreRefused(f"{self.name}: AWS_REGION: write the name of a region, such as eu-central-1")
        keys = {name: os.environ.get(name, "") for name in _KEYS} | credentials
        for name, value in keys.items():
            if not (value.isascii() and value.isprintable()) or " " in value:
                raise StoreRefused(
                    f"{self.name}: {name}: holds a character that no credential has (a line end?); set it again"
                )

    def _authority(self, plain: bool) -> dict[str, bytes]:
        """The certificates of AWS_CA_BUNDLE, for a store with a private certificate authority."""
        bundle = os.environ.get("AWS_CA_BUNDLE")
        if plain or not bundle:
            return {}
        try:
            return {"root_certificate": Path(bundle).read_bytes()}
        except OSError as error:
            raise StoreRefused(f"{self.name}: AWS_CA_BUNDLE: {describe(error, bundle, action='read')}") from None

    def _ask(self, store: Any, question: Callable[[Any, Any], _Result]) -> _Result | None:
        """The answer of obstore; None for a missing object."""
        import obstore

        try:
            return question(obstore, store)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._named(error) from None
            return None
        except (obstore.exceptions.BaseError, OSError) as error:
            raise self._named(error) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust; it is no Exception
                raise
            raise StoreRefused(f"{self.name}: cannot be asked; check its endpoint and the AWS_ variables") from None

    def _named(self, error: Exception) -> StoreError:
        """An obstore error in our words. Its text may quote keys and headers, so only the store's code is passed on."""
        import obstore

        text = str(error)
        code = match[1] if (match := re.search(r"<Code>(\w+)</Code>", text)) else ""
        status = match[1] if (match := re.search(r"status code: (\d{3})", text)) else ""
        denied = (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError)
        if code == "NoSuchBucket":
            return StoreRefused(f"{self.name}: there is no such bucket; create it, or name another")
        if "169.254." in text or "CredentialsProvider" in text or "latest/api/token" in text:
            return StoreRefused(f"{self.name}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if isinstance(error, denied):
            self.__dict__.pop(
                "_reading", None
            )  # the next request reads the credentials again: they may be corrected by then
            self.__dict__.pop("_writing", None)
            why = f" ({code})" if code else ""
            return StoreRefused(f"{self.name}: access denied{why}; check the AWS credentials and the bucket's policy")
        if "redirect" in text.lower():
            return StoreRefused(
                f"{self.name}: the bucket lies in another region; name that region (--region or AWS_REGION)"
            )
        if status in ("400", "431") and not code:
            return StoreRefused(
                f"{self.name}: refuses the request ({status}); check AWS_SESSION_TOKEN (is it too long?), the endpoint and the region"
            )
        if status:
            return StoreUnreachable(f"{self.name}: answers with an error ({' '.join(filter(None, [status, code]))})")
        return StoreUnreachable(f"{self.name}: does not answer")

    # --- the cache ---

    def _remember(self, key: str, data: bytes) -> None:
        with self._lock:
            self._cached += len(data) - len(self._cache.pop(key, b""))  # another thread may have read it, too
            self._cache[key] = data
            while self._cached > CACHE_BYTES:
                self._cached -= len(self._cache.popitem(last=False)[1])

    def forget_read(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._cache.clear()
            self._cached = 0

    def _uncache(self, key: str) -> None:
        with self._lock:
            self._cached -= len(self._cache.pop(key, b""))


def bucket_of(camera: Path) -> BucketClient | None:
    """The client for the camera at `camera`; None if its memory has no store."""
    settings = read_store(camera.parent)
    return None if settings is None else _client(settings, camera.name)


@lru_cache(maxsize=256)
def _client(settings: StoreSettings, camera: str) -> BucketClient:
    return BucketClient(settings, camera)


class Pool(Executor):
    """Daemon threads, started as they are needed, so that a process that ends never waits for a bucket that does not answer.

    concurrent.futures.ThreadPoolExecutor joins its threads when the interpreter exits, whatever `shutdown` was told. Measured with four
    reads of a server that accepts and stays silent: 14.5 s to exit (`timeout_s` is 15) against 0.05 s here; a write may take 120 s.
    """

    def __init__(self, threads: int) -> None:
        self._most, self._started = threads, 0
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., _Result], /, *arguments: Any, **options: Any) -> Future[_Result]:
        """Call `function` in a thread; returns its future."""
        future: Future[_Result] = Future()
        self._work.put((future, partial(function, *arguments, **options)))
        with self._lock:
            if self._started < self._most:
                self._started += 1
                threading.Thread(target=self._run, name=f"objects-{self._started}", daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            future, function = self._work.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # raised in the thread that waits for the future
                future.set_exception(error)


@lru_cache(maxsize=1)
def pool() -> Pool:
    """The threads of all requests."""
    return Pool(AT_ONCE)


def _credentials() -> dict[str, str]:
    """Static keys of the AWS credentials file, unless the environment has any; obstore itself knows that and the machine's role.

    obstore reads no credentials file. Its provider that does (obstore.auth.boto3) needs boto3, which is a larger dependency than this.
    """
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    path = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    file = configparser.ConfigParser()
    try:
        file.read(Path(path).expanduser(), encoding="utf-8")
    except (OSError, ValueError, configparser.Error):
        return {}
    profile = os.environ.get("AWS_PROFILE") or "default"
    known = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "token",
    }
    values = dict(file.items(profile, raw=True)) if file.has_section(profile) else {}
    return {known[name]: value for name, value in values.items() if name in known}
