"""Passwords: one slow hash in a thread, in fair turns; then a keyed digest answers from memory.

Secrets of machines have a fast hash, which is computed at once: it needs no thread, no turn, no pause and no memory.

| a password of a service is | event | action |
| --- | --- | --- |
| unknown | a caller asks, and its source has 16 callers | answer no |
| unknown | a caller asks | wait for the pause and for the turn of its source; asked |
| asked | another caller asks for the same | wait for the first one's answer |
| asked | the queue is full, and the source has most callers in it | answer no; unknown |
| asked | its turn comes | hash it in a thread; once that has ended: known |
| asked | a cancel | give the turn to the next source; unknown, and another caller that waits asks anew |
| known | a caller asks, within ten minutes | answer from memory |
| known | ten minutes pass, or it is the oldest at capacity | unknown |

| a source | event | its next hash is computed |
| --- | --- | --- |
| any | a wrong password | after a pause of 0.1 s, which doubles up to 2 s |
| pausing | a minute without a wrong password | without a pause |
"""

import hashlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

import trio

from ..arguments import check_choice
from ..errors import ConfigurationError
from ..structures.fair_queue import FairQueue
from .credentials import BLOCK, KEY_BYTES, LANES, SALT_BYTES, read_digest, read_hash, write_digest, write_hash

COST_LOG2: Final = 14
"""The logarithm of scrypt's N to base 2: 16 MiB and some 50 ms."""

REMEMBERED_SECONDS: Final = 600.0
CAPACITY: Final = 65_536
THREADS: Final = 2
MAX_PASSWORD_BYTES: Final = 1024

MAX_WAITING: Final = 256
"""Callers that wait for a turn; beyond it, the source with the most of them loses one."""

MAX_WAITING_OF_SOURCE: Final = 16

FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
FORGET_SECONDS: Final = 60.0
"""A source without a wrong password for so long has no pause any more."""


SECRET_BYTES: Final = 24
"""Random bytes of a generated secret: 192 bits."""

MIN_SECRET_LETTERS: Final = 22
"""Of a secret for the fast hash: with fewer, not even random letters of base64 have 128 bits."""


def hash_password(password: str, *, kind: str = "scrypt") -> str:
    """Hash a password for `password_hash`.

    Args:
        password: 1 to 1,024 bytes; for ``sha256`` at least 22 letters, which must be random.
        kind: ``scrypt`` (RFC 7914) for passwords that people choose; it blocks for some 50 ms. ``sha256`` for random
            secrets of at least 128 bits, which :func:`generate_secret` makes; it takes a microsecond, so thousands
            of machines may log in at once. A chosen password with this hash can be guessed from the hash.

    Returns:
        ``$scrypt$ln=14,r=8,p=1$salt$key``, the PHC string format: salt and key in base64 without padding. Or
        ``sha256:`` and the digest in hexadecimal digits.

    Raises:
        ConfigurationError: the password is empty, too long or too short; or there is no such kind.
    """
    check_choice("hash_password", "kind", kind, ("scrypt", "sha256"))
    secret = _encode(password)
    if not 0 < len(secret) <= MAX_PASSWORD_BYTES:
        raise ConfigurationError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    if kind == "sha256":
        if len(password) < MIN_SECRET_LETTERS:
            raise ConfigurationError(
                f"a secret for sha256 has at least {MIN_SECRET_LETTERS} random letters: generate one, or use scrypt"
            )
        return write_digest(hashlib.sha256(secret).digest())
    salt = secrets.token_bytes(SALT_BYTES)
    return write_hash(COST_LOG2, salt, _derive(secret, salt, COST_LOG2))


def generate_secret() -> tuple[str, str]:
    """Make a random secret of 192 bits for a machine, and its hash for `password_hash`.

    Returns:
        The secret, 32 letters, digits, ``-`` and ``_``, to give to the machine; and ``sha256:`` with its digest.
    """
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return secret, hash_password(secret, kind="sha256")


