"""The control plane's data in SQLite. One thread at a time may call it; every call is one transaction."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FRESH_SECONDS = 60
"""How long an edge uses a verdict before it asks again."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (id TEXT NOT NULL, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS services (name TEXT PRIMARY KEY, version INTEGER NOT NULL, settings TEXT);
CREATE INDEX IF NOT EXISTS services_by_version ON services (version);
CREATE TABLE IF NOT EXISTS devices (
    service TEXT, device TEXT, seen REAL NOT NULL DEFAULT 0, denied INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (service, device)
);
CREATE INDEX IF NOT EXISTS devices_denied ON devices (service) WHERE denied;
CREATE TABLE IF NOT EXISTS usage (
    edge TEXT, epoch TEXT, service TEXT, incarnation INTEGER, sequence INTEGER NOT NULL,
    bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL, opened INTEGER NOT NULL,
    PRIMARY KEY (edge, epoch, service, incarnation)
);
CREATE INDEX IF NOT EXISTS usage_by_service ON usage (service);
CREATE TABLE IF NOT EXISTS periods (service TEXT PRIMARY KEY, base INTEGER NOT NULL);
"""
# A removed service keeps its row, without settings, so that edges with an older version are told of the removal.

USAGE = ("service", "incarnation", "bytes_up", "bytes_down", "opened")

KEEP_THE_NEWEST = """
INSERT INTO usage (edge, epoch, service, incarnation, sequence, bytes_up, bytes_down, opened)
VALUES (:edge, :epoch, :service, :incarnation, :sequence, :bytes_up, :bytes_down, :opened)
ON CONFLICT DO UPDATE SET
    sequence = excluded.sequence, bytes_up = excluded.bytes_up, bytes_down = excluded.bytes_down,
    opened = excluded.opened
