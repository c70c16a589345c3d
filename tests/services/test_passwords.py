"""Passwords: hashes, answers from memory, and slow hashes that callers share."""

import threading
from base64 import b64encode
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from trioedge.errors import ConfigurationError
from trioedge.services import passwords as module
from trioedge.services.credentials import check_hash, read_hash
from trioedge.services.passwords import FORGET_SECONDS, REMEMBERED_SECONDS, Passwords, hash_password


class Slowly:
    """Counts the slow hashes, and delays them while `go_on` is not set."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._matches = module._matches

    def __call__(self, secret: bytes, password_hash: str) -> bool:
        self.asked += 1
        assert self.go_on.wait(10)
        return self._matches(secret, password_hash)


@pytest.fixture(autouse=True)
def slowly(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slowly]:
    """Cheap hashes that a test can delay."""
    monkeypatch.setattr(module, "COST_LOG2", 1)
    slowly = Slowly()
    monkeypatch.setattr(module, "_matches", slowly)
    yield slowly
    slowly.go_on.set()


async def until(thing: Slowly, asked: int) -> None:
    with trio.fail_after(10):
        while thing.asked < asked:
            await trio.sleep(0.001)


def test_a_hash_is_a_phc_string_with_its_parameters_and_a_salt_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    hashed, again = hash_password("secret"), hash_password("secret")
    assert hashed.startswith("$scrypt$ln=14,r=8,p=1$")
    assert "=" not in hashed.partition("p=1")[2]
    assert hashed != again
    assert "secret" not in hashed
    assert check_hash(hashed) == ""


@pytest.mark.parametrize("password", ["", "x" * 1025, "ü" * 513])
def test_a_password_has_bounds(password: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 1024 bytes"):
        hash_password(password)


@pytest.mark.parametrize("password", ["secret", "ü" * 512, "\udcff"])
async def test_the_right_password_is_right_and_others_are_wrong(password: str) -> None:
    passwords, hashed = Passwords(), hash_password(password)
    assert await passwords.verify(password, hashed)
    for wrong in ("", password + "x", password.upper() + " ", "x" * 100_000):
        assert not await passwords.verify(wrong, hashed)
    assert not await passwords.verify(password, None)


async def test_a_hash_of_the_former_form_is_verified() -> None:
    cost, salt, key = read_hash(hash_password("secret"))
    former = f"scrypt:{cost}:{b64encode(salt).decode()}:{b64encode(key).decode()}"
    assert await Passwords().verify("secret", former)
    assert not await Passwords().verify("wrong", former)


async def test_a_hash_of_another_implementation_is_verified() -> None:
    """The key is of ``openssl kdf SCRYPT``; the vectors of RFC 7914 have shorter salts."""
    hashed = "$scrypt$ln=4,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$FBYrbyejpsRMOOxNjJ4WhxLlIIkIxp/izmMfHJ7w9YU"
    assert await Passwords().verify("secret", hashed)
    assert not await Passwords().verify("wrong", hashed)


async def test_a_password_that_is_too_long_costs_no_hash(slowly: Slowly) -> None:
    assert not await Passwords().verify("x" * 1025, hash_password("secret"))
    assert slowly.asked == 0


async def test_an_answer_is_remembered_for_ten_minutes(mock_clock: trio.testing.MockClock, slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    for _ in range(3):
        assert await passwords.verify("secret", hashed)
        assert not await passwords.verify("wrong", hashed)
    assert slowly.asked == 2
    mock_clock.jump(REMEMBERED_SECONDS)
    assert await passwords.verify("secret", hashed)
    assert slowly.asked == 3


async def test_an_answer_is_not_used_from_the_moment_at_which_it_expires(
    mock_clock: trio.testing.MockClock, slowly: Slowly
) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    await passwords.verify("secret", hashed)
    for seconds, asked in ((REMEMBERED_SECONDS - 0.25, 1), (0.25, 2)):
        mock_clock.jump(seconds)
        assert await passwords.verify("secret", hashed)
        assert slowly.asked == asked


async def test_at_capacity_the_answer_that_expires_first_is_evicted_however_often_it_is_used(
    mock_clock: trio.testing.MockClock, slowly: Slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CAPACITY", 2)
    passwords, hashed = Passwords(), hash_password("secret")

    async def costs_a_hash(password: str) -> bool:
        asked = slowly.asked
        await passwords.verify(password, hashed)
        return slowly.asked > asked

    assert [await costs_a_hash(password) for password in ("first", "second", "first")] == [True, True, False]
    assert await costs_a_hash("third")
    assert [await costs_a_hash(password) for password in ("third", "second")] == [False, False]
    assert await costs_a_hash("first"), "it was evicted, and evicts the second"
    mock_clock.jump(REMEMBERED_SECONDS)
    assert await costs_a_hash("third"), "it expired, and is the newest now"
    assert await costs_a_hash("second")
    assert not await costs_a_hash("third")
    assert len(passwords._known) == 2


async def test_recall_knows_what_was_verified_and_nothing_else(
    mock_clock: trio.testing.MockClock, slowly: Slowly
) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    cases = [("secret", hashed), ("wrong", hashed), ("secret", None)]
    assert [passwords.recall(*case, "shop") for case in cases] == [None, None, None]
    for case in cases:
        await passwords.verify(*case, "shop")
    mock_clock.jump(REMEMBERED_SECONDS - 0.25)
    assert [passwords.recall(*case, "shop") for case in cases] == [True, False, False]
    assert passwords.recall("secret", hashed, "another") is None
    assert passwords.recall("secret", hash_password("secret"), "shop") is None, "another salt, as after a change"
    mock_clock.jump(0.25)
    assert [passwords.recall(*case, "shop") for case in cases] == [None, None, None]
    assert slowly.asked == 3


async def test_recall_knows_of_a_password_that_is_too_long_that_it_is_wrong() -> None:
    assert Passwords().recall("x" * 1025, hash_password("secret")) is False


async def test_recall_knows_a_service_without_a_hash_as_long_as_the_hashes_cost_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords, cheap = Passwords(), hash_password("secret")
    monkeypatch.setattr(module, "COST_LOG2", 2)
    await passwords.verify("guess", None, "ghost")
    await passwords.verify("secret", cheap, "shop")
    assert passwords.recall("guess", None, "ghost") is False
    await passwords.verify("secret", hash_password("secret"), "dear")
    assert passwords.recall("guess", None, "ghost") is None


async def test_a_changed_hash_applies_at_once() -> None:
    passwords, old, new = Passwords(), hash_password("old"), hash_password("new")
    assert await passwords.verify("old", old)
    assert not await passwords.verify("old", new)
    assert await passwords.verify("new", new)


async def test_a_hash_and_a_password_that_are_split_elsewhere_have_a_digest_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_matches", lambda _, password_hash: password_hash == "ab")
    monkeypatch.setattr(module, "read_hash", lambda _: (1, b"", b""))
    passwords = Passwords()
    assert await passwords.verify("c", "ab")
    assert not await passwords.verify("bc", "a")


async def test_neither_passwords_nor_hashes_are_kept() -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    await passwords.verify("secret", hashed)
    kept = repr(passwords._known)
    assert len(passwords._known) == 1
    assert "secret" not in kept
    assert hashed not in kept


async def test_callers_that_ask_at_the_same_time_share_one_hash(slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await passwords.verify("secret", hashed))

    slowly.go_on.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(ask)
        await until(slowly, 1)
        slowly.go_on.set()
    assert answers == [True] * 16
    assert slowly.asked == 1


async def test_two_hashes_run_at_the_same_time_and_others_wait(slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    slowly.go_on.clear()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(passwords.verify, f"wrong {number}", hashed)
        await until(slowly, 2)
        await trio.sleep(0.02)
        assert slowly.asked == 2
        slowly.go_on.set()
    assert slowly.asked == 5


async def test_a_cancelled_caller_does_not_wait_for_its_hash_and_the_next_one_starts_another(slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    answers: list[bool] = []

    async def ask() -> None:
        answers.append(await passwords.verify("secret", hashed))

    slowly.go_on.clear()
    leaving = trio.CancelScope()

    async def leave() -> None:
        with leaving:
            await passwords.verify("secret", hashed)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await until(slowly, 1)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        leaving.cancel()
        await until(slowly, 2)
        slowly.go_on.set()
    assert answers == [True]
    assert passwords._asking == {}


async def test_a_caller_that_waits_for_the_hash_of_another_may_be_cancelled(slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    slowly.go_on.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(passwords.verify, "secret", hashed)
        await until(slowly, 1)
        with trio.move_on_after(0.01) as scope:
            await passwords.verify("secret", hashed)
        assert scope.cancelled_caught
        slowly.go_on.set()
    assert slowly.asked == 1


async def test_a_hash_that_raises_is_not_remembered(slowly: Slowly, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, hashed = Passwords(), hash_password("secret")

    def fail(secret: bytes, password_hash: str) -> bool:
        raise MemoryError

    monkeypatch.setattr(module, "_matches", fail)
    with pytest.raises(MemoryError):
        await passwords.verify("secret", hashed)
    monkeypatch.setattr(module, "_matches", slowly)
    assert await passwords.verify("secret", hashed)


@pytest.mark.parametrize(("password", "known"), [("secret", True), ("x" * 1025, False)])
async def test_an_answer_without_a_hash_may_be_cancelled_too(password: str, known: bool, slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    assert await passwords.verify(password, hashed) is known
    asked = slowly.asked
    with trio.CancelScope() as scope:
        scope.cancel()
        await passwords.verify(password, hashed)
    assert scope.cancelled_caught
    assert await passwords.verify(password, hashed) is known
    assert (slowly.asked, passwords._asking) == (asked, {})


# Services that there are not, and sources that guess.


async def test_a_service_without_a_hash_costs_a_hash_of_its_own_each(slowly: Slowly) -> None:
    passwords = Passwords()
    for number in range(3):
        assert not await passwords.verify("secret", None, f"unknown {number}")
        assert slowly.asked == number + 1, "an answer from memory would say that there is no such service"
        assert not await passwords.verify("secret", None, f"unknown {number}")
    assert slowly.asked == 3


async def test_the_hash_for_no_service_costs_as_much_as_that_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[int] = []
    monkeypatch.setattr(module, "_matches", lambda _, text: costs.append(read_hash(text)[0]))
    passwords = Passwords()
    await passwords.verify("secret", None)
    monkeypatch.setattr(module, "COST_LOG2", 5)
    await passwords.verify("secret", hash_password("other"))
    await passwords.verify("secret", None)
    assert costs == [1, 5, 5]


async def test_the_right_password_takes_its_turn_before_a_hundred_guesses_of_other_sources(slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    slowly.go_on.clear()
    order: list[str] = []

    async def ask(password: str, source: bytes) -> None:
        await passwords.verify(password, hashed, "shop", source)
        order.append(password)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, f"wrong {number}", bytes([number % 10 + 1]))
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(ask, "secret", b"honest")
        await trio.testing.wait_all_tasks_blocked(0.01)
        slowly.go_on.set()
    assert len(order) == 101
    assert order.index("secret") <= 14, "two that run, one of each of the ten others, and two threads"


async def test_of_one_source_16_callers_wait_and_the_others_are_answered_at_once(slowly: Slowly) -> None:
    full: list[None] = []
    passwords, hashed = Passwords(lambda: full.append(None)), hash_password("secret")
    slowly.go_on.clear()
    answers: list[bool] = []

    async def ask(number: int) -> None:
        answers.append(await passwords.verify(f"wrong {number}", hashed, "shop", b"guesser"))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert answers == [False] * 4
        assert len(full) == 4
        nursery.cancel_scope.cancel()
    assert (passwords._callers, passwords._asking, passwords._free, len(passwords._waiting)) == ({}, {}, 2, 0)


async def test_a_source_pauses_longer_after_each_wrong_password_and_others_do_not(
    autojump_clock: trio.testing.MockClock, slowly: Slowly
) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    waited = []
    for number in range(8):
        began = trio.current_time()
        assert not await passwords.verify(f"wrong {number}", hashed, "shop", b"guesser")
        waited.append(round(trio.current_time() - began, 3))
    assert waited == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    began = trio.current_time()
    assert await passwords.verify("secret", hashed, "shop", b"honest")
    assert trio.current_time() == began
    await trio.sleep(FORGET_SECONDS)
    assert not await passwords.verify("wrong again", hashed, "shop", b"guesser")
    assert trio.current_time() == began + FORGET_SECONDS


async def test_a_caller_that_is_cancelled_while_it_pauses_or_waits_leaves_nothing(slowly: Slowly) -> None:
    passwords, hashed = Passwords(), hash_password("secret")
    assert not await passwords.verify("wrong", hashed, "shop", b"guesser")
    with trio.move_on_after(0.01) as pausing:
        await passwords.verify("wrong too", hashed, "shop", b"guesser")
    assert pausing.cancelled_caught
    slowly.go_on.clear()
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(passwords.verify, f"wrong {number}", hashed, "shop", bytes([number]))
        await until(slowly, 3)
        with trio.move_on_after(0.01) as waiting:
            await passwords.verify("secret", hashed, "shop", b"honest")
        assert waiting.cancelled_caught
        slowly.go_on.set()
    assert (passwords._callers, passwords._asking, passwords._free, len(passwords._waiting)) == ({}, {}, 2, 0)
    assert await passwords.verify("secret", hashed, "shop", b"honest")


async def test_beyond_256_callers_the_source_with_the_most_of_them_loses_one(
    slowly: Slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    passwords, hashed = Passwords(), hash_password("secret")
    slowly.go_on.clear()
    answers: dict[str, bool] = {}

    async def ask(password: str, source: bytes) -> None:
        answers[password] = await passwords.verify(password, hashed, "shop", source)

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(ask, f"wrong {number}", b"guesser")
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "secret", b"honest")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert answers == {"wrong 5": False}, "two run and four waited"
        slowly.go_on.set()
    assert answers["secret"]
