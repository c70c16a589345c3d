"""Edges with a control plane, as the tests of whole edges use them."""

import hashlib
from base64 import b64encode
from typing import Any

import trio

import trioedge as te
from trioedge.testing.rehearsal import Client

NAMES = {"192.0.2.1": "a", "192.0.2.2": "b", "192.0.2.3": "c", "2001:db8::1": "a"}


def by_source(session: te.Session) -> str | None:
    return NAMES.get(session.source)


def make_edge(control: te.ControlPlane | None, *stages: object, **changes: Any) -> te.Edge:
    """Make an edge that names a client's service by its address, and whose stages read the policy."""
    stages = stages or (te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service"), te.Pacing())
    endpoint = changes.pop("endpoint", te.Forward("tcp://192.0.2.9:6379"))
    return te.Edge("tcp://127.0.0.1:6380", [te.Identify(by_source), *stages], endpoint, control=control, **changes)


def services(**policies: te.Policy | te.Settings) -> te.MemoryControl:
    return te.MemoryControl(policies)


def quick_hash(password: str) -> str:
    """Hash a password at no cost; the real hash takes 50 ms."""
    salt = bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1, dklen=32)
    return f"scrypt:1:{b64encode(salt).decode()}:{b64encode(key).decode()}"


@te.middleware
async def dies_slowly(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Need five seconds to end a session that is cut."""
    try:
        return await call_next(session)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)


async def exchange(client: Client, data: bytes = b"ping") -> None:
    await client.send(data)
    assert await client.receive(len(data)) == data


async def is_over(client: trio.SocketStream) -> bool:
    """Tell whether the edge closed the connection, in order or with a reset."""
    try:
        return await client.receive_some() == b""
    except trio.BrokenResourceError:
        return True
