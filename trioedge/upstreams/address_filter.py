"""Filters for the addresses that the edge may connect to: by their kind, and by the rules of a session.

They judge addresses, not names, and exactly those that are then connected to. So DNS rebinding, in which the owner of a
name moves it to an internal address after a first check, gains nothing.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from ..addresses.address import Address, packed_ip
from ..addresses.classes import AddressClass, classify
from ..addresses.destination_rules import AddressRules
from ..services.context import SocketAddress
from ..session.verdict import Reason
from .connector import Permit
from .errors import UpstreamError
from .resolver import Answer

CAPACITY: Final = 10_000
"""The most answers in memory; beyond it the one that was judged longest ago is evicted."""

UNIX: Final = "unix"
"""The word that allows local sockets."""


class AddressFilter:
    """Keeps the addresses of an answer that are global, or of a kind that is allowed."""

    def __init__(self, allow: Iterable[AddressClass | str] = ()) -> None:
        """Allow global addresses, and those of the kinds in `allow`, which :class:`.Forward` has checked.

        Args:
            allow: members of :class:`.AddressClass`, their values, or ``unix``.
        """
        self._allowed = frozenset(map(str, allow)) | {AddressClass.GLOBAL}
        # By identity of the answer: the answer itself, so that its identity stays its own, its permitted addresses, and
        # the complaint about the first other one. At most CAPACITY, judged longest ago first.
        self._verdicts: dict[int, tuple[Answer, tuple[SocketAddress, ...], str]] = {}

    def permit(self, label: object, answer: Answer) -> Answer:
        """Remove the forbidden addresses from an answer of the resolver.

        An answer judged before costs about 0.1 µs, a new one about 4 µs for each address.

        Args:
            label: the destination, for the error.
            answer: from :meth:`.Resolver.ask`; an error is returned as it is.

        Returns:
            The permitted addresses in order, the same object for the same answer; or an error with UPSTREAM_FORBIDDEN
            when there are none.
        """
        if isinstance(answer, UpstreamError):
            return answer
        verdict = self._verdicts.get(id(answer))
        if verdict is None:
            verdict = self._judge(answer)
        _, permitted, complaint = verdict
        return permitted or UpstreamError(Reason.UPSTREAM_FORBIDDEN, f"{label}: {complaint}")

    def _judge(self, answer: tuple[SocketAddress, ...]) -> tuple[Answer, tuple[SocketAddress, ...], str]:
        complaints = [self._complaint(where) for where in answer]
        permitted = answer
        if any(complaints):
            permitted = tuple(where for where, complaint in zip(answer, complaints, strict=True) if not complaint)
        if len(self._verdicts) >= CAPACITY:
            del self._verdicts[next(iter(self._verdicts))]
        verdict = self._verdicts[id(answer)] = answer, permitted, next(filter(None, complaints), "no address")
        return verdict

    def _complaint(self, where: SocketAddress) -> str:
        """Give the reason why an address is forbidden; an empty text if it is allowed."""
        family, name = where
        if family == socket.AF_UNIX:
            return "" if UNIX in self._allowed else _forbidden(f"{name} is a local socket", UNIX)
        host, packed = _ip_of(name)
        kind = classify(packed)
        if kind in self._allowed:
            return ""
        article = "an" if kind[0] in "aeiou" else "a"
        return _forbidden(f"{host} is {article} {kind.replace('_', '-')} address", kind)


@attrs.frozen(eq=False)
class RulesFilter:
    """Also removes the addresses that the rules of a session refuse; a name must be resolved here for that.

    Attributes:
        rules: all of which must accept an address.
        permit: the filter for every session.
    """

    rules: Sequence[AddressRules]
    permit: Permit | None

    def __call__(self, destination: Address, answer: Answer) -> Answer:
        """Remove addresses; an answer without one that is left is an error with reason ``destination``."""
        if self.permit is not None:
            answer = self.permit(destination, answer)
        if isinstance(answer, UpstreamError):
            return answer
        refusals = [_refusal(self.rules, where, destination.port) for where in answer]
        if not any(refusals):
            return answer
        accepted = tuple(where for where, refusal in zip(answer, refusals, strict=True) if not refusal)
        return accepted or UpstreamError(Reason.DESTINATION, f"{destination}: {next(filter(None, refusals))}")


def judged_by(rules: Sequence[AddressRules], permit: Permit | None) -> Permit | None:
    """Give the filter for a session that has rules of its own; usually it has none."""
    return RulesFilter(rules, permit) if rules else permit


def _refusal(rules: Sequence[AddressRules], where: SocketAddress, port: int) -> str:
    """Say which rule refuses an address; an empty text if none does, and for a local socket, which is no address."""
    family, name = where
    if family == socket.AF_UNIX:
        return ""
    host, packed = _ip_of(name)
    refusal = next(filter(None, (each.refusal(packed, port) for each in rules)), "")
    return f"{host} {refusal}" if refusal else ""


def _ip_of(name: object) -> tuple[str, bytes]:
    """Give the address of a socket's name, as text and packed."""
    assert isinstance(name, tuple)
    packed = packed_ip(name[0])
    assert packed is not None, f"{name[0]} was not resolved"
    return name[0], packed


def _forbidden(what: str, kind: str) -> str:
    return f"{what}; allow=[{str(kind)!r}] lets it through"
