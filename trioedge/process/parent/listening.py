"""Everything that the parent listens on: the groups of all edges, and the listeners of services that workers opened."""

import os
import socket
from collections.abc import Mapping
from typing import Any

from ...addresses.address import Address, parse_address
from ...addresses.steering import Steering
from ...edge import Edge
from ...errors import ListenError
from ..child.worker_sockets import ParentsSocket, WorkerSockets
from ..workers.inboxes import Inboxes, WorkerInboxes
from ..workers.orders import Orders
from ..workers.slots import Slots
from .sockets import SocketGroup, bind_admin, bind_groups


class ParentListening:
    """The listening sockets of one parent.

    Attributes:
        groups: of the edges' own addresses.
        admins: of their admin APIs.
        kept: the listeners of services: by edge and address, their descriptors.
        inboxes: by edge, where sessions are handed to the workers of their sources.
    """

    def __init__(self, edges: Mapping[str, Edge], workers: int, salt: int, log: Any) -> None:
        """Have no socket yet.

        Args:
            edges: by name.
            workers: how many accept.
            salt: of the steering.
            log: a logger.
        """
        self._edges, self._workers, self._salt, self._log = edges, workers, salt, log
        self._steered: dict[str, frozenset[int]] = {}  # by edge, the workers that its clients are steered to
        self._refused = False
        self.groups: list[SocketGroup] = []
        self.admins: list[SocketGroup] = []
        self.kept: dict[tuple[str, Address], int] = {}
        handing = [name for name, edge in edges.items() if edge.description.outline.source_at is not None]
        self.inboxes = {name: Inboxes(workers) for name in handing}

    def bind(self, passed: list[SocketGroup], admins: list[SocketGroup]) -> list[SocketGroup]:
        """Bind the addresses of every edge, but those that an earlier image has passed on.

        Args:
            passed: groups of the edges' addresses.
            admins: those of their admin APIs.

        Returns:
            The groups that no edge names any more; the caller closes them when the old workers do not use them.

        Raises:
            ListenError: an address cannot be had; nothing new stays bound.
        """
        left, left_admins = list(passed), list(admins)
        try:
            for name, edge in self._edges.items():
                if (admin := edge.description.admin_listener) is not None:
                    found = [each for each in admins if (each.edge, each.given) == (name, admin.listen)]
                    self.admins += found or bind_admin(name, admin)
                    left_admins = [each for each in left_admins if each not in found]
            for name, edge in self._edges.items():
                seconds, new = edge.description.keepalive_seconds, []
                for given in edge.listen:
                    found = [group for group in left if (group.edge, group.given) == (name, given)]
                    for group in found:
                        group.extend(self._workers, seconds)
                        left.remove(group)
                    self.groups += found
                    new += [] if found else [given]
                if new:
                    self.groups += bind_groups(name, new, self._workers, seconds)
        except BaseException:
            for group in (*self.groups, *self.admins):
                group.close()
            raise
        for group in left_admins:
            group.close()
        for group in (*self.groups, *self.admins):
            try:
                group.make_again()
            except ListenError as error:
                self._log.error("local socket is gone, and cannot be made again", error=str(error))
        self._try_steering()
        return left

    def _try_steering(self) -> None:
        """See whether the kernel takes the program, because workers count differently where it does not."""
        steering = Steering(self._workers, self._salt)
        try:
            for group in self.groups:
                group.try_steering(steering)
        except OSError as error:
            self._refused = True
            self._log.warning("clients are not steered, so every limit by source is shared", error=error.strerror)

    def is_steered(self, edge: str) -> bool:
        """Whether each address that connects to an edge over TCP has one worker."""
        tcp = [group for group in self.groups if group.edge == edge and group.family != socket.AF_UNIX]
        return not self._refused and all(group.steered for group in tcp)

    def serve(self, edge: str, workers: frozenset[int]) -> None:
        """Listen on the addresses of an edge, and steer their clients to some of its workers.

        Raises:
            ListenError: another process listens there since they were bound.
        """
        if self._steered.get(edge) == workers or not workers:
            return
        self._steered[edge] = workers
        steering = self._steering(edge).leaving_out({*range(self._workers)} - workers)
        for group in self.groups:
            if group.edge == edge:
                group.listen()
                if not self._refused:
                    self._steer(group, steering)

    def _steer(self, group: SocketGroup, steering: Steering) -> None:
        try:
            group.steer(steering)
        except OSError as error:  # of memory, because the kernel has taken such a program before
            self._log.error("clients are steered as before", address=str(group.address), error=error.strerror)

    def given(self) -> list[tuple[str, str]]:
        """Give each edge and address, as the edge has it, that the next image finds bound."""
        return [(group.edge, group.given) for group in (*self.groups, *self.admins)]

    def listens(self, edge: str) -> bool:
        """Whether clients of an edge can connect."""
        return edge in self._steered

    def keep(self, edge: str, address: str, fd: int) -> None:
        """Keep a listener of a service that a worker has opened; if the edge has ended, or is no more, close it.

        Raises:
            ConfigurationError: it is no address.
        """
        self.forget(edge, address)
        if edge in self._edges:
            self.kept[edge, parse_address(address, listening=True)] = fd
        else:
            os.close(fd)

    def forget(self, edge: str, address: str) -> None:
        """Close a listener that no service has any more."""
        fd = self.kept.pop((edge, parse_address(address, listening=True)), None)
        if fd is not None:
            os.close(fd)

    def for_worker(self, number: int, orders: Orders) -> dict[str, WorkerSockets]:
        """Give a worker, in its own process, its sockets by edge; the others are closed there."""
        found = {}
        for name in self._edges:
            mine = [group for group in self.groups if group.edge == name]
            own = [
                ParentsSocket(sock, group.address, group.source)
                for group in mine
                for sock in group.of(number, self._workers)
            ]
            kept = {address: fd for (edge, address), fd in self.kept.items() if edge == name}
            sockets = WorkerSockets(
                name, own, orders, number=number, workers=self._workers, steered=self.is_steered(name)
            )
            for address, fd in kept.items():
                if sockets.has(address):
                    sockets.inherit(address, fd)
                else:
                    os.close(fd)
            found[name] = sockets
        for group in self.admins:
            group.close_copies()
        used = {id(each.sock) for sockets in found.values() for each in sockets.own}
        for group in self.groups:
            for sock in group.sockets:
                if id(sock) not in used:
                    sock.close()
        return found

    def sources_for(
        self, number: int, slots: Slots, column: int, stall_seconds: float
    ) -> dict[str, WorkerInboxes]:  # fmt: skip
        """Give a worker, in its own process, the inboxes by edge; see :meth:`Inboxes.of`."""
        return {
            name: inboxes.of(number, self._steering(name), slots, column, stall_seconds)
            for name, inboxes in self.inboxes.items()
            if name in self._edges
        }

    def _steering(self, edge: str) -> Steering:
        return Steering(self._workers, self._salt, self._edges[edge].description.source_keys)

    def for_control(self) -> dict[str, list[ParentsSocket]]:
        """Give the control process, in its own process, the sockets of the admin APIs by edge; others are closed."""
        for group in self.groups:
            group.close_copies()
        for fd in self.kept.values():
            os.close(fd)
        for inboxes in self.inboxes.values():
            inboxes.close()
        found: dict[str, list[ParentsSocket]] = {}
        for group in self.admins:
            found.setdefault(group.edge, []).append(ParentsSocket(group.sockets[0], group.address))
        return found

    def close_edge(self, edge: str) -> None:
        """Stop listening for one edge."""
        if (inboxes := self.inboxes.pop(edge, None)) is not None:
            inboxes.close()
        for group in [each for each in self.groups if each.edge == edge]:
            group.close()
            self.groups.remove(group)
        for name, address in [each for each in self.kept if each[0] == edge]:
            os.close(self.kept.pop((name, address)))

    def close(self) -> None:
        """Stop listening: the kernel resets what waits, once the workers have closed their copies too."""
        for group in self.groups:
            group.close()
        for fd in self.kept.values():
            os.close(fd)
        self.groups, self.kept = [], {}

    def close_admins(self) -> None:
        """Stop listening for the admin APIs, when the control process has ended."""
        for group in self.admins:
            group.close()
        self.admins = []


def hub_socket() -> socket.socket:
    """Open the socket on which the control process accepts the workers; its name is the kernel's choice."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind("")  # in the abstract namespace (unix(7), autobind), so that no file is left behind
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot make the socket of the control process: {error.strerror}") from None
    return sock
