"""An access list by client address: rules compiled once, matched in about a microsecond."""

from collections.abc import Iterable
from typing import Final, Literal

from ..addresses.rules import SourceRules
from ..arguments import Fixed, check_choice
from ..errors import ConfigurationError, Faults, RulesError
from ..session.session import Session
from ..session.verdict import CONTINUE, Reason, Reject, Verdict

_UNMATCHED: Final = Reject(Reason.SOURCE, "matches no accepted entry")


class SourceMatch(Fixed):
    """Accept or reject by the client's address; the longest matching prefix wins.

    With `accept` entries, an address that matches none is refused; with `reject` entries only, it is accepted.
    Refusals have reason ``source`` and the entry as detail. Without any entries the rules in the policy of the
    session's service apply. They were compiled when the policy arrived, and when they change, live sessions that they
    refuse are cut. O(log n): 0.4 to 1.1 µs up to 100,000 prefixes.
    """

    def __init__(
        self, accept: Iterable[str] = (), reject: Iterable[str] = (), *, of: Literal["source", "peer"] = "source"
    ) -> None:
        """Compile the rules.

        Args:
            accept: addresses (``192.0.2.7``, ``2001:db8::1``), prefixes (``10.0.0.0/8``; host bits are dropped),
                ranges (``192.0.2.10-192.0.2.20``), or ``unix`` for clients of a local socket.
            reject: the same.
            of: which address is matched: the ``source``, the client's; or the ``peer``, the address that connected,
                which may be a balancer's.

        Raises:
            ConfigurationError: quotes the entries that cannot be read, or that are both accepted and rejected: the
                first 100, and how many more there are.
        """
        check_choice("SourceMatch", "of", of, ("source", "peer"))
        try:
            rules = SourceRules(accept, reject)
        except RulesError as error:
            faults = Faults()
            faults.extend(error.faults, error.more)
            raise ConfigurationError(str(faults)) from None
        self._rules: SourceRules | None = rules if rules.accepted or rules.rejected else None
        self._of_peer = of == "peer"
        by_policy = self._rules is None
        self.requires = (*(("service",) if by_policy else ()), *(() if self._of_peer else ("source",)))
        self.enforces = self.rechecks = ("accept", "reject") if by_policy else ()
        self.needs_control = by_policy

    def __repr__(self) -> str:
        rules = self._rules
        said = [] if rules is None else [f"{rules.accepted} accepted", f"{rules.rejected} rejected"]
        said += ["of='peer'"] if self._of_peer else []
        return f"SourceMatch({', '.join(said)})"

    def decide(self, session: Session) -> Verdict:
        """Match the address against the rules."""
        rules = self._rules
        if rules is None:
            rules = session.service.rules
            if rules is None:
                return CONTINUE
        rule = rules.match(session.peer_bytes if self._of_peer else session.source_bytes)
        if rule is None:
            return _UNMATCHED if rules.accepted else CONTINUE
        return CONTINUE if rule.accept else Reject(Reason.SOURCE, rule.text)
