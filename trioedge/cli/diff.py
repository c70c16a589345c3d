"""``trioedge diff``: print what another services file would change, and what that does to live sessions."""

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from ..control.file import read_services
from ..errors import ConfigurationError
from ..process import logs
from ..services.changes import fate_of, find_field
from ..services.policy import Fate
from ..services.rates import format_bytes, format_rate
from ..services.services import Services, diff
from ..services.snapshot import Change, Plan, Snapshot, removal_fault
from ..services.stage_keys import StageKeys
from ..services.terms.moment import format_moment
from ..session.meter import Total
from .target import load

NO_TARGET: Final = StageKeys(otherwise="if a stage reads it, say which: --target edge.py")
"""The keys of stages where no edge is known."""

WORDS: Final = {
    Fate.KEEP: "live sessions stay as they are",
    Fate.RETUNE: "live sessions go on with the new value",
    Fate.RECHECK: "live sessions are judged again; those that would be refused are cut",
    Fate.EVICT: "live sessions are cut",
}


_FORMS: Final[dict[str, Callable[[Any], str]]] = {
    "down_rate": format_rate,
    "up_rate": format_rate,
    "quota_bytes": format_bytes,
    "quota_used": format_bytes,
    "expires_at": format_moment,
    "listen": lambda value: ", ".join(value) or "none",
}
"""How a file has the values of these fields."""


@attrs.frozen
class Line:
    """One field of one service.

    Attributes:
        service: the name of the service.
        field: the name of the field; empty if the service itself is added or removed.
        what: the old and the new value.
        fate: what becomes of live sessions; None for a new service, which has none.
    """

    service: str
    field: str
    what: str
    fate: Fate | None


def diff_command(
    old: str,
    new: str | None = None,
    /,
    *,
    edge: str | None = None,
    token_file: str | None = None,
    target: str | None = None,
) -> int:
    """Compare two services files: which fields change, and what becomes of live sessions.

    With --edge, ask a serving edge what one file would do now, as trioedge plan does: how many sessions it retunes and
    evicts.

    Exit codes: 0 all could be read, 2 a file has faults, which are all on stderr, or leaves out so many services that
    an edge refuses it, 3 the edge does not answer.

    Args:
        old: The file that is applied; with --edge the new file.
        new: The new file.
        edge: The admin API of a serving edge, as its admin= says, or a target whose admin= is read.
        token_file: A file with the token of that API.
        target: The edge of the two files, module:name or file.py[:name], where its own stages read keys of a service.
    """
    logs.configure()
    if (new is None) is (edge is None):
        raise ConfigurationError("diff wants two files, or one file and --edge unix:///run/edge.sock")
    if new is None:
        if target is not None:
            raise ConfigurationError("--target is for two files: the edge at --edge knows its own stages")
        from .client.which import Asked  # two files need no client
        from .live.plan import plan

        return plan(old, asked=Asked(edge=edge, token_file=token_file))
    stage_keys = NO_TARGET if target is None else load(target).stage_keys
    before, after = read_services(old, stage_keys), read_services(new, stage_keys)
    changes = changes_between(before, after)
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
    refusal = removal_fault(len(summary.removed), len(before.services), none_left=not after.services)
    if refusal and not after.allow_removal:
        raise ConfigurationError(f"{new}: an edge refuses it: {refusal}")
    return 0


def changes_between(old: Snapshot, new: Snapshot) -> list[Change]:
    """Return the changes from one snapshot to another, service by service in the order of the new one."""
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
            old, new = _values(change, field)
            yield Line(change.name, field, f"{old} -> {new}", fate_of(field, change.before, change.after))


def _values(change: Change, field: str) -> Iterator[str]:
    """Yield the old and the new value of a field as a file has them; of a secret only whether there is one."""
    found = find_field(field, change.before, change.after)
    for settings in (change.before, change.after):
        assert settings is not None
        if found is not None:
            keys, attribute = found
            yield _written(getattr(settings.policy[keys], attribute.name), secret=not attribute.repr)
        elif field == "password_hash":
            yield _written(settings.credentials.password_hash, secret=True)
        else:
            value = getattr(settings.policy, field)
            form = _FORMS.get(field)
            yield form(value) if form is not None and value is not None else _written(value)


def _written(value: object, *, secret: bool = False) -> str:
    if value is None:
        return "none"
    if secret:
        return "set"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fate(line: Line) -> str:
    return "" if line.fate is None else f"({line.fate}: {WORDS[line.fate]})"


def _print_table(lines: list[Line]) -> None:
    from rich import box
    from rich.console import Console  # a pipe need not wait for rich
    from rich.markup import escape
    from rich.table import Table

    styles = {None: "green", Fate.KEEP: "", Fate.RETUNE: "cyan", Fate.RECHECK: "yellow", Fate.EVICT: "red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in ("service", "field", "change", "live sessions"):
        table.add_column(column)
    for line in lines:
        fate = "" if line.fate is None else f"{line.fate}: {WORDS[line.fate]}"
        table.add_row(*map(escape, (line.service, line.field, line.what, fate)), style=styles[line.fate])
    if lines:
        Console().print(table)
