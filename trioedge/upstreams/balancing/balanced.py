"""A destination that is several members: the recipe."""

from collections.abc import Iterable
from typing import Final, Literal

import attrs

from ...addresses.address import Address, parse_address
from ...arguments import Fixed, check_choice, check_count, check_number, flag_fault, number_fault
from ...errors import ConfigurationError, quote
from ...session.handshake import Handshake
from ...session.kinds import kind_of, name_of
from .choice import POLICIES

MAX_MEMBERS: Final = 1_000
MAX_WEIGHT: Final = 1_000


def _address(given: str | Address) -> Address:
    return given if isinstance(given, Address) else parse_address(given)


@attrs.frozen
class Member:
    """A member of a balanced destination.

    Attributes:
        address: ``tcp://host:port`` or ``unix:///path``.
        weight: its share of the sessions in relation to the other members, above 0 and at most 1,000.
        backup: whether it gets sessions only while no other member is well.
        drain: whether it begins draining, see :meth:`Balanced.drain`.

    Raises:
        ConfigurationError: names the argument and its fault.
    """

    address: Address = attrs.field(converter=_address)
    weight: float = attrs.field(default=1, kw_only=True)
    backup: bool = attrs.field(default=False, kw_only=True)
    drain: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        where = f"Member({str(self.address)!r}, "
        if fault := number_fault(self.weight, above=0, maximum=MAX_WEIGHT):
            raise ConfigurationError(f"{where}weight={quote(self.weight)}) {fault}")
        for name in ("backup", "drain"):
            if fault := flag_fault(value := getattr(self, name)):
                raise ConfigurationError(f"{where}{name}={quote(value)}) {fault}")


def _check_check(check: object) -> None:
    if isinstance(check, str):
        check_choice("Balanced", "check", check, ("connect",))
    elif not isinstance(check, Handshake) or isinstance(check, type):
        mend = "lift the function with @te.handshake" if callable(check) else "write 'connect', or give a handshake"
        raise ConfigurationError(f"Balanced(check={quote(check)}) is no check: {mend}")
    else:
        kind_of(check, f"Balanced(check={name_of(check)})")


class Draining:
    """The members of a recipe that drain: the one thing of it that changes.

    Attributes:
        addresses: theirs; each change makes another set.
    """

    __slots__ = ("addresses",)

    def __init__(self, addresses: Iterable[Address]) -> None:
        self.addresses = frozenset(addresses)


class Balanced(Fixed):
    """A destination that is several members; each session goes to one of them.

    Write it in place of an address, ``Forward(te.Balanced(["tcp://a:80", "tcp://b:80"]))``, or in the edge's
    ``outbounds=`` for policies to name.

    A connect that a member refuses, or does not answer within `try_seconds`, is made to another member; no byte was
    sent before. A member whose connects fail `max_failures` times in a row is ejected for a second, and for twice as
    long each time, up to a minute. It returns with a tenth of its weight, which grows for `slow_seconds`. If no member
    is well, sessions go to those that are not.
    """

    def __init__(
        self,
        members: Iterable[str | Address | Member],
        policy: Literal["least_sessions", "round_robin", "source_hash"] = "least_sessions",
        *,
        tries: int = 3,
        try_seconds: float = 2.0,
        max_failures: int = 3,
        slow_seconds: float = 10.0,
        check: Handshake | Literal["connect"] | None = None,
        check_seconds: float = 5.0,
    ) -> None:
        """Describe the members; nothing is connected before the edge serves.

        Args:
            members: 1 to 1,000 addresses or :class:`Member` objects, no address twice. A name with several addresses
                is one member.
            policy: ``least_sessions`` (live ones, for each member's weight), ``round_robin``, or ``source_hash``: a
                client's sessions go to the same member for as long as it is well, on every worker and edge.
            tries: how many members one session asks at most, 1 to 10, within the `connect_seconds` of its endpoint.
                The last one has all seconds that are left, and the endpoint's retries.
            try_seconds: how long a member that is not the last one may take to answer a connect, above 0.
            max_failures: failed connects, or failed checks, in a row that eject a member, 1 to 1,000.
            slow_seconds: how long the share of a returning member grows; 0 for no time.
            check: asks each member whether it is well: ``"connect"``; or a handshake, see :func:`handshake`, in which
                the member is the other side: it may send and read, and a member for which it returns CONTINUE is
                well. None for no checks. With checks, an ejected member returns only when one succeeds.
            check_seconds: between two checks of a member, and the limit of one; 0.1 to 3,600.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        if isinstance(members, str) or not isinstance(members, Iterable):
            raise ConfigurationError(f"Balanced({quote(members)}) must be a list: write Balanced([{quote(members)}])")
        self.members = tuple(each if isinstance(each, Member) else Member(each) for each in members)
        if not 1 <= len(self.members) <= MAX_MEMBERS:
            raise ConfigurationError(f"Balanced has {len(self.members):,} members: it needs 1 to {MAX_MEMBERS:,}")
        self.addresses = tuple(each.address for each in self.members)
        twice = next((each for each in self.addresses if self.addresses.count(each) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"Balanced names {twice} twice: give one member a larger weight")
        check_choice("Balanced", "policy", policy, tuple(POLICIES))
        check_count("Balanced", "tries", tries, maximum=10)
        check_number("Balanced", "try_seconds", try_seconds, above=0)
        check_count("Balanced", "max_failures", max_failures, maximum=1_000)
        check_number("Balanced", "slow_seconds", slow_seconds, maximum=86_400)
        check_number("Balanced", "check_seconds", check_seconds, minimum=0.1, maximum=3_600)
        if check is not None:
            _check_check(check)
        self.policy = policy
        self.tries = tries
        self.try_seconds = try_seconds
        self.max_failures = max_failures
        self.slow_seconds = slow_seconds
        self.check = check
        self.check_seconds = check_seconds
        self.draining = Draining(each.address for each in self.members if each.drain)

    def __repr__(self) -> str:
        check = "" if self.check is None else f", check={self.check!r}"
        return f"Balanced({[*map(str, self.addresses)]}, {self.policy!r}{check})"

    def drain(self, address: str | Address) -> None:
        """Give a member no new sessions from now on; its live ones go on. In every edge of this process that uses this.

        Raises:
            ConfigurationError: `address` is no member's.
        """
        self.draining.addresses |= {self._member(address)}

    def restore(self, address: str | Address) -> None:
        """Give a member that drains new sessions again.

        Raises:
            ConfigurationError: `address` is no member's.
        """
        self.draining.addresses -= {self._member(address)}

    def _member(self, address: str | Address) -> Address:
        parsed = _address(address)
        if parsed not in self.addresses:
            raise ConfigurationError(f"{parsed} is no member of {self!r}")
        return parsed
