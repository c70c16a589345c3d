"""An access list by destination: the names, networks and ports that a client may reach through the edge."""

from collections.abc import Iterable
from typing import Any, Final

import attrs

from ..addresses.destination_rules import AddressRules, DestinationRules
from ..arguments import Fixed
from ..errors import ConfigurationError, Faults, RulesError
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject, Verdict

MAX_ENTRIES: Final = 256
"""Of one field of a service, so that a policy is read in some ms. Arguments of a stage may have any number."""


def _check_entries(_: object, attribute: "attrs.Attribute[Any]", entries: object) -> None:
    if not isinstance(entries, tuple):
        raise ConfigurationError("must be a tuple of names, networks or ports")
    if len(entries) > MAX_ENTRIES:
        raise ConfigurationError(f"has more than {MAX_ENTRIES} entries")
    try:
        DestinationRules(**{attribute.name: entries})
    except RulesError as error:
        raise ConfigurationError(str(error)) from None


@attrs.frozen
class Destinations:
    """The destinations of a service, in its policy: the keys of a :class:`DestinationMatch` without arguments.

    Attributes:
        accept: entries as :class:`DestinationMatch` takes them, at most 256.
        reject: the same.
        rules: both, compiled when the policy arrives; None without an entry.
    """

    accept: tuple[str, ...] = attrs.field(default=(), validator=_check_entries, metadata={"fate": "recheck"})
    reject: tuple[str, ...] = attrs.field(default=(), validator=_check_entries, metadata={"fate": "recheck"})
    rules: DestinationRules | None = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        rules = DestinationRules(self.accept, self.reject) if self.accept or self.reject else None
        object.__setattr__(self, "rules", rules)


class DestinationMatch(Fixed):
    """Accept or reject by where the session wants to go; an entry that rejects wins.

    With `accept` entries, a destination that matches none is refused; with `reject` entries only, it is accepted.
    Refusals have reason ``destination`` and the entry as detail. Without any entries the :class:`Destinations` in the
    policy of the session's service apply; when they change, live sessions whose destination they refuse are cut. A
    session without a destination of its own goes where its policy says, and is not judged.

    A name is judged here, and each address that it has when the edge connects to it: an address that an entry rejects,
    or that must be accepted and is not, is left out, and the session ends with reason ``destination`` if none is left.
    O(labels of the name): about 1 µs.
    """

    def __init__(self, accept: Iterable[str] = (), reject: Iterable[str] = ()) -> None:
        """Compile the rules.

        Args:
            accept: names (``example.com``, or ``*.example.com`` for every name below it), networks
                (``10.0.0.0/8``, ``192.0.2.7``, ``192.0.2.1-192.0.2.9``, ``2001:db8::/32``), ``*`` for every host, each
                with a port or ports behind it where it holds for them alone (``*:443``, ``10.0.0.0/8:8000-8999``,
                ``[2001:db8::/32]:443``), or ``unix`` for local sockets.
            reject: the same.

        Raises:
            ConfigurationError: quotes the entries that cannot be read, or that are both accepted and rejected: the
                first 100, and how many more there are.
        """
        try:
            rules = DestinationRules(accept, reject)
        except RulesError as error:
            faults = Faults()
            faults.extend(error.faults, error.more)
            raise ConfigurationError(str(faults)) from None
        self._rules: DestinationRules | None = rules if rules.accepted or rules.rejected else None
        by_policy = self._rules is None
        self.requires = ("service", "destination") if by_policy else ("destination",)
        self.policy = Destinations if by_policy else None
        self.needs_control = by_policy
        self.needs_destination = True

    def __repr__(self) -> str:
        rules = self._rules
        said = "" if rules is None else f"{rules.accepted} accepted, {rules.rejected} rejected"
        return f"DestinationMatch({said})"

    def decide(self, session: Session) -> Verdict:
        """Match the destination against the rules; leave to the connect what only its addresses can tell."""
        rules = self._rules or session.policy[Destinations].rules
        destination = session.destination
        if rules is None or destination is None:
            return CONTINUE
        judged = rules.judge(destination)
        if judged is None:
            return CONTINUE
        if isinstance(judged, AddressRules):
            session.judge_addresses(judged)
            return CONTINUE
        return Reject(Reason.DESTINATION, judged)
