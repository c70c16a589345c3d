"""The checked description of a chain: its parts, their kinds and facts, and the phases in which they run."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import attrs

from ..errors import ConfigurationError
from .kinds import DECISION, MIDDLEWARE, check_endpoint, facts_of, kind_of, name_of
from .requirements import check_facts, check_handshakes
from .stage import Facts, Recipe


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
    def enforced(self) -> frozenset[str]:
        """The fields of a policy that some part reads."""
        return frozenset(field for facts in self.facts for field in facts.enforces)

    @property
    def needs_outbound(self) -> bool:
        """Whether sessions are refused if their policy names no outbound: neither endpoint nor stage has another."""
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
