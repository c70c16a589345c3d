"""The effect of a snapshot, before or after it is applied."""

import attrs


@attrs.frozen(slots=True, kw_only=True)
class Plan:
    """The effect of a snapshot on services and live sessions.

    Attributes:
        added: new services.
        changed: the names of the fields that change, by service: ``down_rate``, ``hours.since`` for a key of a stage,
            or ``password_hash``.
        removed: services that are removed.
        retuned: live sessions that go on with another rate.
        rechecked: live sessions whose device is judged again.
        evicted: live sessions that are cut.
    """

    added: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    removed: tuple[str, ...] = ()
    retuned: int = 0
    rechecked: int = 0
    evicted: int = 0

    def __bool__(self) -> bool:
        """Whether the snapshot changes anything."""
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        """Describe it in one line: ``changes 2 services; retunes 812 sessions, evicts 3 sessions``."""
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
