"""Services out of a control plane over HTTP; the contract is in ``docs/reference/control-plane.md``."""

import json
import os
import random
from collections.abc import Generator
from math import inf
from typing import Any, Final

import attrs
import trio

from ..arguments import check_number, number_fault
from ..loop.slices import in_slices
from ..services.control_plane import DeviceVerdict, Link, SnapshotError
from ..services.report import Report
from ..structures.backoff import Backoff
from .http_client import HttpClient, NoAnswerError, short
from .snapshot_lines import KnownLines, SnapshotReader

SNAPSHOT_SECONDS: Final = 300.0
"""For a snapshot to come in full, beyond the wait for news."""

READ_SECONDS: Final = 10.0
"""For the next bytes to come, beyond the wait for news."""

REPORT_SECONDS: Final = 10.0

SOONEST_SECONDS: Final = 0.1
"""Between two requests for a snapshot, for a control plane that does not wait or changes all the time."""

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0

MAX_CHECKS: Final = 32
"""Device checks under way; more wait their turn. Two more connections are for snapshots and reports."""

MAX_VERDICT_SECONDS: Final = 86_400.0


class HttpControl:
    """Services as a control plane over HTTP says, which also checks devices and takes reports.

    It is asked for news all the time, and answers when there are any. While it cannot be reached, and while what it
    says has faults, what it said last holds on; it is asked again after 0.5 to 30 s.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        wait_seconds: float = 30.0,
        check_seconds: float = 3.0,
        plain_http: bool = False,
    ) -> None:
        """Describe where it is; nothing is opened before the edge serves.

        Args:
            url: ``https://control.example``, and a path if it does not stand at the root.
            token: shown with each request; it is never logged.
            ca: a file of certificates in PEM, to trust instead of those that the system does.
            wait_seconds: how long the control plane may wait for news before it answers that there are none.
            check_seconds: how long the check of a device may take, above 0.
            plain_http: allow ``http://`` to other machines than this one; then without a token.

        Raises:
            ConfigurationError: what cannot be, and how to mend it.
        """
        check_number("HttpControl", "wait_seconds", wait_seconds)
        check_number("HttpControl", "check_seconds", check_seconds, above=0)
        self._client = HttpClient(
            "HttpControl",
            url,
            token=token,
            ca=ca,
            plain_http=plain_http,
            connections=MAX_CHECKS + 2,
            read_seconds=wait_seconds + READ_SECONDS,
        )
        self._wait_seconds = wait_seconds
        self._check_seconds = check_seconds
        self._checks = trio.CapacityLimiter(MAX_CHECKS)

    def __repr__(self) -> str:
        return f"HttpControl({self._client!r})"

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask for snapshots and apply them, until cancelled; every connection is closed then."""
        backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
        known, version, wait = KnownLines(), "", 0.0
        async with self._client.open():
            while True:
                soonest = trio.current_time() + SOONEST_SECONDS
                try:
                    version = await self._news(link, known, version, wait)
                except (NoAnswerError, SnapshotError) as error:
                    refused = isinstance(error, SnapshotError)
                    link.failed(f"snapshot refused: {self._client.url}: {error}" if refused else str(error))
                    wait = 0.0  # whether it is back is to be known before there are news
                    await trio.sleep(backoff.failed())
                else:
                    backoff.succeeded()
                    wait = self._wait_seconds
                    link.reached()
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    await trio.sleep_until(soonest)

    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        """Ask whether a device may use a service; at most 32 are asked for at a time, the others wait for that.

        Raises:
            NoAnswerError: there was none within `check_seconds`, or one that is against the contract.
        """
        body = json.dumps({"service": service, "device": device}).encode()
        try:
            with trio.fail_after(self._check_seconds):
                async with self._checks:
                    return _verdict(await self._client.post("/v1/devices/check", inf, body))
        except trio.TooSlowError:
            raise NoAnswerError(
                f"{self._client.url}: no answer to a device check within {self._check_seconds:g} s"
            ) from None

    async def report(self, report: Report, /) -> None:
        """Send a report.

        Raises:
            NoAnswerError: it was not acknowledged.
        """
        answer = await self._client.post("/v1/report", REPORT_SECONDS, await in_slices(_encoded(report)))
        if answer != {"acknowledged": report.sequence}:
            raise NoAnswerError(f"{self._client.url}: report {report.sequence} was answered by {short(answer)}")

    async def _news(self, link: Link, known: KnownLines, version: str, wait: float) -> str:
        """Wait so long for what is newer than `version`, and let it hold; give the version that holds then.

        Raises:
            NoAnswerError: there was no answer, or one that is against the contract.
            SnapshotError: the snapshot was refused.
        """
        query = {"wait": f"{wait:g}"} if wait else {}
        headers = {"If-None-Match": version} if version else {}
        good = (200, 304) if version else (200,)
        seconds = wait + SNAPSHOT_SECONDS
        async with SnapshotReader(known, link.stage_keys) as reader:
            async with self._client.ask(
                "GET", "/v1/snapshot", seconds, good=good, params=query, headers=headers
            ) as answer:
                if answer.status == 304:
                    return version
                version = answer.headers.get("ETag", "")
                if not version or not version.isascii():
                    raise NoAnswerError("a snapshot without an ETag in ASCII")
                await reader.receive(answer.chunks)
            await reader.apply(link)
        return version


def _verdict(answer: object) -> DeviceVerdict:
    match answer:
        case {"accept": bool(accept), **more}:
            seconds: Any = more.get("seconds", 60)
            detail = more.get("detail", "")
            if not number_fault(seconds, above=0, maximum=MAX_VERDICT_SECONDS) and isinstance(detail, str):
                return DeviceVerdict(accept, float(seconds), detail)
    raise NoAnswerError(f"a device check was answered by {short(answer)}")


def _encoded(report: Report) -> Generator[None, None, bytes]:
    """Write a report as JSON, a service a step."""
    head = {"edge": report.edge, "epoch": report.epoch, "sequence": report.sequence}
    services = []
    for usage in report.services:
        services.append(json.dumps(attrs.asdict(usage, recurse=False)))
        yield
    return f'{json.dumps(head)[:-1]}, "services": [{", ".join(services)}]}}'.encode()
