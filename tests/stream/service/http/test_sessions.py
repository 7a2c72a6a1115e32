"""Signing in over HTTP: cookies, CSRF tokens, streams that end with the right to them, proxies, the audit, and secrets that are nowhere."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers

from afterview.stream.service.http.proxies import networks, see_through
from afterview.stream.service.people.audit import FILE as AUDIT
from afterview.stream.service.people.passwords import hash_password
from afterview.stream.service.people.users import User, Users, change_users, new_token
from afterview.stream.session import Session
from tests.support.servers import wait_until
from tests.support.service import API, ServiceHere, record_camera, sent_events

PASSWORD = "tr0ub4dor and three"
CSRF = "X-CSRF-Token"
MOST_TOKENS = 60


@pytest.fixture(autouse=True)
def _many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests here come from one address, and a token that was just made is wrong until the service has read it."""
    monkeypatch.setattr("afterview.stream.service.http.guesses.MOST", MOST_TOKENS)


@pytest.fixture(scope="module")
def hashed() -> str:
    return hash_password(PASSWORD)


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory, hashed: str) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "yard", tiny, 6)
    record_camera(memory, "hall", tiny, 6)
    add(memory, User("ann", "admin", hashed, None, 1.0), User("ben", "viewer", hashed, ("yard",), 1.0))
    with ServiceHere(memory, tiny, http={"trusted_proxies": ["127.0.0.1"], "session_hours": 1}) as running:
        yield running


def add(memory: Path, *users: User) -> None:
    def change(known: Users) -> Users:
        for user in users:
            known = known.with_user(user)
        return known

    change_users(memory, change)


def add_token(memory: Path, user: str, name: str, **options: Any) -> dict[str, str]:
    token, secret = new_token(name, user, days=options.pop("days", 1), **options)
    change_users(memory, lambda users: users.with_token(token))
    return {"Authorization": f"Bearer {secret}"}


def sign_in(service: ServiceHere, name: str, password: str = PASSWORD, **headers: str) -> httpx2.Response:
    with httpx2.Client(base_url=service.url, timeout=20, trust_env=False) as client:
        return client.post(f"{API}/session", json={"name": name, "password": password}, headers=headers)


def signed_in(service: ServiceHere, name: str) -> tuple[httpx2.Client, str]:
    """A client with a cookie, and its CSRF token."""
    client = httpx2.Client(base_url=service.url, timeout=20, trust_env=False)
    answer = client.post(
        f"{API}/session", json={"name": name, "password": PASSWORD}, headers={"X-Forwarded-For": name_address(name)}
    )
    assert answer.status_code == 200, answer.text
    return client, answer.json()["csrf"]


def name_address(name: str) -> str:
    """An address of its own for each name: tries are limited by address."""
    return f"10.9.{len(name)}.{ord(name[0])}"


