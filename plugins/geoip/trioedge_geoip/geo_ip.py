"""The stage: a decision by country and AS number, whose tables are renewed in the background."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import trio
import trioedge as te

from .changes import Changes, identity_of
from .places import Places
from .rules import Geoip, Rules, compile_rules, read_as_numbers, read_countries
from .table import Table, lacks

LOOK_SECONDS: Final = 1.0
"""Between two looks at the files."""


class GeoIp:
    """Accept or reject clients by country and AS number, out of MaxMind DB files; an entry that rejects wins.

    With accepted entries, an address that matches none is refused; with rejected entries only, it is accepted. Refusals
    have reason ``source``, and the country or AS number as detail. Without any entries the `GeoRules` in the policy of
    the session's service apply; when they change, live sessions that they refuse are cut.

    The files are looked at once a second, and a new one is used once it has stayed the same for 2 s. One that is broken
    or missing changes nothing: the former table stays, and the log says why. A new table is for new sessions.

    Takes 0.3 µs for an address seen lately, and as long as its record needs for another one: 2 to 10 µs. Each process
    has a copy of the files in memory.
    """

    kind = "decision"

    def __init__(
        self,
        path: str | os.PathLike[str],
        asn_path: str | os.PathLike[str] | None = None,
        accept_countries: list[str] | tuple[str, ...] = (),
        reject_countries: list[str] | tuple[str, ...] = (),
        accept_as_numbers: list[int] | tuple[int, ...] = (),
        reject_as_numbers: list[int] | tuple[int, ...] = (),
        unknown: Literal["accept", "reject"] | None = None,
        local: Literal["accept", "reject"] | None = None,
    ) -> None:
        """Compile the rules; the files are read when an edge serves, which does not start without them.

        Args:
            path: the path of a file with countries, with AS numbers or with both, such as ``GeoLite2-Country.mmdb``.
            asn_path: the path of a second file, such as ``GeoLite2-ASN.mmdb``; None if there is none.
            accept_countries: ISO codes of countries, two letters each, such as ``DE``.
            reject_countries: the same.
            accept_as_numbers: AS numbers, 0 to 4294967295.
            reject_as_numbers: the same.
            unknown: ``accept`` or ``reject`` addresses of which the files lack what an entry asks; None for the verdict
                about an address that matches no entry.
            local: the same about local sockets and the addresses of internal networks, which no file has.

        Raises:
            ConfigurationError: names the argument, its fault and the mend.
        """
        self.path = _read_path("path", path)
        self.asn_path = None if asn_path is None else _read_path("asn_path", asn_path)
        for name, choice in (("unknown", unknown), ("local", local)):
            if choice is not None:
                te.check_choice("GeoIp", name, choice, ("accept", "reject"))
        self.unknown, self.local = unknown, local
        entries = (
            _read("accept_countries", read_countries, accept_countries),
            _read("reject_countries", read_countries, reject_countries),
            _read("accept_as_numbers", read_as_numbers, accept_as_numbers),
            _read("reject_as_numbers", read_as_numbers, reject_as_numbers),
        )
        try:
            self.rules = compile_rules(*entries)
        except te.ConfigurationError as error:
            raise te.ConfigurationError(f"GeoIp: {error}") from None
        by_policy = self.rules is None
        self.requires = ("service", "source") if by_policy else ("source",)
        self.policy = Geoip if by_policy else None
        self.needs_control = by_policy

    def __repr__(self) -> str:
        rules = self.rules
        said = "" if rules is None else f", {len(rules.accepted)} accepted, {len(rules.rejected)} rejected"
        return f"GeoIp({self.path.name}{said})"

    def open(self, context: te.EdgeContext) -> "LiveGeoIp":
        """Read the files for one run of an edge.

        Raises:
            ConfigurationError: names a file that cannot be used, or that lacks what an entry asks.
        """
        return LiveGeoIp(self, context)


class _File:
    """A file that is looked at, and the table that is used of it."""

    def __init__(self, path: Path, log: te.EdgeLog) -> None:
        self._path = path
        self._log = log
        self._changes = Changes(identity_of(path))
        self._broken = 0
        self._use(_read_table(path))

    def changed(self) -> bool:
        """Tell whether the file counts as changed."""
        return self._changes.count(identity_of(self._path), trio.current_time())

    async def renew(self) -> bool:
        """Read the file again, and tell whether there is another table; after a cancel the former one stays."""
        try:
            table = await trio.to_thread.run_sync(Table, self._path, abandon_on_cancel=True)
        except FileNotFoundError:
            return self._stays("it is gone")
        except OSError as error:
            self._changes.retry(trio.current_time())
            return self._stays(error.strerror or str(error))
        except te.ConfigurationError as error:
            return self._stays(str(error))
        if missing := lacks([table], countries=self.table.has_countries, as_numbers=self.table.has_as_numbers):
            return self._stays(f"the new one ({table.kind}) has no {missing}")
        self._use(table)
        return True

    def say_broken(self) -> None:
        """Log that records of the table could not be read since the last look."""
        if self.table.broken != self._broken:
            self._broken = self.table.broken
            self._log.notice("geoip table is broken: download it again", path=str(self._path), records=self._broken)

    def _use(self, table: Table) -> None:
        self.table: Table = table
        self._broken = 0
        self._log.say("geoip table loaded", path=str(self._path), kind=table.kind, built=table.built)

    def _stays(self, why: str) -> bool:
        self._log.notice("geoip table not loaded: the former one stays", path=str(self._path), error=why)
        return False


class LiveGeoIp:
    """`GeoIp` while an edge runs."""

    def __init__(self, recipe: GeoIp, context: te.EdgeContext) -> None:
        self._log = context.log
        self._rules = recipe.rules
        self._files = [_File(path, context.log) for path in (recipe.path, recipe.asn_path) if path is not None]
        if (rules := recipe.rules) is not None and (missing := self._lacks(rules)):
            name = "asn_path" if missing == "AS numbers" else "path"
            raise te.ConfigurationError(f"{recipe!r} has entries for {missing}, and no file has any: give {name}=")
        self._places = Places(
            _verdict(recipe.unknown, "the place of the address is unknown"), _verdict(recipe.local, "a local address")
        )
        self._use_tables()
        if rules is None:
            context.watch(self)

    def decide(self, session: te.Session) -> te.Verdict:
        """Find the place of the address, and apply the rules to it."""
        rules = self._rules
        if rules is None:
            rules = session.policy[Geoip].rules
            if rules is None:
                return te.CONTINUE
        return rules.judge(self._places.of(session.source_bytes, session.source))

    def changed(self, service: te.Service, _: te.Change) -> None:
        """Warn about rules of a service for which no file has the facts."""
        rules = service.policy[Geoip].rules
        if rules is not None and (missing := self._lacks(rules)):
            self._log.notice("geoip rules have no effect", service=service.name, error=f"no file has {missing}")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look at the files once a second, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(LOOK_SECONDS)
            for file in self._files:
                file.say_broken()
                if file.changed() and await file.renew():
                    self._use_tables()

    def _use_tables(self) -> None:
        self._places.look_in(file.table.record for file in self._files)

    def _lacks(self, rules: Rules) -> str:
        return lacks(
            [file.table for file in self._files], countries=rules.names_countries, as_numbers=rules.names_as_numbers
        )


def _read_path(name: str, path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or str(path) == "" or "\0" in str(path):
        raise te.ConfigurationError(
            f"GeoIp({name}={path!r:.80}) must be the path of a file, as in 'GeoLite2-Country.mmdb'"
        )
    return Path(path).absolute()


def _read(name: str, read: Any, entries: Sequence[Any]) -> Any:
    try:
        return read(entries)
    except te.ConfigurationError as error:
        raise te.ConfigurationError(f"GeoIp({name}): {error}") from None


def _read_table(path: Path) -> Table:
    try:
        return Table(path)
    except OSError as error:
        raise te.ConfigurationError(f"GeoIp: {path}: {error.strerror}: write the path of a MaxMind DB file") from None
    except te.ConfigurationError as error:
        raise te.ConfigurationError(f"GeoIp: {error}") from None


def _verdict(choice: str | None, detail: str) -> te.Verdict | None:
    if choice is None:
        return None
    return te.CONTINUE if choice == "accept" else te.Reject(te.Reason.SOURCE, detail)
