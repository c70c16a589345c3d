"""HttpControl: a control plane over HTTP. The contract is in ``docs/reference/control-plane.md``."""

import ipaddress
import json
import os
import random
import ssl
from collections.abc import Callable, Generator
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import trio

from ..arguments import Fixed, check_number, number_fault
from ..errors import ConfigurationError, quote
from ..loop.slices import in_slices
from ..secrets import Secret
from ..services.control_plane import DeviceVerdict, Link, SnapshotError
from ..services.report import Report
from ..structures.backoff import Backoff
from .arrivals import arrivals
from .http_client import HttpClient, NoAnswerError, Url, parse_url
from .renewal import (
    TOKEN_RULE,
    Authorities,
    RenewedFile,
    ask_for_token,
    is_token,
    read_authorities,
    read_token,
)
from .snapshot_lines import SnapshotReader

T = TypeVar("T")

SNAPSHOT_SECONDS: Final = 300.0
"""For a whole snapshot, in addition to the wait for news."""

READ_SECONDS: Final = 10.0
"""For the next bytes of an answer, in addition to the wait for news."""

REPORT_SECONDS: Final = 10.0

SOONEST_SECONDS: Final = 0.1
"""Between two requests for a snapshot, because a control plane may answer at once or change all the time."""

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0

MAX_CHECKS: Final = 32
"""Device checks under way; more wait their turn. Each edge has two connections more, for snapshots and reports."""

MAX_VERDICT_SECONDS: Final = 86_400.0


class HttpControl(Fixed):
    """A control plane over HTTP. It names the services, checks devices and takes reports.

    The edge asks for news by long polls. While the control plane cannot be reached, and while its snapshots have
    faults, the services stay as they were applied last; the edge asks again after 0.5 to 30 s, or as long as a
    ``Retry-After`` says, up to 300 s.

    One object may serve several edges at once: each has its own long poll, and the limit of 32 device checks is
    for all of them together.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | Secret | Callable[[], str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        wait_seconds: float = 30.0,
        check_seconds: float = 3.0,
        plain_http: bool = False,
    ) -> None:
        """Describe the control plane; nothing is opened before the edge serves.

        Args:
            url: ``https://control.example``, with a path if the routes are below one.
            token: sent with every request as a bearer token; never logged. A function returns the one of each request,
                at once: it must not wait. A :class:`~trioedge.Secret` is read for each request.
            token_file: a file with the token, in place of `token`. It is read again once it differs; while it cannot be
                used, its former content is.
            ca: a file of PEM certificates to trust in place of the system's. New connections trust the file as it is
                then, in the same way.
            wait_seconds: how long the control plane may wait for news before it answers that there is none, at least 0.
            check_seconds: how long a device check may take, above 0.
            plain_http: allow ``http://`` to other machines than this one, without a token.

        Raises:
            ConfigurationError: an argument is wrong; the message says how to mend it.
        """
        check_number("HttpControl", "wait_seconds", wait_seconds)
        check_number("HttpControl", "check_seconds", check_seconds, above=0)
        files = list[RenewedFile[Any]]()
        base = _check_url(url, token is not None or token_file is not None, plain_http)
        self._client = HttpClient(
            base,
            token=_token(token, token_file, files),
            trust=_trust(ca, files) if base.scheme == "https" else None,
            read_seconds=wait_seconds + READ_SECONDS,
        )
        self._files = tuple(files)
        self._shown = ", token=..." * (token is not None)
        self._shown += f", token_file={quote(token_file)}" if token_file is not None else ""
        self._wait_seconds = wait_seconds
        self._check_seconds = check_seconds
        self._checks = trio.CapacityLimiter(MAX_CHECKS)

    def __repr__(self) -> str:
        return f"HttpControl({self._client.url!r}{self._shown})"

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask for snapshots and apply them, until cancelled.

        After a cancel the services stay as they were applied last, and the connections are closed, unless another run
        uses them.
        """
        backoff, wait = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random), 0.0
        async with self._client.open(), arrivals(link) as snapshots:
            while True:
                soonest = trio.current_time() + SOONEST_SECONDS
                try:
                    await snapshots.next(partial(self._news, link, snapshots.version, wait))
                except (NoAnswerError, SnapshotError) as error:
                    refused = isinstance(error, SnapshotError)
                    said = [f"snapshot refused: {self._client.url}: {error}" if refused else str(error)]
                    link.failed("; ".join(said + [file.fault for file in self._files if file.fault]))
                    wait = 0.0  # the next answer comes at once, so the edge knows that the control plane is back
                    asked = error.retry_seconds if isinstance(error, NoAnswerError) else 0.0
                    await trio.sleep(max(backoff.failed(), asked))
                else:
                    if snapshots.settled:
                        backoff.succeeded()
                    wait = self._wait_seconds
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    await trio.sleep_until(soonest)

    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        """Ask whether a device may use a service. At most 32 checks are under way; more wait their turn.

        Raises:
            NoAnswerError: there was no answer within `check_seconds`, the wait for a turn included, or one that breaks
                the contract; or no edge is running with this control plane.
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
            NoAnswerError: the report was not acknowledged within 10 s.
        """
        answer = await self._client.post("/v1/report", REPORT_SECONDS, await in_slices(_encoded(report)))
        if answer != {"acknowledged": report.sequence}:
            raise NoAnswerError(f"{self._client.url}: report {report.sequence} was answered by {quote(answer)}")

    async def _news(self, link: Link, version: str, wait: float, reader: SnapshotReader) -> str | None:
        """Ask for a snapshot newer than `version`, receive it, and give its version; None if there is none.

        Args:
            link: is told if there is no news.
            version: of the snapshot received last; empty before the first.
            wait: how many seconds the control plane may wait for news.
            reader: receives the snapshot.

        Raises:
            NoAnswerError: there was no answer, or one that breaks the contract.
            SnapshotError: this is no snapshot.
        """
        query = {"wait": f"{wait:g}"} if wait else {}
        headers = {"If-None-Match": version} if version else {}
        good = (200, 304) if version else (200,)
        seconds = wait + SNAPSHOT_SECONDS
        async with self._client.ask("GET", "/v1/snapshot", seconds, good=good, params=query, headers=headers) as answer:
            if answer.status == 304:
                link.reached()
                return None
            etag = answer.headers.get("ETag", "")
            if not etag or not etag.isascii():
                raise NoAnswerError("a snapshot without an ETag in ASCII")
            await reader.receive(answer.chunks)
        return etag


