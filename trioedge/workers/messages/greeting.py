"""The greeting of a worker that connects to the control process: a secret, raw, and then who it is.

The secret comes first, because nothing of a stranger may be unpickled: any user of the machine can connect to a socket
in the abstract namespace.

| the control process has read | event | then |
| --- | --- | --- |
| nothing | the secret | the worker is to say who it is |
| nothing | 32 other bytes, or 2 s | hang up |
| the secret | a hello that can be read | answer with a welcome: the worker is connected |
| the secret | anything else, or 2 s | hang up |
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import attrs
import trio

from ...errors import quote
from .frames import ChannelError, Frames, pack

T = TypeVar("T")

SECRET_BYTES: Final = 32

GREETING_SECONDS: Final = 2.0
"""For the whole greeting."""

PROTOCOL: Final = 1
"""The version of the messages but for those of snapshots, which have a version of their own."""


@attrs.frozen
class Hello:
    """A worker that connects.

    Attributes:
        number: of the worker, from 0.
        column: of its process in shared tables; no other live process has it.
        generation: how many restarts came before it.
        pid: of its process.
    """

    number: int
    column: int
    generation: int
    pid: int


@attrs.frozen
class Welcome:
    """The control process that a worker has connected to.

    Attributes:
        run: a text that no other run of a control process has.
        first: the first incarnation that it gives to services; others are those of an earlier control process.
    """

    run: str
    first: int


async def greet(frames: Frames, secret: bytes, hello: Hello) -> Welcome:
    """Say who this worker is, and return the welcome.

    Raises:
        ChannelError: the control process hung up, or did not answer within 2 s.
    """
    with trio.move_on_after(GREETING_SECONDS):
        await frames.send(secret + pack({"protocol": PROTOCOL, **attrs.asdict(hello)}))
        return _read(Welcome, await frames.receive())
    raise ChannelError(f"the control process did not answer within {GREETING_SECONDS:g} s")


async def welcome(frames: Frames, secret: bytes, answer: Welcome) -> Hello | None:
    """Read the greeting of a worker, and answer it; None for a stranger, or one that does not greet within 2 s."""
    with trio.move_on_after(GREETING_SECONDS):
        try:
            if not hmac.compare_digest(await frames.receive_exactly(SECRET_BYTES), secret):
                return None
            hello = _read(Hello, await frames.receive())
            await frames.send(pack({"protocol": PROTOCOL, **attrs.asdict(answer)}))
        except ChannelError:
            return None
        return hello
    return None


def _read(kind: type[T], said: object) -> T:
    """Read the fields of a greeting; one of another version may have more."""
    names = [field.name for field in attrs.fields(cast(Any, kind))]
    if not isinstance(said, Mapping) or said.get("protocol") != PROTOCOL or not all(name in said for name in names):
        raise ChannelError(f"the peer greets with {quote(said)}, which is no greeting of this version")
    return kind(**{name: said[name] for name in names})
