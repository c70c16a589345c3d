"""``trioedge services``: services with their limits and use, or one of them with its devices."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter, validators

from ...services.rates import format_rate
from ...services.terms.moment import format_moment
from ..client.client import EdgeClient, path_of
from ..client.errors import AdminError
from ..client.which import NOTHING_SAID, Asked
from ..table import Cell, Column, Value, note, print_facts, print_table, shown
from ..words import amount, span, whole

COLUMNS: Final = (
    Column("service", cut=True),
    Column("live", right=True),
    Column("of", right=True),
    Column("opened", right=True, spare=3),
    Column("up", right=True),
    Column("down", right=True),
    Column("gate/s", right=True, spare=4),
    Column("down at most", right=True, spare=5),
    Column("quota", right=True, spare=2),
    Column("refuses", cut=True),
)

DEVICES: Final = (
    Column("device", cut=True),
    Column("state"),
    Column("sessions", right=True),
    Column("since", right=True),
    Column("until", right=True),
    Column("detail", cut=True),
)

STATES: Final = {"fresh": "green", "stale": "yellow", "unknown": "yellow", "denied": "red"}


def services(
    name: str | None = None,
    /,
    *,
    order: Literal["name", "live", "bytes"] = "name",
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 100,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    asked: Asked = NOTHING_SAID,
) -> int:
    """List the services of a serving edge: limits, use, and why one refuses; or show one service with its devices.

    Args:
        name: Of one service. Where none has this name, or with * at its end, those whose names begin so.
        order: By name, or the most live sessions or bytes first.
        limit: So many lines.
        all_: All lines.
        asked: Which edge, and how to print.
    """
    return asked.run(partial(_services, asked, name, order, None if all_ else limit))


async def _services(asked: Asked, name: str | None, order: str, limit: int | None, client: EdgeClient) -> int:
    if name and not name.endswith("*"):
        try:
            service = await client.get(path_of("services", name))
        except AdminError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            missing = error
        else:
            await _show(asked, service, client)
            return 0
    prefix = None if name is None else name.removesuffix("*")
    answer = await client.items(path_of("services"), limit, prefix=prefix or None, order=order)
    if name and not name.endswith("*") and not answer["items"]:
        raise missing
    if asked.json:
        asked.print_json(answer)
        return 0
    if not answer["items"]:
        note("no service" if not prefix else f"no service begins with {shown(prefix)}")
        return 0
    print_table(COLUMNS, [_row(service) for service in answer["items"]])
    if answer["next"] is not None:
        note("there are more: --all shows them")
    return 0


def _row(service: dict[str, Any]) -> list[Value]:
    return [
        service["name"],
        whole(service["live"]),
        whole(service["max_sessions"]),
        whole(service["opened"]),
        amount(service["bytes_up"]),
        amount(service["bytes_down"]),
        _number(service["session_rate"]),
        _rate(service["down_rate"]),
        _quota(service),
        _refusal(service),
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def _rate(value: float | None) -> str | None:
    return None if value is None else format_rate(value)


def _quota(service: dict[str, Any]) -> str | None:
    if service["quota_bytes"] is None:
        return None
    return f"{amount(service['quota_used'] or 0)} of {amount(service['quota_bytes'])}"


def _refusal(service: dict[str, Any]) -> Cell:
    if service["refusal"]:
        return Cell(shown(service["refusal"]), "red")
    return Cell("-") if service["enabled"] else Cell("disabled", "red")


async def _show(asked: Asked, service: dict[str, Any], client: EdgeClient) -> None:
    devices = await client.items(path_of("services", service["name"], "devices"), None)
    if asked.json:
        asked.print_json({**service, "devices": devices["items"]})
        return
    burst = f", bursts of {service['session_burst']:g}" if service["session_burst"] is not None else ""
    gate = _number(service["session_rate"])
    limit = f" of {service['max_sessions']:,} at most" if service["max_sessions"] is not None else ""
    facts: list[tuple[str, Value]] = [
        ("service", service["name"]),
        ("refuses", _refusal(service)),
        ("live", f"{service['live']:,}{limit}"),
        ("opened", whole(service["opened"])),
        ("sources", whole(service["sources"])),
        ("new sessions", gate and f"{gate}/s{burst}"),
        ("down", _moved(service["bytes_down"], service["down_rate"])),
        ("up", _moved(service["bytes_up"], service["up_rate"])),
        ("quota", _quota(service)),
        ("expires", None if service["expires_at"] is None else format_moment(service["expires_at"])),
    ]
    print_facts([*facts, *(("not open", Cell(shown(error), "red")) for error in service["listen_errors"])])
    if devices["items"]:
        print()
        print_table(DEVICES, [_device(each) for each in devices["items"]])


def _moved(size: int, rate: float | None) -> str:
    return amount(size) if rate is None else f"{amount(size)}, {format_rate(rate)} at most"


def _device(device: dict[str, Any]) -> list[Value]:
    return [
        device["device"],
        Cell(shown(device["state"]), STATES.get(device["state"], "")),
        device["sessions"],
        span(device["since"]),
        span(device["until"]),
        device["detail"],
    ]
