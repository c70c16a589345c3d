"""A decision that reads its policy, and a key of its own in it: each service is open from one hour to another."""

import time

import attrs

import trioedge as te


@attrs.frozen
class Hours:
    """The table `[services.NAME.hours]`: whole hours of the day, in this machine's time zone."""

    since: int = attrs.field(default=0, validator=attrs.validators.in_(range(25)))
    until: int = attrs.field(default=24, validator=attrs.validators.in_(range(25)), metadata={"fate": te.Fate.RECHECK})


@te.decision(requires=("service",), policy=Hours)
def open_hours(session: te.Session) -> te.Verdict:
    hours = session.policy[Hours]
    if hours.since <= time.localtime().tm_hour < hours.until:
        return te.CONTINUE
    return te.Reject(te.Reason.POLICY, f"{session.service.name} is open from {hours.since} to {hours.until}")


edge = te.Edge(
    listen="tcp://127.0.0.1:6380",
    stages=[te.Identify("shop"), open_hours, te.SessionGate()],
    endpoint=te.Forward(allow=["loopback"]),
    control=te.MemoryControl(
        {"shop": te.Policy(session_rate=200, outbound="tcp://127.0.0.1:6379", stages=(Hours(since=0, until=24),))}
    ),
)

if __name__ == "__main__":
    te.run(edge)
