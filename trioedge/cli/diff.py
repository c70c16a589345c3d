"""``trioedge diff``: say what another services file would change, and what that does to sessions that live."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import attrs

from ..addresses.address import Address, parse_address
from ..control.file import read_services
from ..control.toml_lines import toml_lines
from ..errors import ConfigurationError, EdgeError
from ..process import logs
from ..services.plan import Plan
from ..services.policy import FATES, Fate, Settings
from ..services.rates import format_rate
from ..services.services import Change, Services, Snapshot, diff
from ..session.meter import Total

EDGE_SECONDS: Final = 60.0
"""How long a serving edge may take: it thinks about it between its sessions."""

WORDS: Final = {
    Fate.KEEP: "live sessions stay as they are",
    Fate.RETUNE: "live sessions go on with the new value",
    Fate.RECHECK: "live sessions are judged again; those that would be refused are cut",
    Fate.EVICT: "live sessions are cut",
}


class UnansweredError(EdgeError):
    """A serving edge that was asked does not answer."""


@attrs.frozen
class Line:
    """One field of one service.

    Attributes:
        service: whose.
        field: which; empty where the service itself comes or goes.
        what: from what to what.
        fate: what becomes of live sessions; None for a new service, which has none.
    """

    service: str
    field: str
    what: str
    fate: Fate | None


def diff_command(old: str, new: str | None = None, /, *, edge: str | None = None) -> int:
    """Compare two services files: which fields change, and what becomes of the sessions that live.

    With --edge, ask a serving edge what one file would do now: trioedge diff new.toml --edge unix:///run/edge.sock
    says how many sessions it retunes and evicts.

    Exit codes: 0 all could be read, 1 the edge does not answer, 2 a file cannot be, with every fault on stderr.

    Args:
        old: The file that holds; with --edge the file that is to hold.
        new: The file that is to hold.
        edge: The local socket of a serving edge, as its admin= says.
    """
    logs.configure()
    if (new is None) is (edge is None):
        raise ConfigurationError("diff wants two files, or one file and --edge unix:///run/edge.sock")
    if new is None:
        print(_ask(old, _local(edge or "")))
        return 0
    changes = changes_between(read_services(old), read_services(new))
    lines = [line for change in changes for line in _lines(change)]
    if sys.stdout.isatty():
        _print_table(lines)
    else:
        for line in lines:
            print(" ".join(filter(None, (f"{line.service}:", line.field, line.what, _fate(line)))))
    summary = Plan(
        added=tuple(change.name for change in changes if change.before is None),
        changed={change.name: change.fields for change in changes if change.fields},
        removed=tuple(change.name for change in changes if change.after is None),
    )
    print(str(summary).partition(";")[0])
    return 0


def _local(text: str) -> Address:
    with suppress(ConfigurationError):
        address = parse_address(text)
        if address.scheme == "unix":
            return address
    raise ConfigurationError(f"--edge {text!r} must be a local socket, as in unix:///run/edge.sock")


def _ask(path: str, edge: Address) -> str:
    """Send a file to a serving edge and give what it would do there, in words."""
    import httpx  # comparing files need not wait for it

    read_services(path)  # says what is wrong with a file better than anybody it is sent to
    lines = (f"{line}\n".encode() for line in toml_lines(path))
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=edge.path), timeout=EDGE_SECONDS) as client:
            answer = client.post("http://edge/v1/plan", content=lines)
            answer.raise_for_status()
            return str(answer.json()["says"])
    except httpx.HTTPError as error:
        raise UnansweredError(f"{edge} does not answer: {error}") from None


def changes_between(old: Snapshot, new: Snapshot) -> list[Change]:
    """Give what changes from one snapshot to another, service by service in the order of the new one."""
    services = Services(Total(), Total(), governed=True)
    for name, settings in old.services.items():
        services.apply(Change(name, None, settings), None)
    return [change for change in diff(services, new) if change is not None]


def _lines(change: Change) -> Iterator[Line]:
    if change.before is None:
        yield Line(change.name, "", "is new", None)
    elif change.after is None:
        yield Line(change.name, "", "is no more", Fate.EVICT)
    else:
        for field in change.fields:
            what = f"{_value(change.before, field)} -> {_value(change.after, field)}"
            yield Line(change.name, field, what, FATES[field])


def _value(settings: Settings, field: str) -> str:
    """Write a value as the file does; of a password only whether there is one."""
    if field == "password_hash":
        return "none" if settings.credentials.password_hash is None else "set"
    value = getattr(settings.policy, field)
    if value is None:
        return "none"
    if field in ("down_rate", "up_rate"):
        return format_rate(value)
    if isinstance(value, tuple):
        return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fate(line: Line) -> str:
    return "" if line.fate is None else f"({line.fate}: {WORDS[line.fate]})"


def _print_table(lines: list[Line]) -> None:
    from rich import box
    from rich.console import Console  # a pipe need not wait for rich
    from rich.table import Table

    styles = {None: "green", Fate.KEEP: "", Fate.RETUNE: "cyan", Fate.RECHECK: "yellow", Fate.EVICT: "red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in ("service", "field", "change", "live sessions"):
        table.add_column(column)
    for line in lines:
        fate = "" if line.fate is None else f"{line.fate}: {WORDS[line.fate]}"
        table.add_row(line.service, line.field, line.what, fate, style=styles[line.fate])
    if lines:
        Console().print(table)
