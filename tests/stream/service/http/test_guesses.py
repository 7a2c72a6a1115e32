"""Guessing tokens: an address that tries many must wait, and nobody else must."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview.stream.service.http.guesses import MOST, WITHIN_S, Guesses
from tests.support.service import API, ServiceHere, record_camera

TOKEN = "correct-horse-battery-staple"


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_ten_wrong_tokens_then_a_pause() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for number in range(MOST):
        assert guesses.wait_s("10.0.0.1") == 0
        guesses.was_wrong("10.0.0.1", f"Bearer {number}")
        clock.seconds += 1
    assert guesses.wait_s("10.0.0.1") == WITHIN_S - MOST
    assert guesses.wait_s("10.0.0.2") == 0
    assert guesses.refused == 1
    clock.seconds += WITHIN_S - MOST
    assert guesses.wait_s("10.0.0.1") == 0
    guesses.was_wrong("10.0.0.1", "Bearer another")
    assert guesses.wait_s("10.0.0.1") == 1  # the second of them is still counted


def test_the_same_wrong_token_is_one_guess() -> None:
    guesses = Guesses(Clock())
    for _ in range(1000):
        assert guesses.wait_s("10.0.0.1") == 0
        guesses.was_wrong("10.0.0.1", "Bearer revoked")


def test_a_home_is_one_address_and_memory_is_bounded() -> None:
    guesses = Guesses(Clock())
    for number in range(MOST):
        guesses.was_wrong(f"2001:db8:1:2::{number}", f"Bearer {number}")
    assert guesses.wait_s("2001:db8:1:2:ffff::1") > 0
    assert guesses.wait_s("2001:db8:1:3::1") == 0
    for number in range(10_000):
        guesses.was_wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "Bearer x")
    assert len(guesses) == 4096


@pytest.fixture
def service(tiny: Any, tmp_path: Path) -> Iterator[ServiceHere]:
    record_camera(tmp_path / "memory", "yard", tiny, 3)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    http = {"token_file": str(token), "trusted_proxies": ["127.0.0.1"]}
    with ServiceHere(tmp_path / "memory", tiny, http=http) as running:
        yield running


def test_guesses_over_http(service: ServiceHere) -> None:
    def get(token: str, address: str, path: str = f"{API}/cameras") -> Any:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        return service.client.get(path, headers=headers)

    for number in range(MOST):
        assert get(f"wrong-token-number-{number}", "10.0.0.1").status_code == 401
    refused = get("wrong-token-number-x", "10.0.0.1")
    assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "too_many_guesses")
    assert 50 < int(refused.headers["retry-after"]) <= 60
    assert get(TOKEN, "10.0.0.1").status_code == 429  # not even the right one is looked at
    ready = get(TOKEN, "10.0.0.1", "/health/ready")
    assert (ready.status_code, ready.json()["lag_s"], ready.json()["disk"]["free_bytes"]) == (200, {}, None)
    assert get(TOKEN, "10.0.0.2").status_code == 200
    assert get(TOKEN, "10.0.0.1, 10.0.0.3").status_code == 200  # what a client writes itself does not count
    assert service.client.get("/health/live").status_code == 200
    assert service.client.get(f"{API}/cameras").status_code == 401
    assert TOKEN not in refused.text
