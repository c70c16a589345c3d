"""The demo's edge: seven stages, written as a user would write them."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

import trioedge as te

POLITE: Final = "127.0.0.2"
BURSTING: Final = "127.0.0.3"
STAYING: Final = "127.0.0.4"
WATCHING: Final = "127.0.0.5"
STRANGERS: Final = "127.0.6."
"""The prefix of the strangers' addresses; each stranger has another one."""

UNWANTED: Final = "127.0.0.66"

SERVICES: Final = {
    POLITE: "web",
    BURSTING: "crawler",
    STAYING: "chat",
    WATCHING: "video",
}

CHECK_SECONDS: Final = 0.3
"""How long a device check takes in the demo; no session waits for it."""

Check: TypeAlias = Callable[[str, str], Awaitable[te.DeviceVerdict]]


async def check_device(service: str, device: str) -> te.DeviceVerdict:  # noqa: ARG001 - the signature of a check
    """Deny strangers and accept all other devices, after a while; in place of a control plane."""
    await trio.sleep(CHECK_SECONDS)
    return te.DeviceVerdict(not device.startswith(STRANGERS))


def service_of(session: te.Session) -> str:
    """Give the service of a client, by its address; a real edge takes a server name or a token."""
    return "chat" if session.source.startswith(STRANGERS) else SERVICES.get(session.source, "guest")


@te.middleware
async def at_most_a_minute(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """End a session after a minute."""
    with trio.move_on_after(60):
        return await call_next(session)
    return te.Completed(te.Reason.DEADLINE, "a minute")


def build(listen: str, control: te.ControlPlane, *, check: Check | None = None, admin: str | None = None) -> te.Edge:
    """Make the edge: six decisions, which run before a session has a task, and a middleware.

    Args:
        listen: its address.
        control: its control plane.
        check: checks devices; None if the control plane does.
        admin: the address of its admin API, if it has one.
    """
    return te.Edge(
        listen,
        stages=[
            te.Identify(service_of),
            te.SessionGate(),
            te.SourceMatch(accept=["127.0.0.0/8"], reject=[UNWANTED]),
            te.ConcurrencyLimit(6, per="source"),
            te.DeviceLimit(check=check),
            te.Pacing(),
            at_most_a_minute,
        ],
        endpoint=te.Forward(allow=["loopback"]),
        control=control,
        admin=admin,
        report_seconds=1.0,
    )
