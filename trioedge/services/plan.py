"""What a snapshot would do, or did."""

import attrs


@attrs.frozen(slots=True, kw_only=True)
class Plan:
    """What a snapshot changes, counted.

    Attributes:
        added: services that come.
        changed: services whose policy or credentials become others, by name, and which fields.
        removed: services that go.
        retuned: live sessions that go on with another rate.
        rechecked: live sessions that are judged again by a device check.
        evicted: live sessions that are cut.
    """

    added: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    removed: tuple[str, ...] = ()
    retuned: int = 0
    rechecked: int = 0
    evicted: int = 0

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        """Say it in one line: ``changes 2 services; retunes 812 sessions, evicts 3``."""
        services = [
            f"{verb} {count} {'service' if count == 1 else 'services'}"
            for verb, count in (
                ("adds", len(self.added)), ("changes", len(self.changed)), ("removes", len(self.removed)),
            )
            if count
        ]  # fmt: skip
        sessions = [
            f"{verb} {count} {'session' if count == 1 else 'sessions'}"
            for verb, count in (("retunes", self.retuned), ("rechecks", self.rechecked), ("evicts", self.evicted))
            if count
        ]
        if not services:
            return "changes nothing"
        return "; ".join(filter(None, (", ".join(services), ", ".join(sessions) or "touches no session")))
