"""Passwords: a slow hash once, in a thread; after that a keyed digest answers from memory."""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from functools import partial
from math import inf
from typing import Final

import trio

from ..errors import ConfigurationError
from .credentials import KEY_BYTES, SALT_BYTES, read_hash

COST_LOG2: Final = 14
"""scrypt's N is two to this power: 16 MiB and some 50 ms."""

BLOCK, LANES = 8, 1

REMEMBERED_SECONDS: Final = 600.0
CAPACITY: Final = 65_536
THREADS: Final = 2
MAX_PASSWORD_BYTES: Final = 1024


def hash_password(password: str) -> str:
    """Hash a password for `password_hash` (scrypt, RFC 7914). Blocks for some 50 ms.

    Returns:
        ``scrypt:14:salt:key``, salt and key in base64.

    Raises:
        ConfigurationError: the password is empty, or longer than 1,024 bytes.
    """
    secret = _encode(password)
    if not 0 < len(secret) <= MAX_PASSWORD_BYTES:
        raise ConfigurationError(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    salt = secrets.token_bytes(SALT_BYTES)
    key = _derive(secret, salt, COST_LOG2)
    return f"scrypt:{COST_LOG2}:{base64.b64encode(salt).decode()}:{base64.b64encode(key).decode()}"


def _encode(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # a client may send anything, and nothing is a fault


def _derive(password: bytes, salt: bytes, cost: int) -> bytes:
    memory = 128 * BLOCK * (1 << cost) + (1 << 20)
    return hashlib.scrypt(password, salt=salt, n=1 << cost, r=BLOCK, p=LANES, maxmem=memory, dklen=KEY_BYTES)


def _matches(password: bytes, text: str) -> bool:
    cost, salt, key = read_hash(text)
    return hmac.compare_digest(_derive(password, salt, cost), key)


class Passwords:
    """Verifies passwords without holding the loop. One slow hash per password and hash, however many ask at once.

    What is remembered, for ten minutes and of 65,536 at most, is a digest under a key that lives and dies with the
    process; neither passwords nor hashes are kept. A changed `password_hash` is another digest, so it holds at once.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        # Answers by digest and until when each holds, the oldest first. All hold equally long, so the one that is
        # evicted at capacity is the one that expired or will expire first.
        self._known: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._asking: dict[bytes, trio.Event] = {}
        self._threads = trio.CapacityLimiter(THREADS)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Say whether the password is the one that was hashed; from memory if it was asked before.

        After a cancel the thread ends by itself, and the next who asks begins anew.
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
