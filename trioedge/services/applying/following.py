"""Services as another process has them: it examined the settings and applied them, and this process follows.

| here the service is | the other process has | action |
| --- | --- | --- |
| none | settings | add it, with the incarnation given |
| named | equal settings | none |
| named | other settings | change it |
| named | none | remove it |
| named | settings, and has removed it in between | remove it, and add it with the incarnation given |
| none | none | none |
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from ...loop.collector import collect_young
from ..changes import changed_fields
from ..policy import Settings
from ..services import Services
from ..snapshot import Change
from .effects import YOUNG, Effects, Tally

if TYPE_CHECKING:
    from ...loop.slices import Stepwise
    from ..examine import Examiner


@attrs.frozen(slots=True)
class Given:
    """A service as another process has it.

    Attributes:
        name: of the service.
        settings: examined, and so without a fault; None for a service that is removed.
        incarnation: of the service there.
        replaced: whether it was removed there since it was given last, and so has to be removed here first.
        surplus: its devices that the other process would take offline for these settings.
    """

    name: str
    settings: Settings | None = None
    incarnation: int = 0
    replaced: bool = False
    surplus: Sequence[str] = ()


class Following:
    """Makes the services of this process those of another one, in short steps."""

    __slots__ = ("_effects", "_examiner", "_made", "_services")

    def __init__(self, services: Services, effects: Effects, examiner: "Examiner") -> None:
        """Follow nothing yet.

        Args:
            services: to change.
            effects: makes the changes.
            examiner: compiles rules of sources.
        """
        self._services = services
        self._effects = effects
        self._examiner = examiner
        self._made = 0

    def follow(self, given: Iterable[Given], tally: Tally, *, dry_run: bool = False) -> "Stepwise[None]":
        """Apply services in this order, and count the effect; with `dry_run`, only count."""
        for each in given:
            service = self._services.get(each.name)
            if service is not None and (each.settings is None or each.replaced):
                yield from self._effects.make(Change(each.name, service.settings, None), None, tally, dry_run=dry_run)
                service = None
            if each.settings is not None:
                before = None if service is None else service.settings
                yield from self._apply(each, each.settings, before, tally, dry_run=dry_run)
            yield

    def _apply(
        self, given: Given, after: Settings, before: Settings | None, tally: Tally, *, dry_run: bool
    ) -> "Stepwise[None]":
        fields: tuple[str, ...] = ()
        if before is not None:
            fields = yield from changed_fields(before, after)
            if not fields:
                return
        change = Change(given.name, before, after, fields)
        rules = yield from self._examiner.rules(change, after.policy)
        if before is None and not dry_run:
            self._services.given[given.name] = given.incarnation
        self._made += 1
        if self._made % YOUNG == 0:
            collect_young()
        yield from self._effects.make(change, rules, tally, dry_run=dry_run, surplus=given.surplus)
