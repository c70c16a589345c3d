"""``trioedge explain``: which stage decided what on a session, and why a source was refused or cut."""

from collections import Counter
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from cyclopts import Parameter, validators

from ...errors import ConfigurationError
from ..client.client import EdgeClient, path_of
from ..client.which import NOTHING_SAID, Asked
from ..table import Cell, Column, note, print_facts, print_table, shown
from ..words import amount, count, micros, span

STEPS: Final = (Column("stage", cut=True), Column("took", right=True), Column("verdict"), Column("detail", cut=True))

FAILED: Final = (
    Column("at"),
    Column("id", right=True),
    Column("service", cut=True),
    Column("source", cut=True, spare=1),
    Column("reason"),
    Column("stage", cut=True),
    Column("detail", cut=True),
)


def explain(
    session: int | None = None,
    /,
    *,
    source: str | None = None,
    service: str | None = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 20,
    asked: Asked = NOTHING_SAID,
) -> int:
    """Explain a session stage by stage, live or ended; or say why a source or a service was refused or cut lately.

    Args:
        session: The id of a session, as `trioedge sessions`, the log and the access log have it.
        source: Show the sessions of this address that were refused or cut last.
        service: Show the sessions of this service that were refused or cut last.
        limit: So many of them.
        asked: Which edge, and how to print.
    """
    if (session is None) == (source is None and service is None):
        raise ConfigurationError("explain wants the id of a session, or --source ADDRESS, or --service NAME")
    if session is not None:
        return asked.run(partial(_session, asked, session))
    return asked.run(partial(_failed, asked, source, service, limit))


async def _session(asked: Asked, number: int, client: EdgeClient) -> None:
    answer = await client.get(path_of("sessions", number))
    if asked.json:
        asked.print_json(answer)
        return
    session = answer["session"]
    facts: list[tuple[str, str | Cell | None]] = [
        ("session", str(session["id"])),
        ("service", session["service"]),
        ("source", _source(session)),
        ("device", session["device"]),
        ("upstream", session["upstream"]),
        ("moved", f"up {amount(session['bytes_up'])}, down {amount(session['bytes_down'])}"),
    ]
    if answer["outcome"]:
        facts.append(("ended", Cell(shown(answer["outcome"]), "yellow")))
    else:
        idle = f", without a byte for {span(session['idle_seconds'])}" if session["idle_seconds"] else ""
        facts.append(("live", Cell(f"{shown(session['phase'])} for {span(session['age_seconds'])}{idle}", "green")))
    print_facts(facts)
    if answer["steps"]:
        print()
        print_table(STEPS, [_step(step) for step in answer["steps"]])


def _source(session: dict[str, Any]) -> str:
    """Name the client, and the peer where that is another one, as behind a load balancer."""
    source, peer = shown(session["source"]), shown(session["peer"])
    return source if peer == source else f"{source}, connected from {peer}"


def _step(step: dict[str, Any]) -> tuple[str, str, Cell, str]:
    passed = step["verdict"] in ("continue", "connected")
    return (
        step["stage"],
        micros(step["micros"]),
        Cell(shown(step["verdict"]), "green" if passed else "yellow"),
        step["detail"],
    )


async def _failed(asked: Asked, source: str | None, service: str | None, limit: int, client: EdgeClient) -> None:
    answer = await client.get(path_of("recent"), source=source, service=service, kind="failed", limit=limit)
    if asked.json:
        asked.print_json(answer)
        return
    items = answer["items"]
    named = shown(source or service)
    if not items:
        live = await client.items(path_of("sessions"), 1000, source=source, service=service)
        if not live["items"]:
            await client.check_service(service)
        more = " or more" if live["next"] is not None else ""
        sessions = count(len(live["items"]), "session")
        print(f"no session of {named} among the last was refused or cut; {sessions}{more} live")
        return
    reasons = Counter(each["reason"] for each in items).most_common()
    print_table(FAILED, [_row(each) for each in items])
    note(f"{count(len(items), 'session')} of {named}: {', '.join(f'{reason} {n}' for reason, n in reasons)}")


def _row(each: dict[str, Any]) -> tuple[str | int | Cell | None, ...]:
    at = datetime.fromtimestamp(each["ended_at"]).astimezone()
    today = at.date() == datetime.now().astimezone().date()
    return (
        f"{at:%H:%M:%S}" if today else f"{at:%Y-%m-%d %H:%M:%S}",
        each["id"],
        each["service"],
        each["source"],
        Cell(shown(each["reason"]), "red"),
        each["stage"],
        each["detail"],
    )