def test_signing_in_asking_and_signing_out(service: ServiceHere) -> None:
    client, csrf = signed_in(service, "ben")
    me = client.get(f"{API}/session").json()
    assert (me["user"], me["role"], me["cameras"], me["csrf"]) == ("ben", "viewer", ["yard"], csrf)
    assert 3500 < me["expires"] - time.time() <= 3600
    assert [camera["camera"] for camera in client.get(f"{API}/cameras").json()["cameras"]] == ["yard"]
    body = {"question": "Which scene do you see now?"}
    for headers in ({}, {CSRF: ""}, {CSRF: "wrong"}, {CSRF: csrf[:-1]}):
        refused = client.post(f"{API}/ask", json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (403, "csrf_token_required")
    assert client.post(f"{API}/ask", json=body, headers={CSRF: csrf}).status_code == 200
    assert client.delete(f"{API}/session").status_code == 403
    copied = dict(client.cookies)
    gone = client.delete(f"{API}/session", headers={CSRF: csrf})
    assert gone.status_code == 204
    assert 'afterview=""; ' in gone.headers["set-cookie"]
    for cookies in (client.cookies, copied):
        with httpx2.Client(base_url=service.url, timeout=20, trust_env=False, cookies=dict(cookies)) as again:
            assert again.get(f"{API}/session").status_code == 401


def test_a_cookie_is_for_browsers_alone(service: ServiceHere) -> None:
    plain = sign_in(service, "ann").headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/", "max-age=3600"} <= set(plain.split("; "))
    assert "secure" not in plain
    behind_tls = sign_in(service, "ann", **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.9"})
    assert "secure" in behind_tls.headers["set-cookie"].lower().split("; ")
    foreign = sign_in(service, "ann", Origin="https://evil.example")
    assert foreign.status_code == 403
    token = add_token(service.memory, "ben", "beside-a-cookie")
    client, _ = signed_in(service, "ann")
    assert wait_until(lambda: client.get(f"{API}/session", headers=token).status_code == 200, 5)
    assert client.get(f"{API}/session", headers=token).json()["user"] == "ben", (
        "a token counts, not the cookie beside it"
    )
    assert client.get(f"{API}/session", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_odd_cookies_of_other_programs_do_not_hide_ours(service: ServiceHere) -> None:
    client, _ = signed_in(service, "ben")
    own = client.cookies["afterview"]
    for text in (f"a[b]=1; afterview={own}", f'x; =; q="a; afterview={own}', f"afterviews=1;afterview={own}"):
        assert service.client.get(f"{API}/session", headers={"Cookie": text}).json()["user"] == "ben", text
    assert service.client.get(f"{API}/session", headers={"Cookie": f"xafterview={own}"}).status_code == 401


def test_a_viewer_cannot_fill_the_disk_with_exports(service: ServiceHere) -> None:
    ben = add_token(service.memory, "ben", "exporting")
    assert wait_until(lambda: service.client.get(f"{API}/session", headers=ben).status_code == 200, 5)
    statuses = [
        service.client.post(f"{API}/cameras/{camera}/export", json={}, headers=ben).status_code
        for camera in ("yard", "yard", "yard", "hall", "yard", "yard", "hall")
    ]
    assert statuses == [202, 202, 202, 404, 202, 429, 429]


def test_wrong_sign_ins_look_alike_and_are_limited_by_the_address_that_the_proxy_saw(service: ServiceHere) -> None:
    answers = {
        (answer.status_code, answer.text)
        for answer in (
            sign_in(service, "ann", "wrong", **{"X-Forwarded-For": "10.1.1.1"}),
            sign_in(service, "nobody-here", PASSWORD, **{"X-Forwarded-For": "10.1.1.1"}),
        )
    }
    assert len(answers) == 1
    assert answers.pop()[0] == 401
    for _ in range(20):
        answer = sign_in(service, "x", "wrong", **{"X-Forwarded-For": "6.6.6.6, 10.1.1.2"})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (429, "too_many_sign_ins")
    assert int(answer.headers["retry-after"]) >= 1
    assert sign_in(service, "ben", **{"X-Forwarded-For": "10.1.1.3"}).status_code == 200


@pytest.mark.parametrize(
    ("peer", "given", "seen"),
    [
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9, nonsense, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("11.0.0.1", "1.2.3.4", "11.0.0.1"),
        ("", "1.2.3.4", ""),
    ],
)
def test_only_proxies_that_are_named_say_who_comes(peer: str, given: str, seen: str) -> None:
    scope: dict[str, Any] = {"client": (peer, 1) if peer else None, "scheme": "http"}
    see_through(scope, Headers({"x-forwarded-for": given, "x-forwarded-proto": "https"}), networks(["10.0.0.0/8"]))
    assert (scope["client"][0] if scope["client"] else "") == seen
    assert scope["scheme"] == ("https" if peer.endswith("10.0.0.1") else "http")


def test_what_a_client_adds_before_the_proxy_does_not_count() -> None:
    headers = Headers(
        raw=[
            (b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-for", b"9.9.9.9"),
            (b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http"),
        ]
    )  # fmt: skip
    scope: dict[str, Any] = {"client": ("10.0.0.1", 1), "scheme": "http"}
    see_through(scope, headers, networks(["10.0.0.0/8"]))
    assert (scope["client"][0], scope["scheme"]) == ("9.9.9.9", "http")


async def _endless(session: Session, model: Any, question: Any, on_text: Any, on_cameras: Any, **more: Any) -> Any:
    import asyncio

    on_cameras(["yard"], {})
    while True:
        on_text("no ")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["token", "user", "role", "session"])
def test_open_streams_end_within_a_second(
    service: ServiceHere, hashed: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "ask", _endless)
    name = f"carl-{how}"
    add(service.memory, User(name, "viewer", hashed, ("yard",), 1.0))
    headers, cookies, csrf = add_token(service.memory, name, f"tab-{how}"), {}, ""
    assert wait_until(lambda: service.client.get(f"{API}/session", headers=headers).status_code == 200, 5)
    if how == "session":
        client, csrf = signed_in(service, name)
        cookies, headers = dict(client.cookies), {CSRF: csrf}
    ended: dict[str, tuple[float, list[Any]]] = {}

    def listen(method: str, path: str, body: Any) -> None:
        with (
            httpx2.Client(base_url=service.url, timeout=20, trust_env=False, cookies=cookies) as client,
            client.stream(method, path, json=body, headers=headers) as response,
        ):
            assert response.status_code == 200, response.read()
            events = list(sent_events(response.iter_lines()))
        ended[path] = (time.monotonic(), events[-1:])

    streams = (("GET", f"{API}/events", None), ("POST", f"{API}/ask", {"question": "Which?", "stream": True}))
    threads = [threading.Thread(target=listen, args=one) for one in streams]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert not ended
    began = time.monotonic()
    if how == "session":
        assert client.delete(f"{API}/session", headers=headers).status_code == 204
    else:
        changes = {
            "token": lambda users: users.without_token(f"tab-{how}"), "user": lambda users: users.without_user(name),
            "role": lambda users: users.changed(User(name, "viewer", hashed, ("hall",), 1.0)),
        }  # fmt: skip
        change_users(service.memory, changes[how])
    for thread in threads:
        thread.join(10)
    assert {path: round(when - began, 2) < 1.0 for path, (when, _) in ended.items()} == {
        path: True for _, path, _ in streams
    }
    for _, last in ended.values():
        assert [(kind, data["error"]["kind"]) for kind, data in last] == [("error", "token_required")]
    assert service.in_loop(_busy) == (False, 0)


async def _busy(engine: Any) -> tuple[bool, int]:
    import asyncio

    for _ in range(100):
        if not engine.line.busy:
            break
        await asyncio.sleep(0.02)
    return engine.line.busy, engine.line.waiting


def test_a_viewers_events_are_those_of_their_cameras(service: ServiceHere) -> None:
    ann, ben = (add_token(service.memory, name, f"listening-{name}") for name in ("ann", "ben"))
    assert wait_until(lambda: service.client.get(f"{API}/session", headers=ben).status_code == 200, 5)

    def act() -> None:
        for camera in ("hall", "yard", "hall"):
            service.json("POST", f"/cameras/{camera}/keep?wait=5", {"clear": True}, status=202, headers=ann)
        service.json("POST", "/ask", {"question": "Which scene do you see now?"}, headers=ann)
        service.json("POST", "/ask", {"question": "Which scene do you see now?"}, headers=ben)

    numbers: list[int] = []
    with service.client.stream("GET", f"{API}/events", headers=ben) as response:
        lines = response.iter_lines()
        next(lines)
        thread = threading.Thread(target=act)
        thread.start()
        for kind, data in sent_events(lines):
            assert "hall" not in json.dumps(data)
            numbers.append(data["number"])
            if kind == "answer":
                assert (data["user"], data["cameras"]) == ("ben", ["yard"])
                break
        thread.join()
    assert numbers == sorted(set(numbers))
    assert min(numbers) > 1_000_000_000_000, "made of the time: gaps between them say nothing"
    with service.client.stream("GET", f"{API}/events", headers={**ben, "Last-Event-ID": str(numbers[0])}) as response:
        again = [data["number"] for _, data in (next(sent_events(response.iter_lines())) for _ in range(1))]
    assert again == numbers[1:2], "who comes back goes on where they were"


def test_the_audit_has_what_was_refused(service: ServiceHere) -> None:
    ann, ben = add_token(service.memory, "ann", "looking"), add_token(service.memory, "ben", "trying")
    assert wait_until(lambda: service.client.get(f"{API}/session", headers=ben).status_code == 200, 5)
    for _ in range(3):
        service.json("DELETE", "/cameras/yard", headers={**ben, "X-Forwarded-For": "10.66.0.2"}, status=403)
    client, _ = signed_in(service, "ben")
    without_csrf = client.post(
        f"{API}/cameras/yard/pause", json={"paused": True}, headers={"X-Forwarded-For": "10.66.0.3"}
    )
    assert without_csrf.status_code == 403
    assert sign_in(service, "ann", Origin="https://evil.example").status_code == 403
    forwarded = {"X-Forwarded-For": "10.66.0.1"}
    while sign_in(service, "nobody-here", "wrong", **forwarded).status_code != 429:
        pass
    for number in range(MOST_TOKENS + 1):
        service.client.get(f"{API}/session", headers={**forwarded, "Authorization": f"Bearer {number}"})
    found: set[tuple[str, str, str, str | None]] = set()

    def all_there() -> bool:
        lines = service.json("GET", "/audit?limit=1000", headers=ann)["lines"]
        found.update((line["user"], line["what"], line.get("outcome", ""), line.get("request")) for line in lines)
        return ("unknown", "token", "too_many_guesses", None) in found

    assert wait_until(all_there, 5), found
    assert {
        ("ben", "request", "forbidden", "DELETE /api/v1/cameras/yard"), ("ben", "request", "forbidden", "POST /api/v1/cameras/yard/pause"),
        ("unknown", "request", "forbidden", "POST /api/v1/session"), ("unknown", "sign_in", "too_many_tries", None),
    } <= found  # fmt: skip


def test_the_audit_has_everything_and_no_secret(service: ServiceHere) -> None:
    ann = add_token(service.memory, "ann", "auditing")
    assert wait_until(lambda: service.client.get(f"{API}/session", headers=ann).status_code == 200, 5)
    sign_in(service, PASSWORD, "typed in the wrong field", **{"X-Forwarded-For": "10.7.7.7"})
    sign_in(service, "ben", "wrong", **{"X-Forwarded-For": "10.7.7.7"})
    question = {"question": "Did you see a red ring at the door?", "cameras": ["yard"]}
    answer = service.json("POST", "/ask", question, headers=ann)["id"]
    service.json("POST", "/search", {"text": "a red ring"}, headers=ann)
    service.json("POST", "/ask", {"question": "Why?", "cameras": ["nowhere"]}, headers=ann, status=404)
    service.json("DELETE", f"/answers/{answer}", headers=ann, status=204)
    service.json(
        "PUT", "/cameras/pattern", {"source": "rtsp://user:hunter2hunter@127.0.0.1:1/x"}, headers=ann, status=201
    )
    service.json("DELETE", "/cameras/pattern", headers=ann, status=204)
    service.json("POST", "/cameras/yard/pause?wait=9", {"paused": False}, headers=ann, status=202)
    found: list[dict[str, Any]] = []

    def all_there() -> bool:
        found[:] = service.json("GET", "/audit?limit=1000", headers=ann)["lines"]
        return any(line["what"] == "pause" and line["outcome"] == "done" for line in found)

    assert wait_until(all_there, 5)
    told = [
        (line["what"], line["user"], line.get("outcome"), line.get("text"), line.get("cameras"))
        for line in reversed(found)
    ]
    for expected in (
        ("sign_in", "unknown", "refused", None, None), ("sign_in", "ben", "refused", None, None),
        ("question", "ann", "answered", question["question"], ["yard"]), ("question", "ann", "memory_not_found", "Why?", ["nowhere"]),
        ("delete_answer", "ann", None, None, None), ("camera", "ann", "added", None, ["pattern"]),
        ("camera", "ann", "removed", None, ["pattern"]), ("pause", "ann", "started", None, ["yard"]),
    ):  # fmt: skip
        assert expected in told, expected
    line = next(line for line in found if line.get("answer") == answer)
    assert (line["door"], line["token"], line["address"]) == ("http", "auditing", "127.0.0.1")
    pages: list[str] = []
    before = ""
    while before is not None:
        page = service.json("GET", f"/audit?limit=3{before and f'&before={before}'}", headers=ann)
        pages += [line["id"] for line in page["lines"]]
        before = page["next"]
    assert pages == [line["id"] for line in found]
    assert service.client.get(f"{API}/audit", headers=add_token(service.memory, "ben", "curious")).status_code in (
        401,
        403,
    )
    text = (service.memory / AUDIT).read_text()
    for secret in (PASSWORD, "wrong field", "hunter2", ann["Authorization"].split()[1]):
        assert secret not in text


def test_secrets_are_nowhere(tiny: Any, tmp_path: Path, hashed: str, caplog: pytest.LogCaptureFixture) -> None:
    """Log of every level, answers, errors, metrics, every file of the memory, and the title of the process."""
    memory = tmp_path / "memory"
    record_camera(memory, "yard", tiny, 6)
    add(memory, User("ann", "admin", hashed, None, 1.0))
    header = add_token(memory, "ann", "tab")
    file = tmp_path / "token"
    file.write_text("owner-token-owner-token")
    file.chmod(0o600)
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    with ServiceHere(memory, tiny, http={"token_file": str(file)}) as service:
        signed = sign_in(service, "ann")
        cookie, csrf = signed.cookies["afterview"], signed.json()["csrf"]
        secrets = [PASSWORD, header["Authorization"].split()[1], "owner-token-owner-token", cookie]
        bodies: tuple[Any, ...] = (None, {"question": "Which scene do you see now?"}, {"name": 3, "password": PASSWORD}, [PASSWORD],
                                   {"password": PASSWORD}, {"name": "ann", "password": PASSWORD, "more": PASSWORD})  # fmt: skip
        shown = [{}, header, {"Authorization": "Bearer owner-token-owner-token"}, {"Authorization": f"Basic {secrets[1]}"},
                 {"Cookie": f"afterview={cookie}"}, {"Cookie": f"afterview={cookie}", CSRF: csrf},
                 {"Authorization": f"Bearer {secrets[1]}x"}]  # fmt: skip
        for headers in shown:
            for method, path in (("GET", "/metrics"), ("GET", "/health/ready"), ("GET", f"{API}/audit"), ("GET", f"{API}/answers"),
                                 ("GET", f"{API}/service"), ("GET", f"{API}/cameras/{secrets[1]}"), ("GET", "/nothing"),
                                 ("POST", f"{API}/ask"), ("POST", f"{API}/session"), ("PUT", f"{API}/session")):  # fmt: skip
                for body in bodies if method == "POST" else (None,):
                    answer = service.client.request(method, path, json=body, headers=headers)
                    text = answer.text.replace(secrets[1], "") if path.endswith(secrets[1]) else answer.text
                    kept = {key: value for key, value in answer.headers.items() if key != "set-cookie"}
                    seen.append(f"{kept} {text}")
    said = [
        record for record in caplog.records if not record.name.startswith("http")
    ]  # not what the test's own client logs
    seen += [
        *(f"{record.getMessage()} {record.exc_text}" for record in said),
        *(thread.name for thread in threading.enumerate()),
    ]
    for place in ("cmdline", "comm", "environ"):
        seen.append(Path(f"/proc/{os.getpid()}/{place}").read_bytes().decode(errors="replace"))
    for path in memory.rglob("*"):
        if path.is_file():
            seen.append(path.read_bytes().decode("latin-1"))
    for secret in secrets:
        assert not [text[:500] for text in seen if secret in text], secret[:6]