def _check_url(url: str, has_token: bool, plain_http: bool) -> Url:
    """Refuse a URL that is wrong, or that would send policies or the token over a network in clear text."""
    try:
        base = parse_url(url)
    except ValueError as error:
        raise ConfigurationError(f"HttpControl(url=...) is no URL: {error}") from None
    if base.userinfo:
        raise ConfigurationError("HttpControl(url=...) has a user in it: a password goes into token=")
    strange = base.query or base.fragment or not (base.port is None or 0 < base.port < 65536)
    if base.scheme not in ("https", "http") or not base.host or strange:
        raise ConfigurationError(f"HttpControl({url!r}) must be like 'https://control.example' or '.../path'")
    if base.scheme == "http" and not _on_this_machine(base.host):
        if has_token:
            raise ConfigurationError(f"HttpControl({url!r}) would send the token in clear text: use https://")
        if not plain_http:
            raise ConfigurationError(
                f"HttpControl({url!r}) lets the network in between change policies: use https://, or plain_http=True"
            )
    return base


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(
    token: str | Secret | Callable[[], str] | None,
    token_file: str | os.PathLike[str] | None,
    files: list[RenewedFile[Any]],
) -> Callable[[], str] | None:
    """Make the function that gives the token of a request; None without a token."""
    if token_file is not None:
        if token is not None:
            raise ConfigurationError("HttpControl(token=..., token_file=...) has two tokens: leave one out")
        return _renewed("token_file", token_file, read_token, files).value
    if isinstance(token, Secret):
        if token.file is not None:
            return _renewed("token", token.file, read_token, files).value
        token.read()  # a variable that is not set is a fault now, and not with the first request
        return ask_for_token(token.read)
    if token is None:
        return None
    if callable(token):
        return ask_for_token(token)
    if not is_token(token):
        raise ConfigurationError(f"HttpControl(token=...) {TOKEN_RULE}, or a function that returns it")
    return lambda: token


def _trust(ca: str | os.PathLike[str] | None, files: list[RenewedFile[Any]]) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    return Authorities(_renewed("ca", ca, read_authorities, files))


def _renewed(
    name: str, path: str | os.PathLike[str], read: Callable[[Path], T], files: list[RenewedFile[Any]]
) -> RenewedFile[T]:
    """Read the file of an argument, and add it to those that are looked at again."""
    try:
        file = RenewedFile(path, read)
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(f"HttpControl({name}={quote(path)}) cannot be read: {error}") from None
    files.append(file)
    return file


def _verdict(answer: object) -> DeviceVerdict:
    match answer:
        case {"accept": bool(accept), **more}:
            seconds: Any = more.get("seconds", 60)
            detail = more.get("detail", "")
            if not number_fault(seconds, above=0, maximum=MAX_VERDICT_SECONDS) and isinstance(detail, str):
                return DeviceVerdict(accept, float(seconds), detail)
    raise NoAnswerError(f"a device check was answered by {quote(answer)}")


def _encoded(report: Report) -> Generator[None, None, bytes]:
    """Write a report as JSON, one service a step."""
    head = {"edge": report.edge, "epoch": report.epoch, "sequence": report.sequence}
    services = []
    for usage in report.services:
        services.append(json.dumps(attrs.asdict(usage, recurse=False)))
        yield
    return f'{json.dumps(head)[:-1]}, "services": [{", ".join(services)}]}}'.encode()
