"""The listening sockets of all edges, which the parent keeps open for its whole life.

An address of TCP has a group: one socket for each worker, with SO_REUSEPORT, and a program of the kernel that gives
each source's connections to one of them. A worker that dies leaves its socket open in the parent, so connections wait
in its backlog for the successor. No socket of a group is ever closed while the edge serves, because the kernel would
give its index to the last one.

A local socket, and one that the service manager has passed on, is one for all workers.

| a group | event | then |
| --- | --- | --- |
| bound | a worker is ready, and the others are, or have had 2 s | listens, steered to those that are ready |
| listens | a worker is ready, silent, or dead | the same, steered to those that are ready |
| listens | a restart with more workers | has more sockets |
| listens | a restart with fewer workers | keeps them; worker i has sockets i, i + workers and so on |
| any | the edge drains, or a restart without the address | closed |
"""

import socket
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from ...addresses.address import Address, parse_address
from ...addresses.steering import Steering
from ...admin.server import ONLY_ITS_USER
from ...edge import Edge
from ...loop.sockets import keep_alive, no_delay
from ...loop.steering import steer
from ...serving.admin_listener import Admin
from ...serving.listening.bind import Bound, LocalSocket, TcpSocket, bind, listen_error
from ...serving.listening.inherited import PassedSocket
from .restart import socket_of


@attrs.define(eq=False)
class SocketGroup:
    """The sockets of one address of an edge.

    Attributes:
        edge: its name.
        given: the address as the edge has it.
        address: the same, its port filled in.
        sockets: one for each worker, or one for all.
        local: of a local socket: its file, which is made when it listens; None for others.
        family: of TCP.
        where: its socket address; None for a group of the service manager's, which has as many as it has.
        v6only: whether it leaves IPv4 clients to another address.
        listens: whether clients can connect.
        steered: whether each worker has a socket of its own.
    """

    edge: str
    given: str
    address: Address
    sockets: list[socket.socket]
    local: LocalSocket | None = None
    family: int = socket.AF_UNIX
    where: Any = None
    v6only: bool = False
    listens: bool = False
    steered: bool = True

    @property
    def source(self) -> Address:
        """The address that sessions have as their listener."""
        return parse_address(self.given, listening=True) if self.where is None and self.local is None else self.address

    def of(self, number: int, workers: int) -> list[socket.socket]:
        """Give the sockets that a worker accepts on."""
        return self.sockets[number::workers] if self.steered else self.sockets

    def extend(self, workers: int, keepalive_seconds: float) -> None:
        """Have a socket for each worker; those that are too many stay.

        Raises:
            ListenError: the system refuses one.
        """
        while self.where is not None and len(self.sockets) < workers:
            try:
                sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                self.sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if self.family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.v6only)
                no_delay(sock)  # accepted sockets inherit both
                if keepalive_seconds:
                    keep_alive(sock, keepalive_seconds)
                sock.bind(self.where)
                if self.listens:
                    sock.listen(socket.SOMAXCONN)
            except OSError as error:
                raise listen_error(self.address, error) from None

    def listen(self) -> None:
        """Listen on every socket, in order: the kernel counts them so. A second call does nothing.

        Raises:
            ListenError: another process has been quicker.
        """
        if self.listens:
            return
        if self.local is not None:
            self.local.listen()
        else:
            for sock in self.sockets:
                try:
                    sock.listen(socket.SOMAXCONN)
                except OSError as error:
                    raise listen_error(self.address, error) from None
        self.listens = True

    def make_again(self) -> None:
        """Make the file of a local socket again that is gone from its path; new clients find the new one.

        Raises:
            ListenError: something else has the path; the old socket stays.
        """
        if self.local is None or not self.listens or self.local.is_there:
            return
        local = LocalSocket(self.address, mode=self.local.mode)
        try:
            local.listen()
        except BaseException:
            local.close()
            raise
        self.close_copies()
        self.local, self.sockets = local, [local.sock]

    def try_steering(self, steering: Steering) -> None:
        """Have the kernel take a program before the group listens; :meth:`steer` replaces it.

        Raises:
            OSError: the kernel refuses it.
        """
        if self.steered and not self.listens:
            steer(self.sockets[0], steering.program())

    def steer(self, steering: Steering) -> None:
        """Have the kernel give each source's connections to one worker.

        Raises:
            OSError: the kernel refuses the program.
        """
        if self.steered and self.listens:
            steer(self.sockets[0], steering.program())

    def passed(self) -> dict[str, Any]:
        """Describe it for the next image of the parent."""
        return {
            "edge": self.edge, "given": self.given, "address": str(self.address), "family": int(self.family),
            "where": self.where, "v6only": self.v6only, "listens": self.listens, "steered": self.steered,
            "sockets": [sock.fileno() for sock in self.sockets], "made": self.local and self.local.made,
            "mode": self.local and self.local.mode,
        }  # fmt: skip

    @classmethod
    def adopted(cls, passed: dict[str, Any]) -> "SocketGroup":
        """Make it again in the next image."""
        sockets = [socket_of(fd) for fd in passed.pop("sockets")]
        address, where = parse_address(passed.pop("address"), listening=True), passed.pop("where")
        is_local = passed["family"] == socket.AF_UNIX and not passed["given"].startswith("systemd:")
        mode, made = passed.pop("mode"), passed.pop("made")
        local = LocalSocket.adopted(address, sockets[0], mode, made) if is_local else None
        return cls(
            address=address, sockets=sockets, local=local, where=None if where is None else tuple(where), **passed
        )

    def close_copies(self) -> None:
        """Close the copies of a child, which has no use for them."""
        for sock in self.sockets:
            sock.close()

    def close(self) -> None:
        """Close every socket, and remove the file of a local one."""
        if self.local is not None:
            self.local.close()
        for sock in self.sockets:
            sock.close()


