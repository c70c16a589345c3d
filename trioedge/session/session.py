"""A session: one client from accept to close, as the stages see it. It has no socket."""

from inspect import iscoroutine
from typing import TYPE_CHECKING, Final

from ..addresses.address import normalise_source
from ..errors import ENDS, ConfigurationError, quote
from .edge_fields import use_c_getters
from .fields import CleanUp, SessionFields, above_zero, misread
from .verdict import Outcome, Reason, Reject

if TYPE_CHECKING:
    from ..services.service import Service

MAX_DEVICE_LETTERS: Final = 255

ANOTHER_SERVICE: Final = Reject(Reason.SERVICE, "its listener is that of another service")

TOO_MANY_SESSIONS: Final = Reject(Reason.CONCURRENCY, "as many sessions as its service may have are live")


class Session(SessionFields):
    """One client of the edge, from accept to close.

    Stages may write `service`, `device`, `destination`, `idle_seconds`, `half_closed_seconds`, `allowance`, `state`
    and, in a middleware, `stream`. Each checks its value at the assignment. Everything else is read-only.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Session({self._id}, service={self._service.name!r}, source={self._source!r}, {self.phase})"

    @property
    def service(self) -> "Service":
        """The tenant that the session counts for; before a stage names one, the edge's unnamed service.

        A stage writes a name or a service, until the endpoint begins. Once it returns, one that is unknown or disabled
        is refused with reason ``service``; else ``expired``, ``quota`` or, by its `max_sessions`, ``concurrency``.
        """
        return self._service

    @service.setter
    def service(self, service: "Service | str") -> None:
        if self._began:
            raise RuntimeError("session.service is final once the endpoint has begun: name it in a stage")
        found = self._home.find(service)
        if not isinstance(found, Reject) and found is not self._service:  # noqa: SIM102 - too long for one line
            if self._by_listener or found.live >= found.max_sessions or (found.everywhere and found.is_full()):
                found = ANOTHER_SERVICE if self._by_listener else TOO_MANY_SESSIONS
        self._refusal = found if isinstance(found, Reject) else None
        if isinstance(found, Reject) or found is self._service:
            return
        if self._index is None:
            self.enter(found)
        else:
            self._index.move(self, found)
        if self._follower is not None:
            self.follow(None)

    @property
    def device(self) -> str | None:
        """The device that a device limit counts it under, at most 255 letters; None where none does."""
        return self._device

    @device.setter
    def device(self, device: str | None) -> None:
        if device is not None and not (isinstance(device, str) and len(device) <= MAX_DEVICE_LETTERS):
            raise TypeError(f"session.device = {quote(device)} must be text of at most 255 letters, or None")
        if device is not None and type(device) is not str:
            device = str.__str__(device)  # it is a key, and a subclass may have a hash of its own
        if self._index is None:
            self._device = device
        else:
            self._index.identify(self, device)

    @property
    def phase(self) -> str:
        """``deciding``, ``handshaking``, ``handling``, ``connecting``, ``relaying`` or ``ended``."""
        if self._outcome is not None:
            return "ended"
        if self._carrier is not None:
            return self._carrier.phase
        return "deciding" if self._scope is None else "handling"

    @property
    def pacing(self) -> str:
        """What keeps its rates: ``kernel``, ``timeline``, or an empty text for neither."""
        return "" if self._carrier is None else self._carrier.pacing

    @property
    def bytes_up(self) -> int:
        """Bytes handed to the upstream so far; still there when the session has ended."""
        return 0 if self._carrier is None else self._carrier.bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes handed to the client so far; still there when the session has ended."""
        return 0 if self._carrier is None else self._carrier.bytes_down

    def set_source(self, address: str, port: int = 0) -> None:
        """Change the client's address to the one that a balancer names; `peer` stays.

        Args:
            address: an IPv4 or IPv6 address in any spelling, or ``unix``.
            port: the client's port; 0 where it is not known.

        Raises:
            ConfigurationError: `address` is none.
            TypeError: `address` is no text, or `port` no whole number from 0 to 65,535.
        """
        if not isinstance(address, str):
            raise TypeError(f"session.set_source({quote(address)}) must be an IP address as text, or 'unix'")
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65_535:
            raise TypeError(f"session.set_source(port={quote(port)}) must be a whole number from 0 to 65535")
        try:
            source, packed = normalise_source(address)
        except ConfigurationError as error:
            raise misread("session.set_source()", error) from None
        if self._peer is None:
            self._peer = self._source, self._source_bytes, self._source_key
        if self._index is None:
            self.come_from(source, packed, port)
        else:
            self._index.move_source(self, source, packed, port)

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Apply other rates from now on, also to bytes that wait already.

        Args:
            down_rate: bytes a second to the client, above 0; infinity for no limit.
            up_rate: the same to the upstream.

        Raises:
            TypeError: one of them is no number above 0.
        """
        down_rate = above_zero("session.pace: down_rate", down_rate, "bytes a second")
        up_rate = above_zero("session.pace: up_rate", up_rate, "bytes a second")
        self._down_rate, self._up_rate = down_rate, up_rate
        if self._carrier is not None:
            self._carrier.pace(down_rate, up_rate)

    def defer(self, clean_up: CleanUp) -> None:
        """Have `clean_up(session)` called when the session ends, however it ends; last in, first out.

        A bound method does: ``session.defer(self._leave)``. It must not wait and should not raise; one that
        raises is logged and the others still run. Costs a list append.

        Raises:
            TypeError: `clean_up` is not callable.
        """
        if not callable(clean_up):
            raise TypeError(f"session.defer({quote(clean_up)}) must be a function of the session: pass it without ()")
        if self._deferred is None:
            self._deferred = [clean_up]
        else:
            self._deferred.append(clean_up)

    def cut(self, reason: Reason, detail: str = "") -> bool:
        """End the session now, wherever it is: free the sockets, then cancel the task if it has one.

        Args:
            reason: why.
            detail: the details for people, for its outcome. Never a secret.

        Returns:
            False if it had ended, or was being cut already.

        Raises:
            TypeError: `reason` is no :class:`Reason`, or `detail` is no text.
        """
        if not isinstance(reason, Reason):
            raise TypeError(f"session.cut({quote(reason)}) needs a Reason: write session.cut(te.Reason.EVICTED)")
        if not isinstance(detail, str):
            raise TypeError(f"session.cut(detail={quote(detail)}) must be text")
        marked = self.mark_cut(reason, detail if type(detail) is str else str.__str__(detail))
        if marked:
            self.carry_out_cut()
        return marked

    # The edge calls these; stages do not.

    def mark_cut(self, reason: Reason, detail: str = "") -> bool:
        """Store why it is cut; :meth:`carry_out_cut` must follow. False if it had ended, or was marked already."""
        if self._outcome is not None or self._cut_reason is not None:
            return False
        self._cut_reason, self._cut_detail = reason, detail
        return True

    def carry_out_cut(self) -> None:
        """Free the sockets of a session that is marked, then cancel its task; does nothing if it has ended."""
        if self._outcome is not None or self._cut_reason is None:
            return
        if self._carrier is not None:
            self._carrier.cut(self._cut_reason)
        if self._scope is not None:
            self._scope.cancel()

    def end(self, outcome: Outcome) -> list[BaseException]:
        """Store `outcome`, notify the follower and run the deferred clean-ups. A second call does nothing.

        Returns:
            Exceptions that the follower and the clean-ups raised.

        Raises:
            RuntimeError: it is still registered.
        """
        faults: list[BaseException] = []
        if self._outcome is not None:
            return faults
        if self._index is not None:
            raise RuntimeError("only the edge ends a session: return Completed or Reject, or call session.cut(reason)")
        if self._cut_detail and outcome.reason is self._cut_reason and not outcome.detail:
            outcome = type(outcome)(outcome.reason, self._cut_detail)
        self._outcome = outcome
        if self._follower is not None:
            try:
                self.follow(None)
            except ENDS:
                raise
            except BaseException as fault:
                faults.append(fault)
        if self._answer is not None:
            try:
                self._answer.close()
            except ENDS:
                raise
            except BaseException as fault:
                faults.append(fault)
            self._answer = None
        while self._deferred:
            try:
                left = self._deferred.pop()(self)
                if left is not None and iscoroutine(left):
                    left.close()
                    raise TypeError(f"clean-up {left.__qualname__} is async, and a clean-up cannot wait: write def")
            except ENDS:
                raise
            except BaseException as fault:
                faults.append(fault)
        return faults


use_c_getters(Session, service="_service", device="_device")
