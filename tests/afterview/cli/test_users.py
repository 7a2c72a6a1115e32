"""`afterview user`, `token` and `audit`: what they change, print and refuse; passwords are never arguments, and shown nowhere."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.memory.writing.open import open_camera
from afterview.stream.service.people.passwords import is_right
from afterview.stream.service.people.users import FILE, digest_of, read_users
from tests.support.memory_world import make_frame, make_spec

PASSWORD = "correct horse battery"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    path = tmp_path / "memory"
    with open_camera(path, "Front door", make_spec(), timezone="UTC") as repository:
        repository.append(make_frame(0, make_spec()))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == status
    found = capsys.readouterr()
    assert PASSWORD not in found.out + found.err
    return found.out, found.err


def test_users_and_tokens_from_the_first_to_the_last(
    memory: Path, password: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--memory", memory)
    add = ("--password-file", password, *where)
    out, _ = run(capsys, "user", "add", "ann", "--role", "admin", *add)
    assert "user ann (admin): added" in out
    out, err = run(
        capsys, "user", "add", "ben", "--role", "viewer", "--camera", "Front door", "--camera", "garage", *add, "--json"
    )
    assert json.loads(out)["user"]["cameras"] == ["front-door", "garage"]
    assert "there is no camera 'garage' yet" in err
    assert is_right(read_users(memory).users["ben"].password, PASSWORD)
    token = json.loads(run(capsys, "token", "add", "tab", "--user", "ben", "--days", "3", *where, "--json")[0])
    assert read_users(memory).tokens["tab"].digest == digest_of(token["secret"])
    assert token["token"]["expires"] - token["token"]["created"] == pytest.approx(3 * 86_400)
    listed = "".join(run(capsys, kind, "list", *where)[0] for kind in ("user", "token"))
    assert token["secret"] not in listed + (memory / FILE).read_text()
    assert "1 tokens  viewer of front-door, garage" in listed
    _, err = run(capsys, "user", "remove", "ann", *where, status=2)
    assert "'ann' is the last admin; make another one first, or give --last-admin" in err
    run(capsys, "user", "change", "ann", "--role", "viewer", *where, status=2)
    run(capsys, "user", "change", "ben", "--role", "admin", *where)
    assert read_users(memory).users["ben"].cameras is None
    run(capsys, "user", "remove", "ann", *where)
    password.write_text("another password")
    run(capsys, "user", "passwd", "ben", *add)
    assert not is_right(read_users(memory).users["ben"].password, PASSWORD)
    run(capsys, "token", "revoke", "tab", *where)
    run(capsys, "user", "remove", "ben", "--last-admin", *where)
    assert (read_users(memory).users, read_users(memory).tokens) == ({}, {})
    lines = json.loads(run(capsys, "audit", *where, "--json")[0])["lines"]
    assert [(line["what"], line["subject"], line["outcome"]) for line in reversed(lines)] == [
        ("user", "ann", "added"), ("user", "ben", "added"), ("token", "tab", "added"), ("user", "ben", "changed"),
        ("user", "ann", "removed"),
        ("user", "ben", "given another password"), ("token", "tab", "revoked"), ("user", "ben", "removed"),
    ]  # fmt: skip
    assert run(capsys, "audit", "--limit", "2", *where)[0].count("\n") == 2
    assert run(capsys, "audit", "--user", "nobody", *where)[0] == "nothing\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "add", "a b", "--role", "admin"), "a user's name has"),
        (("user", "add", "owner", "--role", "admin"), "no user can be called 'owner'"),
        (("user", "add", "ann", "--role", "king"), "unknown choice 'king'"),
        (("user", "add", "ann", "--role", "admin", "--camera", "x"), "an admin sees all cameras"),
        (("user", "add", "ann", "--role", "admin", "--password", "x"), "unknown option '--password'"),
        (("user", "remove", "ann"), "no user 'ann'"),
        (("user", "change", "ann"), "what should change?"),
        (("user", "passwd", "ann"), "no user 'ann'"),
        (("token", "add", "t", "--user", "ann"), "no user 'ann'"),
        (("token", "add", "t", "--user", "ann", "--days", "0"), "--days 0"),
        (("token", "revoke", "t"), "no token 't'"),
        (("audit", "--limit", "0"), "--limit 0"),
        (("user",), "missing"),
    ],
)
def test_what_is_refused(
    memory: Path, password: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    more: tuple[object, ...] = (
        ("--password-file", password) if arguments[1:2] == ("add",) and arguments[0] == "user" else ()
    )
    _, err = run(capsys, *arguments, *more, *(() if arguments == ("user",) else ("--memory", memory)), status=2)
    assert said in err
    assert not (memory / FILE).exists()


@pytest.mark.parametrize("text", [b"", b"short", b"x" * 1025, b"two\nlines of it", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe"])
def test_passwords_that_are_none(
    memory: Path, password: Path, capsys: pytest.CaptureFixture[str], text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = ("user", "add", "ann", "--role", "admin", "--memory", memory, "--password-file")
    password.write_bytes(text)
    run(capsys, *add, password, status=2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    run(capsys, *add, "-", status=2)
    assert not (memory / FILE).exists()


def test_without_a_terminal_nobody_is_asked(
    memory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    _, err = run(capsys, "user", "add", "ann", "--role", "admin", "--memory", memory, status=2)
    assert "give --password-file" in err


@pytest.mark.parametrize(("second", "status"), [(PASSWORD, 0), ("something else", 2)])
def test_at_a_terminal_it_is_typed_twice_and_not_shown(memory: Path, second: str, status: int) -> None:
    main_end, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "afterview", "user", "add", "ann", "--role", "admin", "--memory", str(memory)],
        stdin=end, stdout=end, stderr=end, start_new_session=True, preexec_fn=lambda: _take_terminal(end),
    )  # fmt: skip
    os.close(end)
    shown = b""
    for prompt, typed in ((b"Password: ", PASSWORD), (b"The same again: ", second)):
        while prompt not in shown:
            shown += os.read(main_end, 1000)
        os.write(main_end, f"{typed}\n".encode())
    try:
        while part := os.read(main_end, 1000):
            shown += part
    except OSError:
        pass  # the other end is closed
    assert process.wait(30) == status
    os.close(main_end)
    assert PASSWORD.encode() not in shown
    assert (memory / FILE).exists() == (status == 0)


def _take_terminal(end: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(end, termios.TIOCSCTTY, 0)


def test_a_memory_that_does_not_exist_yet_is_made(
    tmp_path: Path, password: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where: Any = tmp_path / "new" / "memory"
    run(capsys, "user", "add", "ann", "--role", "admin", "--memory", where, "--password-file", password)
    assert read_users(where).admins == ["ann"]
