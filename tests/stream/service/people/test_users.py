"""The file of users and tokens, and who may come in by it: with a clock that the test sets."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.base.errors import DamagedMemory
from afterview.stream.service.errors import TooManySignIns, WrongSignIn
from afterview.stream.service.people.access import Access
from afterview.stream.service.people.admission import Admission
from afterview.stream.service.people.attempts import Attempts, network_of
from afterview.stream.service.people.passwords import _HASHER, _OF_NOBODY, Passwords, hash_password, is_right
from afterview.stream.service.people.sessions import MOST_OF_ONE, Sessions
from afterview.stream.service.people.users import FILE, User, Users, change_users, new_token, read_users, require_name
from afterview.stream.service.secrets import Token

PASSWORD = "correct horse"


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture(scope="module")
def hashed() -> str:
    return hash_password(PASSWORD)


def user(
    name: str = "ann", role: Any = "viewer", cameras: tuple[str, ...] | None = ("yard",), password: str = "x"
) -> User:
    return User(name, role, password, cameras, 1.0)


def admission(memory: Path, clock: Clock, *, token: Token | None = None, local: bool = True) -> Admission:
    return Admission(memory, token, local=local, session_s=100.0, now=clock)


def test_the_file_keeps_everything_and_is_private(tmp_path: Path) -> None:
    memory = tmp_path / "not" / "there"
    token, secret = new_token("tab", "ann", days=2, now=5.0)
    change_users(memory, lambda users: users.with_user(user()).with_user(user("bob", "admin", None)).with_token(token))
    assert stat.S_IMODE((memory / FILE).stat().st_mode) == 0o600
    found = read_users(memory)
    assert (found.users["ann"], found.tokens["tab"], found.admins) == (user(), token, ["bob"])
    assert token.expires == 5.0 + 2 * 86_400
    for text in (PASSWORD, secret):
        assert text not in (memory / FILE).read_text()
    assert secret not in repr(token) + repr(found.users["ann"])
    change_users(memory, lambda users: users.without_user("ann"))
    assert read_users(memory).tokens == {}, "tokens go with their user"


def test_what_is_refused(tmp_path: Path) -> None:
    users = Users().with_user(user())
    for name in ("", "a b", "-a", "x" * 65, "a\n", "owner", "Nobody", "a/b", "<b>"):
        with pytest.raises(UsageError):
            require_name(name, "user")
    for wrong in (lambda: users.with_user(user("ANN")), lambda: users.without_user("an"), lambda: users.without_token("x"),
                  lambda: users.with_token(new_token("t", "nobody-here", days=None)[0])):  # fmt: skip
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UsageError, match="did you mean 'ann'"):
        users.user("anm")


KING = {"name": "a", "role": "king", "password": "", "cameras": None, "created": 1}
WELL = {"name": "a", "role": "viewer", "password": "x", "cameras": ["yard"], "created": 1}
TOKEN = {"name": "t", "user": "a", "digest": "d", "created": 1, "expires": None}
WRONG_TYPES = [
    {"users": [{**WELL, **wrong}], "tokens": []}
    for wrong in ({"name": 1}, {"password": None}, {"cameras": "yard"}, {"cameras": [1]}, {"created": "now"})
] + [
    {"users": [WELL], "tokens": [{**TOKEN, **wrong}]} for wrong in ({"expires": "x"}, {"digest": 1}, {"expires": True})
]
DAMAGED = (
    *map(json.dumps, WRONG_TYPES),
    "[" * 100_000,
    "",
    "{",
    "[]",
    '{"users": [], "tokens": 3}',
    '{"users": [{"name": "a"}], "tokens": []}',
)


def test_a_user_of_a_memory_that_is_not_there_yet_is_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (password := tmp_path / "pw").write_text(PASSWORD)
    for name, memory, noted in (("ann", tmp_path / "typo", True), ("ben", tmp_path / "typo", False)):
        caplog.clear()
        command = ["user", "add", name, "--role", "admin", "--memory", str(memory), "--password-file", str(password)]
        assert main(command) == 0
        assert (f"there is nothing at {memory} yet" in caplog.text) == noted


@pytest.mark.parametrize("text", [*DAMAGED, json.dumps({"users": [KING], "tokens": []})])
def test_a_damaged_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    change_users(tmp_path, lambda users: users.with_user(user()))
    entry = admission(tmp_path, Clock())
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DamagedMemory):
        read_users(tmp_path)
    entry.read_again()
    assert (entry.users, entry.open, entry.without()) == (Users(), False, None)
    assert str(tmp_path / FILE) in entry.problem
    (tmp_path / FILE).unlink()
    change_users(tmp_path, lambda users: users.with_user(user()))
    entry.read_again()
    assert (entry.problem, list(entry.users.users)) == ("", ["ann"])


def test_a_file_that_others_may_write_lets_nobody_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change_users(tmp_path, lambda users: users.with_user(user()))
    entry = admission(tmp_path, Clock())
    for mode, said in ((0o622, "added themselves"), (0o660, "added themselves"), (0o600, ""), (0o644, "")):
        (tmp_path / FILE).chmod(mode)
        entry.read_again()
        assert (said in entry.problem, list(entry.users.users)) == (True, [] if said else ["ann"]), oct(mode)
    assert "can read the hashes" in caplog.text


def test_a_service_without_users_is_open_on_its_own_machine_alone(tmp_path: Path) -> None:
    clock = Clock()
    assert admission(tmp_path, clock, local=False).without() is None
    assert admission(tmp_path, clock, token=Token("x" * 20)).without() is None
    entry = admission(tmp_path, clock)
    visit = entry.without()
    assert visit is not None
    assert (visit.access.user, visit.access.admin, visit.still()) == ("owner", True, True)
    change_users(tmp_path, lambda users: users.with_user(user()))
    entry.read_again()
    assert (entry.without(), visit.still()) == (None, False), "who came before there were users may stay no longer"
    (tmp_path / FILE).unlink()
    entry.read_again()
    assert entry.without() is None, "a file that is lost opens nothing"


@pytest.mark.parametrize("how", ["revoked", "expired", "removed", "another role", "other cameras", "no camera"])
async def test_what_no_longer_counts_ends_its_visits(tmp_path: Path, how: str) -> None:
    clock = Clock()
    token, secret = new_token("tab", "ann", days=1, now=clock.time)
    change_users(tmp_path, lambda users: users.with_user(user()).with_user(user("bob")).with_token(token))
    entry = admission(tmp_path, clock)
    visit = entry.by_token(f"Bearer {secret}")
    assert visit is not None
    assert visit.access == Access("ann", cameras=frozenset(["yard"]), client="user ann", token="tab")
    changes = {
        "revoked": lambda users: users.without_token("tab"), "removed": lambda users: users.without_user("ann"),
        "another role": lambda users: users.changed(user(role="admin")),
        "other cameras": lambda users: users.changed(user(cameras=("hall",))),
        "no camera": lambda users: users.changed(user(cameras=())), "expired": lambda users: users,
    }  # fmt: skip
    with entry.staying(visit) as ended:
        entry.end_visits()
        assert not ended.is_set()
        change_users(tmp_path, changes[how])
        clock.time += 86_400 if how == "expired" else 0
        entry.read_again()
        entry.end_visits()
        assert ended.is_set()
    later = entry.by_token(f"Bearer {secret}")
    assert (later is None) == (how in ("revoked", "expired", "removed"))


def test_tokens_are_whole_and_of_one_kind(tmp_path: Path) -> None:
    token, secret = new_token("tab", "ann", days=None)
    change_users(tmp_path, lambda users: users.with_user(user()).with_token(token))
    entry = admission(tmp_path, Clock(), token=Token("y" * 20))
    for wrong in ("", "Bearer", "Bearer ", f"Basic {secret}", f"Bearer {secret[:-1]}", f"Bearer {secret}x", f"Bearer {token.digest}",
                  secret, "Bearer \u00ff\u0100", f"Bearer {secret} {secret}"):  # fmt: skip
        assert entry.by_token(wrong) is None, wrong
    assert entry.by_token(f"bearer  {secret} ") is not None
    owner = entry.by_token("Bearer " + "y" * 20)
    assert owner is not None
    assert owner.access.user == "owner"


async def test_signing_in(tmp_path: Path, hashed: str) -> None:
    clock = Clock()
    change_users(tmp_path, lambda users: users.with_user(user(password=hashed)))
    entry = admission(tmp_path, clock)
    cookie, session = await entry.sign_in("ann", PASSWORD, "10.0.0.1")
    visit = entry.by_session(cookie)
    assert visit is not None
    assert (visit.session, visit.access.user, visit.still()) == (session, "ann", True)
    for wrong in (("ann", "wrong"), ("Ann", PASSWORD), ("nobody", PASSWORD), ("", "")):
        with pytest.raises(WrongSignIn) as told:
            await entry.sign_in(*wrong, "10.0.0.1")
        assert str(told.value) == "no user has this name and password"
    clock.time += 99
    assert visit.still()
    clock.time += 1
    assert (entry.by_session(cookie), visit.still()) == (None, False)
    second, _ = await entry.sign_in("ann", PASSWORD, "10.0.0.1")
    change_users(tmp_path, lambda users: users.changed(user(password="other")))
    entry.read_again()
    assert entry.by_session(second) is None, "another password signs out"
    entry.close()


async def test_tries_are_limited_by_address_and_by_name(
    tmp_path: Path, hashed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str | None] = []

    async def compare(passwords: Passwords, stored: str | None, password: str) -> bool:
        compared.append(stored)
        return stored is not None and password == PASSWORD

    monkeypatch.setattr(Passwords, "is_right", compare)
    change_users(tmp_path, lambda users: users.with_user(user(password=hashed)))
    entry = admission(tmp_path, Clock())

    async def refused(name: str, address: str) -> int:
        for tries in range(1000):
            try:
                await entry.sign_in(name, "wrong", address)
            except TooManySignIns as error:
                return tries if error.retry_after_s >= 1 else -1
            except WrongSignIn:
                continue
        return -1

    await entry.sign_in("ann", PASSWORD, "10.0.0.9")
    for name in ("ann", "unknown"):
        assert await refused(name, f"10.0.0.{len(name)}") == 10
    assert await refused("ann", "10.1.0.1") == 0, "from other addresses the name is refused, too"
    assert await refused("unknown", "10.1.0.2") == 0
    await entry.sign_in("ann", PASSWORD, "10.0.0.9")  # who was here before still comes in
    entry.close()
    assert set(compared) == {hashed, None}, "unknown names are compared, too"


def test_attempts_come_back_one_by_one_and_are_bounded() -> None:
    clock = Clock()
    attempts = Attempts(3, 10.0, keys=5, now=clock)
    assert [attempts.take("a") for _ in range(5)] == [0, 0, 0, 10, 10]
    clock.time += 9.5
    assert attempts.take("a") == 1
    clock.time += 0.5
    assert [attempts.take("a"), attempts.take("a")] == [0, 10]
    attempts.forgive("a")
    assert attempts.take("a") == 0
    for number in range(1000):
        attempts.take(str(number))
    assert len(attempts) == 5
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::") != network_of("2001:db8:1:3::")
    assert (network_of("::ffff:10.0.0.1"), network_of("10.0.0.1"), network_of("")) == ("10.0.0.1", "10.0.0.1", "")


def test_sessions_are_bounded(hashed: str) -> None:
    sessions = Sessions(10.0, Clock())
    cookies = [sessions.begin(user())[0] for _ in range(MOST_OF_ONE + 5)]
    assert len(sessions) == MOST_OF_ONE
    assert len(set(cookies)) == len(cookies)


def test_an_unknown_name_costs_as_much_as_a_known_one(hashed: str) -> None:
    parts = [text.split("$")[1:4] for text in (hashed, _OF_NOBODY)]
    assert parts[0] == parts[1], "the same cost"
    assert is_right(hashed, PASSWORD)
    assert not is_right(hashed, "")
    assert not is_right(None, "")
    assert not is_right("no hash", PASSWORD)
    assert _HASHER.verify(hashed, PASSWORD)


async def test_the_line_for_passwords_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    import threading

    go = threading.Event()
    monkeypatch.setattr("afterview.stream.service.people.passwords.is_right", lambda stored, password: go.wait(10))
    passwords = Passwords()
    waiting = [asyncio.create_task(passwords.is_right(None, "x")) for _ in range(8)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # a client that left does not make room: its work still waits
    with pytest.raises(TooManySignIns):
        await passwords.is_right(None, "x")
    go.set()
    assert await asyncio.gather(*waiting[1:]) == [True] * 7
    assert await passwords.is_right(None, "x")
    passwords.close()
