"""Passwords: one slow hash in a thread, then a keyed digest answers from memory."""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from functools import partial
from math import inf
from typing import Final

import trio

from ..errors import ConfigurationError
from .credentials import BLOCK, KEY_BYTES, LANES, SALT_BYTES, read_hash, write_hash

COST_LOG2: Final = 14
"""The logarithm of scrypt's N to base 2: 16 MiB and some 50 ms."""

REMEMBERED_SECONDS: Final = 600.0
CAPACITY: Final = 65_536
THREADS: Final = 2
MAX_PASSWORD_BYTES: Final = 1024


def hash_password(password: str) -> str:
    """Hash a password for `password_hash` (scrypt, RFC 7914). Blocks for some 50 ms.

    Returns:
        ``$scrypt$ln=14,r=8,p=1$salt$key``, the PHC string format: salt and key in base64 without padding.

    Raises:
        ConfigurationError: the password is empty, or longer than 1,024 bytes.
    """
    secret = _encode(password)
    if not 0 < len(secret) <= MAX_PASSWORD_BYTES:
        raise ConfigurationError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    salt = secrets.token_bytes(SALT_BYTES)
    return write_hash(COST_LOG2, salt, _derive(secret, salt, COST_LOG2))


def _encode(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # a client may send any text, and none is a fault


def _derive(password: bytes, salt: bytes, cost: int) -> bytes:
    memory = 128 * BLOCK * (1 << cost) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << cost, r=BLOCK, p=LANES, maxmem=memory, dklen=KEY_BYTES)


def _matches(password: bytes, text: str) -> bool:
    cost, salt, key = read_hash(text)
    return hmac.compare_digest(_derive(password, salt, cost), key)


class Passwords:
    """Verifies passwords without blocking the event loop: one slow hash for each pair of password and hash.

    Callers that ask at the same time share it, and its answer is remembered for ten minutes, of 65,536 pairs at most.
    Memory has digests under a key of this object, and neither passwords nor hashes. A changed `password_hash` gives
    another digest, so it applies at once.
    """

    # A digest in `_asking` has a slow hash under way, whose end is the event; one in `_known` has an answer and the
    # time at which it expires, the oldest first. All answers last equally long, so the first one in `_known` is the one
    # that expires first, and it is evicted at capacity.

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._asking: dict[bytes, trio.Event] = {}
        self._threads = trio.CapacityLimiter(THREADS)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Return whether the password is the one that was hashed; from memory if it was asked lately.

        After a cancel the thread ends by itself, and the next caller starts a new hash.

        Args:
            password: any text; one that is longer than 1,024 bytes is wrong.
            password_hash: a good one, as :func:`hash_password` returns it; None if no password is right.
        """
        secret = _encode(password)
        if password_hash is None or len(secret) > MAX_PASSWORD_BYTES:
            await trio.lowlevel.checkpoint()
            return False
        digest = hmac.digest(self._key, password_hash.encode() + b"\0" + secret, "sha256")
        while True:
            matches, expires_at = self._known.get(digest, (False, -inf))
            if trio.current_time() < expires_at:
                await trio.lowlevel.checkpoint()
                return matches
            if digest not in self._asking:
                return await self._ask(digest, secret, password_hash)
            await self._asking[digest].wait()

    async def _ask(self, digest: bytes, secret: bytes, password_hash: str) -> bool:
        done = self._asking[digest] = trio.Event()
        try:
            matches = await trio.to_thread.run_sync(
                partial(_matches, secret, password_hash), limiter=self._threads, abandon_on_cancel=True
            )
            self._known[digest] = matches, trio.current_time() + REMEMBERED_SECONDS
            self._known.move_to_end(digest)
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        finally:
            del self._asking[digest]
            done.set()
        return matches
