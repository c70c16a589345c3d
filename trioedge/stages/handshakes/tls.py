"""Terminate TLS: the certificate is chosen by the name that the client asks for, and files that change are loaded.

| a client | action |
| --- | --- |
| sends bytes that are no hello of TLS | refused, ``protocol``; with an alert if it speaks TLS |
| sends a hello | take the pair for its name, and do the handshake of TLS |
| has no version or cipher in common | refused, ``protocol``, with an alert |
| has no certificate, or one that no `client_ca` has signed | refused, ``credentials``, with an alert |
| leaves, does not trust the certificate, or takes too long | refused, ``handshake`` |
| finishes | ``session.state[TlsInfo]`` is set; the rest of the chain has its bytes in clear |
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
import trio

from ...arguments import Fixed, check_choice, check_number
from ...errors import ConfigurationError, quote
from ...relay.tls_info import TlsInfo
from ...services.context import EdgeContext
from ...session.handshake import StartTls, Steps
from ...session.session import Session
from ...session.verdict import CONTINUE, Reject
from ...telemetry.log import EdgeLog
from ...wire.client_hello import MAX_BYTES
from .hello import peek_hello
from .tls_certificates import VERSIONS, Certificates, TlsOptions

LOOK_SECONDS: Final = 1.0
"""Between two looks at the files. A change is loaded at the second look that finds it."""

Name: TypeAlias = str | os.PathLike[str]
Files: TypeAlias = tuple[Name, Name]


class Tls(Fixed):
    """Terminate TLS 1.2 and 1.3 in the reactor, without a task; what follows is relayed as plain bytes are.

    A full handshake takes 0.3 ms of processor time with an elliptic key and 0.5 ms with RSA.
    ``session.state[te.TlsInfo]`` tells later stages the name, the protocol and the client's certificate.

    The files are looked at once a second. A pair that has changed is served from the next handshake on; one that does
    not fit together, is half written or has expired is not, and the log says why, once. Live sessions go on.

    The recipe has the key of session tickets, so make it before a process forks: then each worker resumes the tickets
    of all.
    """

    kind = "handshake"
    once = True
    max_bytes = MAX_BYTES

    def __init__(
        self,
        certificates: Iterable[Files],
        *,
        alpn: Iterable[str] = (),
        client_ca: Name | None = None,
        client_certificate: Literal["required", "optional"] = "required",
        min_version: Literal["1.2", "1.3"] = "1.2",
        seconds: float = 10.0,
    ) -> None:
        """Load the certificates.

        Args:
            certificates: pairs ``(chain, key)`` of PEM files, at least one. A client that names a host gets the first
                pair whose certificate has this name, else one with ``*.`` and the rest of it, else the first pair.
            alpn: protocols inside TLS to agree on, the preferred one first, such as ``["h2", "http/1.1"]``. A client
                that offers only others is served without one.
            client_ca: a PEM file of the authorities that sign clients' certificates; None to ask for none.
            client_certificate: ``required``, or ``optional``: then a client may have none, and one that it has must
                still be signed.
            min_version: ``1.2`` or ``1.3``.
            seconds: the limit of the whole handshake, above 0.

        Raises:
            ConfigurationError: names the argument or the file, its fault and the mend.
        """
        check_choice("Tls", "min_version", min_version, tuple(VERSIONS))
        check_choice("Tls", "client_certificate", client_certificate, ("required", "optional"))
        check_number("Tls", "seconds", seconds, above=0)
        if client_ca is None and client_certificate != "required":
            raise ConfigurationError(
                f"Tls(client_certificate={client_certificate!r}) needs client_ca=, the file of the authorities that "
                "sign clients' certificates; without it no client is asked"
            )
        ca = None if client_ca is None else _path(client_ca)
        options = TlsOptions(_protocols(alpn), ca, client_certificate == "required", min_version)
        try:
            self._certificates = Certificates(_pairs(certificates), options)
        except ConfigurationError as error:
            raise ConfigurationError(f"Tls: {error}") from None
        self.seconds = seconds

    def __repr__(self) -> str:
        names = [pair.names[0] if pair.names else pair.chain.name for pair in self._certificates.pairs]
        return f"Tls({', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''})"

    def open(self, context: EdgeContext) -> "LiveTls":
        """Make the live stage of one run of an edge."""
        return LiveTls(self._certificates, context.log)


class LiveTls:
    """`Tls` while an edge runs."""

    def __init__(self, certificates: Certificates, log: EdgeLog) -> None:
        self._certificates = certificates
        self._log = log

    def converse(self, session: Session) -> Steps:
        """Read the hello, choose the certificate, and have the driver do the handshake of TLS."""
        hello = yield from peek_hello(session)
        if isinstance(hello, Reject):
            return hello
        info: TlsInfo = yield StartTls(self._certificates.chosen(hello.server_name).context)
        session.state[TlsInfo] = attrs.evolve(info, server_name=hello.server_name)
        return CONTINUE

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Look at the files once a second, until cancelled."""
        for pair in self._certificates.pairs:
            if pair.ends_at <= time.time():
                self._log.say("certificate has expired", chain=str(pair.chain))
        task_status.started()
        while True:
            await trio.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        for pair in self._certificates.pairs:
            try:
                if pair.look(time.time()):
                    self._certificates.index()
                    self._log.say("certificate loaded", chain=str(pair.chain), names=list(pair.names[:3]))
            except ConfigurationError as error:
                self._log.notice("certificate not loaded: the former one is served", error=str(error))
                return  # the log has one such line a second


def _pairs(certificates: Any) -> list[tuple[Path, Path]]:
    mend = "write a list of pairs, [('chain.pem', 'key.pem')]"
    if isinstance(certificates, (str, bytes, os.PathLike)) or not isinstance(certificates, Iterable):
        raise ConfigurationError(f"certificates={quote(certificates)}: {mend}")
    pairs = []
    for each in certificates:
        if not isinstance(each, tuple) or len(each) != 2:
            raise ConfigurationError(f"certificates has {quote(each)}: {mend}")
        pairs.append((_path(each[0]), _path(each[1])))
    if not pairs:
        raise ConfigurationError(f"certificates is empty: {mend}")
    return pairs


def _path(name: Any) -> Path:
    if not isinstance(name, (str, os.PathLike)):
        raise ConfigurationError(f"Tls: {quote(name)} is no path of a file")
    return Path(name).absolute()


def _protocols(alpn: Any) -> tuple[str, ...]:
    protocols = (alpn,) if isinstance(alpn, str) else tuple(alpn)
    for each in protocols:
        if not isinstance(each, str) or not each.isascii() or not 0 < len(each) < 256:
            raise ConfigurationError(f"Tls(alpn) has {quote(each)}: write the name of a protocol, as in ['http/1.1']")
    return protocols
