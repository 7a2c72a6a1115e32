"""Tokens and variables: where they may come from, and what is refused."""

from pathlib import Path

import pytest

from afterview.configs import ConfigError
from afterview.stream.service.config import ServiceConfig
from afterview.stream.service.errors import TokenRequired
from afterview.stream.service.http.guard import Rules
from afterview.stream.service.http_address import is_loopback
from afterview.stream.service.secrets import SecretVariables, Token, read_token, require_token
from afterview.stream.service.serve import Service
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.address.redact import redact

GOOD = "0123456789abcdef"


def token_file(tmp_path: Path, text: str = GOOD, mode: int = 0o600) -> Path:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_from_a_file_or_a_variable(tmp_path: Path) -> None:
    assert read_token(None, {}) is None
    shared = token_file(tmp_path, mode=0o444).rename(
        tmp_path / "credential"
    )  # as systemd and container engines give it
    for token in (
        read_token(token_file(tmp_path, f"{GOOD}\n"), {}),
        read_token(None, {"AFTERVIEW_TOKEN": GOOD}),
        read_token(None, {"AFTERVIEW_TOKEN_FILE": str(shared)}),
    ):
        assert token is not None
        assert token.is_given_by(f"Bearer {GOOD}")
        assert token.is_given_by(f"bearer  {GOOD}")
        assert not token.is_given_by(f"Bearer {GOOD}x")
        assert not token.is_given_by(f"Basic {GOOD}")
        assert not token.is_given_by("Bearer é")
        assert GOOD not in repr(token)
    assert redact(f"the token {GOOD} in a log") == "the token *** in a log"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (GOOD, 0o644, "has mode 644"),
        ("short", 0o600, "at least 16"),
        ("", 0o600, "is empty"),
        (f"{GOOD} x", 0o600, "without blanks"),
    ],
)
def test_tokens_that_are_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_token(token_file(tmp_path, text, mode), {})


def test_a_token_file_that_is_missing_or_a_second_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"http\.token_file: .*nowhere"):
        read_token(tmp_path / "nowhere", {})
    with pytest.raises(ConfigError, match=r"AFTERVIEW_TOKEN_FILE: .*nowhere"):
        read_token(None, {"AFTERVIEW_TOKEN_FILE": str(tmp_path / "nowhere")})
    for file, variables in (
        (token_file(tmp_path), {"AFTERVIEW_TOKEN": GOOD}),
        (token_file(tmp_path), {"AFTERVIEW_TOKEN_FILE": str(tmp_path / "token")}),
        (None, {"AFTERVIEW_TOKEN": GOOD, "AFTERVIEW_TOKEN_FILE": str(tmp_path / "token")}),
    ):
        with pytest.raises(ConfigError, match="given twice"):
            read_token(file, variables)


@pytest.mark.parametrize(("bind", "local"), [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
                                             ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("nvr.home", False)])  # fmt: skip
def test_other_machines_need_a_token(bind: str, local: bool) -> None:
    assert is_loopback(bind) is local
    require_token(Token(GOOD), bind, loopback=local)
    if local:
        return require_token(None, bind, loopback=local)
    with pytest.raises(TokenRequired, match="AFTERVIEW_TOKEN"):
        require_token(None, bind, loopback=local)
    assert Rules.of(bind, (), body_timeout_s=1).any_address
    return None


def test_a_service_behind_a_proxy_needs_a_token_on_loopback_too(tmp_path: Path) -> None:
    config = ServiceConfig.model_validate({"http": {"trusted_proxies": ["127.0.0.1"]}})
    with pytest.raises(TokenRequired, match="by a proxy"):
        Service(tmp_path, config, lambda *_: None, version="test")  # type: ignore[arg-type, return-value]
    require_token(None, "127.0.0.1", loopback=True, admins=["ann"], proxies=["127.0.0.1"])
    require_token(Token(GOOD), "127.0.0.1", loopback=True, proxies=["127.0.0.1"])


def test_variables_from_files(tmp_path: Path) -> None:
    (tmp_path / "door").write_text("p@ss/word\n")
    variables = SecretVariables({"AFTERVIEW_DOOR_FILE": str(tmp_path / "door"), "AFTERVIEW_B": "b"})
    address = parse_source("rtsp://viewer:{AFTERVIEW_DOOR}@host/stream", variables)
    assert address.url == "rtsp://viewer:p%40ss%2Fword@host/stream"
    assert variables["AFTERVIEW_B"] == "b"
    assert "AFTERVIEW_C" not in variables
    with pytest.raises(ConfigError, match="AFTERVIEW_X_FILE"):
        SecretVariables({"AFTERVIEW_X_FILE": str(tmp_path / "nowhere")}).get("AFTERVIEW_X")
