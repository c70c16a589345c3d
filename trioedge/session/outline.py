"""The checked description of a chain: its parts, their kinds and facts, and the phases in which they run.

The order of stages follows from the session fields that each reads and writes.
"""

from collections.abc import Sequence
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any, Final

import attrs

from ..errors import ConfigurationError
from .kinds import DECISION, HANDSHAKE, MIDDLEWARE, check_endpoint, facts_of, kind_of, name_of
from .stage import Facts, Recipe

FROM_THE_START: Final = frozenset({"service", "source"})
"""Session fields that have a value at accept. Where a stage writes one, its value before that stage is provisional."""


@attrs.frozen(slots=True)
class Phase:
    """Stages that run together.

    Attributes:
        kind: ``leading decisions``, ``decisions``, ``handshake``, ``middleware`` or ``endpoint``.
        stages: their names, in order of execution.
    """

    kind: str
    stages: tuple[str, ...]


@attrs.frozen(slots=True)
class Outline:
    """The checked description of a chain; :func:`open_chain` makes a :class:`Chain` of it.

    Attributes:
        parts: the recipes, the stages in order and then the endpoint.
        kinds: the kind of each stage.
        facts: the facts of each part, the endpoint's last.
        phases: the chain, phase by phase.
    """

    parts: tuple[object, ...]
    kinds: tuple[str, ...]
    facts: tuple[Facts, ...]
    phases: tuple[Phase, ...]

    @property
    def names(self) -> list[str]:
        """The names of the parts, in order."""
        return [name for phase in self.phases for name in phase.stages]

    @property
    def direct(self) -> bool:
        """True when no middleware is in the chain."""
        return MIDDLEWARE not in self.kinds

    @property
    def talks(self) -> bool:
        """True when a handshake is before every middleware, so that clients talk before they have a task."""
        return HANDSHAKE in takewhile(lambda kind: kind != MIDDLEWARE, self.kinds)

    @property
    def source_at(self) -> int | None:
        """The place of the first handshake that may name the source, before every middleware; None without one."""
        for place, (kind, facts) in enumerate(zip(self.kinds, self.facts, strict=False)):
            if kind == MIDDLEWARE:
                break
            if kind == HANDSHAKE and "source" in facts.provides:
                return place
        return None

    @property
    def enforced(self) -> frozenset[str]:
        """The fields of a policy that some part reads."""
        return frozenset(field for facts in self.facts for field in facts.enforces)

    @property
    def needs_destination(self) -> bool:
        """Whether sessions are refused if their policy names no destination: neither endpoint nor stage has one."""
        endpoint = self.facts[-1]
        return endpoint.needs_control and "outbound" in endpoint.enforces and "destination" not in self.provided

    @property
    def policies(self) -> tuple[type[Any], ...]:
        """The classes of policy keys that stages name."""
        return tuple(facts.policy for facts in self.facts if facts.policy is not None)

    @property
    def provided(self) -> frozenset[str]:
        """The session fields that some stage writes."""
        return frozenset(fact for facts in self.facts for fact in facts.provides)


def outline(stages: Sequence[object], endpoint: object) -> Outline:
    """Check `stages`, in order of execution, and `endpoint`; nothing is opened.

    Args:
        stages: decisions, handshakes, middlewares and recipes of them; may be empty.
        endpoint: an object with ``async handle(session)``, an async function of a session, or a recipe of one.

    Raises:
        ConfigurationError: a stage is of no kind, or of several; a decision is async; the endpoint is missing; a stage
            reads a field that no stage before it writes; and more. The message names stage and mend.
    """
    if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
        raise ConfigurationError(f"stages must be a list of stages, not {name_of(stages)}: write stages=[...]")
    places = [f"stage {number} ({name_of(stage)})" for number, stage in enumerate(stages, 1)]
    kinds = tuple(kind_of(stage, where) for stage, where in zip(stages, places, strict=True))
    for where, stage in zip(places, stages, strict=True):
        first = next(number for number, other in enumerate(stages) if other is stage)
        if isinstance(stage, Recipe) and where != places[first]:
            raise ConfigurationError(
                f"{where} is the same object as {places[first]}: remove one, or make another {name_of(stage)}"
            )
    check_endpoint(endpoint)
    parts = (*stages, endpoint)
    places.append(f"endpoint ({name_of(endpoint)})")
    facts = tuple(facts_of(part, where) for part, where in zip(parts, places, strict=True))
    check_facts(facts, [name_of(part) for part in parts], places)
    check_handshakes(kinds, facts, places)
    phases: list[Phase] = []
    for kind, run in groupby(zip(kinds, stages, strict=True), key=itemgetter(0)):
        names = tuple(name_of(stage) for _, stage in run)
        if kind == DECISION:
            phases.append(Phase("decisions" if phases else "leading decisions", names))
        else:
            phases.extend(Phase(kind, (name,)) for name in names)
    phases.append(Phase("endpoint", (name_of(endpoint),)))
    return Outline(parts, kinds, facts, tuple(phases))


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
    single += [name for each in facts for name in each.inner_once]
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
    if not facts[-1].follows_destination:
        for name, each in zip(places, facts, strict=True):
            if each.needs_destination:
                raise ConfigurationError(
                    f"{name} judges the session's destination, and {names[-1]} does not go there: end the chain with "
                    "Forward() without an address"
                )
    if facts[-1].ignores_destination:
        for place, each in zip(places, facts, strict=True):
            if "destination" in each.provides:
                raise ConfigurationError(
                    f"{place} names the session's destination, and {names[-1]} never goes there: end the chain with "
                    "Forward() without an address, or leave that stage out"
                )
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


def check_parts(outline: Outline, listen: Sequence[str], *, governed: bool) -> None:
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
                    f"{', '.join(listen) or 'no address of its own'}"
                )
        if facts.needs_control and not governed:
            asks = "service" in facts.provides
            lacks = "asks services for passwords, and there are none" if asks else "has no limit"
            argument = "another argument" if asks else "an argument"
            raise ConfigurationError(f"stage {number} ({name}) {lacks}: give it {argument}, or give the edge control=…")
    name, facts = endpoint
    if facts.needs_control and not governed and "destination" not in outline.provided:
        raise ConfigurationError(
            f"{name}() names no destination, and no control plane names one: write {name}('tcp://…'), or give the edge "
            "control=…"
        )