def _encode(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # a client may send any text, and none is a fault


def _derive(password: bytes, salt: bytes, cost: int) -> bytes:
    memory = 128 * BLOCK * (1 << cost) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << cost, r=BLOCK, p=LANES, maxmem=memory, dklen=KEY_BYTES)


def _matches(password: bytes, text: str) -> bool:
    cost, salt, key = read_hash(text)
    return hmac.compare_digest(_derive(password, salt, cost), key)


class Passwords:
    """Verifies passwords without blocking the event loop: one slow hash for each service, password and hash.

    Callers that ask at the same time share it, and its answer is remembered for ten minutes, of 65,536 at most. Memory
    has digests under a key of this object, and neither passwords nor hashes. A changed `password_hash` gives another
    digest, so it applies at once. A service without a hash takes as long as one with a hash, so the time of an answer
    says nothing about which services there are; where both kinds of hash are in use, its name decides which of them it
    takes as long as.

    Sources take turns, and one whose passwords were wrong pauses before its next hash: a client with the right password
    does not wait behind a hundred that guess. At most 256 callers wait, and 16 of one source; the answer to others is
    False.
    """

    # A digest in `_asking` has a slow hash under way, whose end is the event; one in `_known` has an answer and the
    # time at which it expires, the oldest first. All answers last equally long, so the first one in `_known` is the one
    # that expires first, and it is evicted at capacity. `_callers` counts the callers of each source that want a hash;
    # `_failures` has the wrong passwords of a source lately, and the time of the last one, the oldest first.

    def __init__(self, on_full: Callable[[], object] = lambda: None) -> None:
        """Remember nothing.

        Args:
            on_full: called when a password is not checked, because too many callers wait.
        """
        self._key = secrets.token_bytes(32)
        self._dummy = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(KEY_BYTES)
        self._cost = COST_LOG2  # of the last slow hash, so that a service without one takes as long
        self._kinds: set[bool] = set()  # of the hashes so far: whether they are fast
        self._known: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._asking: dict[bytes, trio.Event] = {}
        self._threads = trio.CapacityLimiter(THREADS)
        self._free = THREADS
        self._waiting: FairQueue[_Turn] = FairQueue(MAX_WAITING)
        self._callers: Counter[bytes] = Counter()
        self._failures: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._on_full = on_full

    async def verify(self, password: str, password_hash: str | None, service: str = "", source: bytes = b"") -> bool:
        """Return whether the password is the one that was hashed; from memory if it was asked lately.

        After a cancel the thread ends by itself, and the next caller starts a new hash.

        Args:
            password: any text; one that is longer than 1,024 bytes is wrong.
            password_hash: a good one, as :func:`hash_password` returns it; None if no password is right.
            service: its name, or any other that a client gave.
            source: the key of the client's source; with none, only the bound of the whole queue applies.
        """
        secret = _encode(password)
        if len(secret) > MAX_PASSWORD_BYTES:
            await trio.lowlevel.checkpoint()
            return False
        known, stored, digest = self._look_up(secret, password_hash, service)
        if not digest:
            await trio.lowlevel.checkpoint()
            return bool(known)
        self._cost = read_hash(stored)[0]
        while True:
            matches = self._remembered(digest)
            if matches is not None:
                await trio.lowlevel.checkpoint()
                return matches and password_hash is not None
            if digest not in self._asking:
                return await self._ask(digest, secret, stored, source) and password_hash is not None
            await self._asking[digest].wait()

    def recall(self, password: str, password_hash: str | None, service: str = "") -> bool | None:
        """Return at once what :meth:`verify` would return without a slow hash; None if it would compute one.

        Some 5 µs.
        """
        secret = _encode(password)
        return False if len(secret) > MAX_PASSWORD_BYTES else self._look_up(secret, password_hash, service)[0]

    def _look_up(self, secret: bytes, password_hash: str | None, service: str) -> tuple[bool | None, str, bytes]:
        """Give the answer that needs no slow hash, or None; the hash to compare with; and the digest for memory.

        The digest is empty for a fast hash.
        """
        stored = self._stand_in(service) if password_hash is None else password_hash
        expected = read_digest(stored)
        if password_hash is not None:
            self._kinds.add(expected is not None)
        if expected is not None:
            matches = hmac.compare_digest(hashlib.sha256(secret).digest(), expected)
            return matches and password_hash is not None, stored, b""
        digest = hmac.digest(self._key, b"\0".join((_encode(service), stored.encode(), secret)), "sha256")
        known = self._remembered(digest)
        return None if known is None else known and password_hash is not None, stored, digest

    def _remembered(self, digest: bytes) -> bool | None:
        matches, expires_at = self._known.get(digest, (False, -inf))
        return matches if trio.current_time() < expires_at else None

    def _stand_in(self, service: str) -> str:
        """Give a hash for a service without one: of the kind that all others have, or else of the kind of its name."""
        fast = self._kinds == {True}
        if len(self._kinds) == 2:
            fast = hmac.digest(self._key, _encode(service), "sha256")[0] % 2 == 0
        return write_digest(self._dummy[1]) if fast else write_hash(self._cost, *self._dummy)

    async def _ask(self, digest: bytes, secret: bytes, password_hash: str, source: bytes) -> bool:
        if source and self._callers[source] >= MAX_WAITING_OF_SOURCE:
            self._on_full()
            await trio.lowlevel.checkpoint()
            return False
        done = self._asking[digest] = trio.Event()
        self._callers[source] += 1
        try:
            await trio.sleep_until(self._paused_until(source))
            if not await self._turn(source):
                self._on_full()
                return False
            try:
                matches = await trio.to_thread.run_sync(
                    partial(_matches, secret, password_hash), limiter=self._threads, abandon_on_cancel=True
                )
            finally:
                self._pass_on()
            self._known[digest] = matches, trio.current_time() + REMEMBERED_SECONDS
            self._known.move_to_end(digest)
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
            if not matches and source:
                self._failed(source)
        finally:
            self._callers[source] -= 1
            if not self._callers[source]:
                del self._callers[source]
            del self._asking[digest]
            done.set()
        return matches

    async def _turn(self, source: bytes) -> bool:
        """Wait for the source's turn; False if the queue is too full."""
        if self._free:
            self._free -= 1
            return True
        turn = _Turn()
        dropped = self._waiting.put(source, turn)
        if dropped is not None:
            dropped.dropped = True
            dropped.event.set()
        try:
            await turn.event.wait()
        except trio.Cancelled:
            self._waiting.remove(source, turn)
            if turn.event.is_set() and not turn.dropped:
                self._pass_on()
            raise
        return not turn.dropped

    def _pass_on(self) -> None:
        """Give the turn to the next source, if one waits."""
        turn = self._waiting.take()
        if turn is None:
            self._free += 1
        else:
            turn.event.set()

    def _paused_until(self, source: bytes) -> float:
        """Return when a source may have its next hash: later after each wrong password, until a minute without one."""
        count, at = self._failures.get(source, (0, -inf))
        if not count or trio.current_time() >= at + FORGET_SECONDS:
            return -inf
        return at + min(FIRST_PAUSE_SECONDS * 2.0 ** (count - 1), MAX_PAUSE_SECONDS)

    def _failed(self, source: bytes) -> None:
        now = trio.current_time()
        count, at = self._failures.pop(source, (0, -inf))
        self._failures[source] = min(count, 60) + 1 if now < at + FORGET_SECONDS else 1, now
        if len(self._failures) > CAPACITY:
            self._failures.popitem(last=False)


class _Turn:
    """A caller that waits for its turn."""

    __slots__ = ("dropped", "event")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.dropped = False