WHERE excluded.sequence > usage.sequence
"""


class Store:
    """Services with versions, their devices, and the usage of each incarnation of a service in each run of an edge."""

    def __init__(self, path: str | Path) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)
        with self._database:
            row = self._database.execute("SELECT id, version FROM state").fetchone()
            if row is None:
                row = secrets.token_hex(4), 1
                self._database.execute("INSERT INTO state VALUES (?, ?)", row)
        self._id: str = row[0]
        self._version: int = row[1]

    @property
    def version(self) -> str:
        """The version of the services; no other database has the same."""
        return f"{self._id}.{self._version}"

    def close(self) -> None:
        self._database.close()

    def put(self, name: str, settings: Mapping[str, Any] | None) -> None:
        """Add a service or replace its settings; None removes the service."""
        self._change({name: settings})

    def replace(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace all services; services that stay the same get no new version."""
        rows = self._database.execute("SELECT name, settings FROM services WHERE settings IS NOT NULL")
        before = {name: json.loads(settings) for name, settings in rows}
        names = before.keys() | services.keys()
        self._change({name: services.get(name) for name in names if services.get(name) != before.get(name)})

    def _change(self, services: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Make one new version of all changes, if there are any."""
        if not services:
            return
        version = self._version + 1
        rows = [
            (name, version, None if settings is None else json.dumps(settings)) for name, settings in services.items()
        ]
        with self._database:
            self._database.execute("UPDATE state SET version = ?", (version,))
            self._database.executemany("INSERT OR REPLACE INTO services VALUES (?, ?, ?)", rows)
        self._version = version

    def snapshot(self, since: str) -> tuple[str, str]:
        """Give the version and the lines of a snapshot: the changes since a known version, or else all services."""
        database, _, number = since.rpartition(".")
        known = database == self._id and number.isdecimal() and int(number) <= self._version
        rows = self._database.execute(
            "SELECT name, settings FROM services WHERE version > ? AND (settings IS NOT NULL OR ?) ORDER BY name",
            (int(number) if known else 0, known),
        )
        lines = [self._line(name, settings) for name, settings in rows]
        head: dict[str, Any] = {"version": self.version, "full": not known}
        if not known and self._has_removed():
            head["allow_removal"] = True
        return self.version, "\n".join([json.dumps(head), *lines, json.dumps({"end": len(lines)}), ""])

    def _line(self, name: str, said: str | None) -> str:
        """Write the line of a service; one with a quota says how much of that is used in this period."""
        if said is None:
            return json.dumps({"removed": name})
        settings = json.loads(said)
        if settings.get("quota_bytes") is not None:
            settings["quota_used"] = self.used(name)
        return json.dumps({"name": name, **settings})

    def used(self, service: str) -> int:
        """Give the bytes that were reported since the period of a service began."""
        row = self._database.execute("SELECT base FROM periods WHERE service = ?", (service,)).fetchone()
        return self._bytes(service) - (row[0] if row else 0)

    def begin_period(self, service: str) -> None:
        """Begin a period, in which nothing of the service's quota is used yet; edges have it at once."""
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO periods VALUES (?, ?)", (service, self._bytes(service)))
        settings = self.settings(service)
        self._change({} if settings is None else {service: settings})

    def _bytes(self, service: str) -> int:
        totals = self.totals(service)
        return totals["bytes_up"] + totals["bytes_down"]

    def _has_removed(self) -> bool:
        """Tell whether services are gone because an operator removed them: a new or lost database has no such row."""
        return self._database.execute("SELECT 1 FROM services WHERE settings IS NULL LIMIT 1").fetchone() is not None

    def settings(self, name: str) -> dict[str, Any] | None:
        """Give the settings of a service, or None if there is none."""
        row = self._database.execute("SELECT settings FROM services WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row and row[0] is not None else None

    def check(self, service: str, device: str) -> dict[str, Any]:
        """Check a device: it is refused if it is denied, or if as many others as the limit allows were seen lately."""
        settings, now = self.settings(service), time.time()
        if settings is None:
            return _verdict(False, "no such service")
        denied = "SELECT 1 FROM devices WHERE service = ? AND denied AND ? GLOB device"
        if self._database.execute(denied, (service, device)).fetchone():
            return _verdict(False, "denied")
        lately = now - 2 * FRESH_SECONDS
        limit = settings.get("device_limit")
        if limit is not None and settings.get("device_handover") in (None, "reject_new"):
            (others,) = self._database.execute(
                "SELECT count(*) FROM devices WHERE service = ? AND device != ? AND seen > ? AND NOT denied",
                (service, device, lately),
            ).fetchone()
            if others >= limit:
                return _verdict(False, f"{others} devices already")
        with self._database:
            self._database.execute(
                "INSERT INTO devices (service, device, seen) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET seen = excluded.seen",
                (service, device, now),
            )
        return _verdict(True, "")

    def deny(self, service: str, device: str, denied: bool) -> None:
        """Deny a device, or all that match a pattern like ``192.0.2.*``; accept them again if `denied` is False."""
        with self._database:
            self._database.execute(
                "INSERT INTO devices (service, device, denied) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET denied = excluded.denied",
                (service, device, denied),
            )

    def report(self, report: Mapping[str, Any]) -> None:
        """Store the newest usage of each incarnation of a service; a report is stored whole, or not at all.

        Services with a quota get a new version, because more of that is used.
        """
        head = {key: report[key] for key in ("edge", "epoch", "sequence")}
        rows = [head | {key: usage[key] for key in USAGE} for usage in report["services"]]
        with self._database:
            self._database.executemany(KEEP_THE_NEWEST, rows)
        known = {row["service"]: self.settings(row["service"]) for row in rows}
        self._change({name: said for name, said in known.items() if said and said.get("quota_bytes") is not None})

    def totals(self, service: str) -> dict[str, int]:
        """Add up the newest usage of all incarnations of a service."""
        row = self._database.execute(
            "SELECT total(bytes_up), total(bytes_down), total(opened) FROM usage WHERE service = ?", (service,)
        ).fetchone()
        return dict(zip(("bytes_up", "bytes_down", "opened"), map(int, row), strict=True))


def _verdict(accept: bool, detail: str) -> dict[str, Any]:
    return {"accept": accept, "seconds": FRESH_SECONDS, "detail": detail}
