"""Secrets of machines: a fast hash, beside the slow one of passwords."""

import re
from typing import Any

import pytest
import trio
import trio.testing

from trioedge.errors import ConfigurationError
from trioedge.services import passwords as module
from trioedge.services.credentials import check_hash
from trioedge.services.passwords import Passwords, generate_secret, hash_password


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every slow hash."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a slow hash was computed")

    monkeypatch.setattr(module, "_matches", refuse)


def test_a_generated_secret_has_192_bits_and_is_another_one_each_time() -> None:
    made = [generate_secret() for _ in range(100)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", secret) for secret, _ in made)
    assert len({secret for secret, _ in made}) == 100
    assert all(hashed == hash_password(secret, kind="sha256") for secret, hashed in made)
    assert all(check_hash(hashed) == "" for _, hashed in made)


def test_the_hash_of_a_secret_is_its_sha256() -> None:
    assert hash_password("correct horse battery staple", kind="sha256") == (
        "sha256:c4bbcb1fbec99d65bf59d85c8cb62ee2db963f0fe106f483d9afa73bd4e39a8a"
    )


@pytest.mark.parametrize(
    ("password", "kind", "fault"),
    [
        ("x" * 21, "sha256", "a secret for sha256 has at least 22 random letters: generate one, or use scrypt"),
        ("", "sha256", "a password has 1 to 1024 bytes"),
        ("x" * 1025, "sha256", "a password has 1 to 1024 bytes"),
        ("x" * 30, "md5", "hash_password(kind='md5') must be 'scrypt' or 'sha256'"),
    ],
)
def test_a_secret_that_is_too_short_and_an_unknown_kind_are_refused(password: str, kind: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fault)):
        hash_password(password, kind=kind)


@pytest.mark.usefixtures("no_thread")
async def test_the_right_secret_is_right_and_others_are_wrong_without_a_thread() -> None:
    passwords = Passwords()
    secret, hashed = generate_secret()
    assert await passwords.verify(secret, hashed)
    for wrong in ("", secret[:-1], secret + "x", secret.swapcase(), "x" * 100_000, "\udcff"):
        assert not await passwords.verify(wrong, hashed)


@pytest.mark.usefixtures("no_thread")
async def test_five_thousand_machines_log_in_at_once_and_none_waits_or_is_turned_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    full: list[None] = []
    passwords = Passwords(lambda: full.append(None))
    made = [generate_secret() for _ in range(5_000)]
    right = []

    async def log_in(number: int) -> None:
        secret, hashed = made[number]
        right.append(await passwords.verify(secret, hashed, f"machine-{number}", b"\x7f\0\0\1"))

    async with trio.open_nursery() as nursery:
        for number in range(5_000):
            nursery.start_soon(log_in, number)
    assert right == [True] * 5_000
    assert full == []
    assert trio.current_time() == 0


@pytest.mark.usefixtures("no_thread")
async def test_wrong_secrets_of_a_source_do_not_hold_up_its_right_ones(autojump_clock: trio.testing.MockClock) -> None:
    passwords = Passwords()
    secret, hashed = generate_secret()
    for _ in range(50):
        assert not await passwords.verify(secret + "x", hashed, "shop", b"\x7f\0\0\1")
    assert await passwords.verify(secret, hashed, "shop", b"\x7f\0\0\1")
    assert trio.current_time() == 0


async def test_a_service_without_a_hash_is_as_fast_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = 0

    def count(*_: Any) -> bool:
        nonlocal slow
        slow += 1
        return False

    monkeypatch.setattr(module, "_matches", count)

    async def slow_of(passwords: Passwords, *services: str) -> int:
        nonlocal slow
        slow = 0
        for service in services:
            assert not await passwords.verify("guess", None, service)
        return slow

    unknown = [f"unknown-{number}" for number in range(200)]
    passwords = Passwords()
    assert await slow_of(passwords, "a", "b") == 2  # nothing is known yet: as with people's passwords
    await passwords.verify("x", generate_secret()[1])
    assert await slow_of(passwords, *unknown) == 0
    await passwords.verify(
        "x", "$scrypt$ln=1,r=8,p=1$ZmVkY2JhOTg3NjU0MzIxMA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
    )
    both = await slow_of(passwords, *unknown)
    assert 60 < both < 140
    assert await slow_of(passwords, *unknown) == 0  # from memory: each name keeps its kind


async def test_a_secret_cancelled_before_it_is_checked_is_no_answer() -> None:
    secret, hashed = generate_secret()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Passwords().verify(secret, hashed)
    assert scope.cancelled_caught