def bind_groups(edge: str, given: Sequence[str], workers: int, keepalive_seconds: float) -> list[SocketGroup]:
    """Bind addresses of an edge for several workers; a name with several addresses has a group for each.

    Args:
        edge: its name.
        given: the addresses.
        workers: how many sockets a group of TCP has.
        keepalive_seconds: as in :func:`bind`.

    Raises:
        ListenError: an address cannot be had; nothing stays bound.
    """
    addresses = [parse_address(each, listening=True) for each in given]
    # Without SO_REUSEPORT first: with it, two edges of one user that are given one address would share its clients.
    found = bind(addresses, keepalive_seconds=keepalive_seconds)
    places = [(each, each.sock.family, each.sock.getsockname()) for each in found]
    for each in found:
        if isinstance(each, TcpSocket):
            each.close()
    groups: list[SocketGroup] = []
    try:
        for text, bound, family, where in zip(
            _owners(addresses, given, found), *zip(*places, strict=True), strict=True
        ):
            if isinstance(bound, PassedSocket):
                former = groups[-1] if groups and groups[-1].given == text else None
                if former is None or former.address != bound.address:
                    groups.append(
                        SocketGroup(edge, text, bound.address, [bound.sock], family=family, listens=True, steered=False)
                    )
                else:  # ReusePort= in the unit: one of several sockets of one address
                    former.sockets.append(bound.sock)
                    former.steered = len(former.sockets) >= workers
            elif isinstance(bound, LocalSocket):
                groups.append(SocketGroup(edge, text, bound.address, [bound.sock], bound, steered=False))
            else:
                alone = family == socket.AF_INET6 and any(
                    other is not bound and other.address.port == bound.address.port and kind == socket.AF_INET
                    for other, kind, _ in places
                )
                groups.append(SocketGroup(edge, text, bound.address, [], family=family, where=where, v6only=alone))
                groups[-1].extend(workers, keepalive_seconds)
    except BaseException:
        for group in groups:
            group.close()
        raise
    return groups


def bind_admin(edge: str, admin: Admin) -> list[SocketGroup]:
    """Listen for the admin API of an edge: one socket for the control processes, one after the other.

    Raises:
        ListenError: the address cannot be had.
    """
    if admin.address.scheme == "unix":
        local = LocalSocket(admin.address, mode=ONLY_ITS_USER)
        groups = [SocketGroup(edge, admin.listen, admin.address, [local.sock], local, steered=False)]
    else:
        groups = bind_groups(edge, [admin.listen], 1, 0)
    for group in groups:
        group.listen()
    return groups


def try_addresses(edges: Mapping[str, Edge], bound: Collection[tuple[str, str]]) -> None:
    """Bind the addresses of edges, and close them again, in a trial; those of systemd are the parent's.

    Args:
        edges: by name.
        bound: edges and addresses that the next image finds bound.

    Raises:
        ListenError: an address cannot be had.
    """
    for name, edge in edges.items():
        admin = edge.description.admin_listener
        given = [*edge.listen, *([] if admin is None or admin.address.scheme == "unix" else [admin.listen])]
        new = [each for each in given if (name, each) not in bound and not each.startswith("systemd:")]
        for group in bind_groups(name, new, 1, 0) if new else ():
            group.close()


def _owners(addresses: Sequence[Address], given: Sequence[str], found: Sequence[Bound]) -> list[str]:
    """Give the text of each bound socket's address as it was given; a name may have several sockets, in a row."""
    owners, index = list[str](), 0
    for number, each in enumerate(found):
        several = each.given.scheme in ("tcp", "systemd")
        same = number and each.given == found[number - 1].given and several
        index += 0 if same or not number else 1
        owners.append(given[index])
    assert index == len(addresses) - 1
    return owners
