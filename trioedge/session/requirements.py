"""The order of stages, which follows from the session fields that each reads and writes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError
from .kinds import HANDSHAKE
from .stage import Facts

if TYPE_CHECKING:
    from .outline import Outline

FROM_THE_START: Final = frozenset({"service", "source"})
"""Session fields that have a value at accept. Where a stage writes one, its value before that stage is provisional."""


def check_facts(facts: Sequence[Facts], names: Sequence[str], places: Sequence[str]) -> None:
    """Refuse a stage that reads a session field before the field is final, and other orders that cannot work.

    Args:
        facts: of the stages in order, and of the endpoint.
        names: of the same parts.
        places: the names with numbers, for messages.

    Raises:
        ConfigurationError: names the part and the mend.
    """
    single = [name for name, each in zip(names, facts, strict=True) if each.once]
    for name in single:
        if single.count(name) > 1:
            raise ConfigurationError(f"{name} is in the chain twice: use one, with the arguments of both")
    written = {fact for each in facts for fact in each.provides}
    known = set(FROM_THE_START - written)
    for number, each in enumerate(facts):
        for fact in each.requires:
            later = [names[at] for at in range(number + 1, len(facts)) if fact in facts[at].provides]
            if later and (fact in known or fact in each.provides):
                raise ConfigurationError(
                    f"{places[number]} reads the session's {fact}, which {later[-1]} changes later: move it behind "
                    f"{later[-1]}"
                )
            if later:
                raise ConfigurationError(
                    f"{places[number]} needs the session's {fact} before anything names it: move it behind "
                    f"{later[0]}, which names it"
                )
            if fact not in known:
                raise ConfigurationError(
                    f"{places[number]} needs the session's {fact} before anything names it: put a stage before it "
                    f"that names the {fact}"
                )
        known.update(each.provides)
    if not facts[-1].relays:
        for name, each in zip(places, facts, strict=True):
            if each.needs_relay:
                raise ConfigurationError(
                    f"{name} does nothing before an endpoint that moves bytes by itself: let {names[-1]} await "
                    "context.relay(session, upstream) and say relays = True"
                )


def check_handshakes(kinds: Sequence[str], facts: Sequence[Facts], places: Sequence[str]) -> None:
    """Refuse a handshake behind one that proceeds, because the client says nothing more before it is connected.

    Args:
        kinds: of the stages.
        facts: of the stages, and of the endpoint.
        places: their names with numbers, for messages.

    Raises:
        ConfigurationError: names both.
    """
    proceeding = ""
    for place, kind, each in zip(places, kinds, facts, strict=False):
        if kind == HANDSHAKE and proceeding:
            raise ConfigurationError(
                f"{place} is a handshake behind {proceeding}, which has the rest of the chain run before its client "
                "says anything more: move it before that one"
            )
        if each.proceeds:
            proceeding = place


def check_parts(outline: "Outline", listen: Sequence[str], *, governed: bool) -> None:
    """Refuse parts that would do nothing on an edge.

    Args:
        outline: its chain.
        listen: its addresses.
        governed: whether it has a control plane.

    Raises:
        ConfigurationError: which part, why, and how to mend it.
    """
    *stages, endpoint = zip(outline.names, outline.facts, strict=True)
    for number, (name, facts) in enumerate(stages, 1):
        for address in sorted(facts.listeners):
            if address.endswith(":0"):
                raise ConfigurationError(
                    f"stage {number} ({name}) names {address}, whose port is known only once the edge listens: "
                    "give the listener a port of its own"
                )
            if address not in listen:
                raise ConfigurationError(
                    f"stage {number} ({name}) names {address}, where the edge does not listen: it listens on "
                    f"{', '.join(listen)}"
                )
        if facts.needs_control and not governed:
            raise ConfigurationError(
                f"stage {number} ({name}) has no limit: give it an argument, or give the edge control=…"
            )
    name, facts = endpoint
    if facts.needs_control and not governed and "destination" not in outline.provided:
        raise ConfigurationError(
            f"{name}() names no destination, and no control plane names one: write {name}('tcp://…'), or give the edge "
            "control=…"
        )
