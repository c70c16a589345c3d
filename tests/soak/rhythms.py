"""Scripts of sessions: who sends how much in which pieces, who reads how slowly, and how each side ends.

Pure: a script is drawn from a seed, and says what each side must have got when both are done.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

SIZES = (0, 1, 100, 4_095, 4_096, 65_535, 65_536, 65_537, 131_072, 300_000, 1_000_000)
LARGE = 6_000_000
"""More than the kernel takes for a reader that rests: drawn now and then, and often for a slow reader."""
PIECES = (1, 7, 64, 1_400, 16_384, 65_536, 262_144)
HEAD = 8
"""Bytes in front of what a client sends: the number of the script, by which the upstream finds it."""
MAX_PIECES = 300
"""Sends of one side in one session at most, so that a byte at a time takes no minute."""


class ClientEnd(Enum):
    """How a client leaves."""

    FINISH = "finish"
    """Half-closes behind its last byte, reads to the end."""
    RESET = "reset"
    """Resets once it has sent what it sends."""
    CLOSE = "close"
    """Closes both ways once it has sent what it sends; what comes then meets a reset."""
    NEVER_READ = "never read"
    """Reads nothing, and resets after a while."""


class ServerEnd(Enum):
    """How an upstream leaves."""

    FINISH = "finish"
    """Sends while it reads, half-closes behind its last byte, reads to the end."""
    ANSWER = "answer"
    """Sends once it has read to the end."""
    EARLY = "early"
    """Sends all and half-closes before it reads the first byte behind the head."""
    RESET = "reset"
    """Resets once it has sent what it sends."""


@dataclass(frozen=True)
class Script:
    """One session. Sizes are bytes, pauses seconds."""

    number: int
    up: int
    down: int
    up_piece: int
    down_piece: int
    client_pause: float
    server_pause: float
    slow_client: bool
    slow_server: bool
    client_end: ClientEnd
    server_end: ServerEnd

    @property
    def orderly(self) -> bool:
        """Whether both sides end in order, so that each must get every byte and then the end."""
        return self.client_end is ClientEnd.FINISH and self.server_end is not ServerEnd.RESET


def draw(number: int, chance: random.Random, *, orderly: bool = False, longest_pause: float = 0.05) -> Script:
    """Draw the script of session `number`; `orderly` draws one in which both sides end in order."""
    slow_client, slow_server = chance.random() < 0.15, chance.random() < 0.15
    up, down = (
        LARGE if chance.random() < (0.3 if slow else 0.02) else chance.choice(SIZES)
        for slow in (slow_server, slow_client)
    )
    client_end = ClientEnd.FINISH
    server_end = chance.choice((ServerEnd.FINISH, ServerEnd.ANSWER, ServerEnd.EARLY))
    if not orderly:
        client_end = chance.choices(list(ClientEnd), (6, 1, 1, 1))[0]
        server_end = chance.choices((server_end, ServerEnd.RESET), (6, 1))[0]

    def pause() -> float:
        return chance.uniform(0, longest_pause) if chance.random() < 0.3 else 0.0

    return Script(
        number, up, down, _piece(up, chance), _piece(down, chance), pause(), pause(), slow_client, slow_server,
        client_end, server_end,
    )  # fmt: skip


def _piece(size: int, chance: random.Random) -> int:
    return max(chance.choice(PIECES), -(-size // MAX_PIECES))


class Pattern:
    """Bytes that differ from session to session and from place to place: a shift, a gap or a foreign byte shows."""

    LENGTH = 65_521
    """Prime, so that no buffer size is a whole number of it."""

    def __init__(self, seed: int = 20) -> None:
        block = random.Random(seed).randbytes(self.LENGTH)
        self._blocks = block * 8

    def piece(self, stream: int, offset: int, size: int) -> bytes:
        """The bytes from `offset` on of stream number `stream`; at most 7 blocks of them."""
        start = (stream * 7_919 + offset) % self.LENGTH
        return self._blocks[start : start + size]


class Check:
    """Compares what arrives with what was sent, piece by piece."""

    def __init__(self, pattern: Pattern, stream: int) -> None:
        self._pattern, self._stream = pattern, stream
        self.count = 0
        self.wrong: int | None = None
        """The first place whose byte is not what was sent."""

    def take(self, data: bytes) -> None:
        """Look at what arrived next."""
        right = self._pattern.piece(self._stream, self.count, len(data))
        if data != right and self.wrong is None:
            pairs = enumerate(zip(data, right, strict=False))
            self.wrong = self.count + next((at for at, (one, other) in pairs if one != other), len(right))
        self.count += len(data)
