"""The certificates of `Tls`: pairs of files, the context that serves each, and the choice by name.

| the files of a pair | at the start | while the edge serves |
| --- | --- | --- |
| are whole, and belong together | served | served from the next handshake on |
| are missing, no PEM, or do not belong together | ``ConfigurationError`` | the former pair is served; one warning |
| have expired | served; one warning | the former pair is served; one warning |

A handshake begins in a context that all pairs share, and goes on in that of its pair. So a ticket resumes whichever
pair is served, also after a pair was replaced, and in every process that was forked from the one that made the recipe:
the shared context has the key of tickets.
"""

import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs

from ...errors import ConfigurationError
from ...loop.files import Identity, identity_of
from ...relay.tls_info import words_of
from ...wire.certificate import read_certificate
from ...wire.errors import WireError

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


@attrs.frozen
class TlsOptions:
    """What holds for every certificate of a stage.

    Attributes:
        alpn: protocols to speak inside, the preferred one first.
        client_ca: a file of certificates that sign those of clients; None to ask clients for none.
        client_required: whether a client without a certificate is refused.
        min_version: ``1.2`` or ``1.3``.
    """

    alpn: tuple[str, ...]
    client_ca: Path | None
    client_required: bool
    min_version: str

    def new_context(self) -> ssl.SSLContext:
        """Make a server's context without a certificate.

        Raises:
            ConfigurationError: `client_ca` cannot be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.min_version]
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                _refuse(self.client_ca, error, "write the path of a PEM file with the certificates that sign clients'")
            context.verify_mode = ssl.CERT_REQUIRED if self.client_required else ssl.CERT_OPTIONAL
        return context


class SharedTickets:
    """A context that has one certificate, and the tickets that another context has; for :class:`.StartTls`."""

    __slots__ = ("_own", "_shared")

    def __init__(self, shared: ssl.SSLContext, own: ssl.SSLContext) -> None:
        self._shared = shared
        self._own = own

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection, as `ssl.SSLContext.wrap_bio` does."""
        tls = self._shared.wrap_bio(*arguments, **options)
        tls.context = self._own
        return tls


class Pair:
    """The files of one certificate, and the context that serves it.

    Attributes:
        chain: the file of the certificate, and of those between it and its authority.
        key: the file of its private key.
        names: of the certificate that is served.
        ends_at: when that expires, in seconds of Unix time.
        context: serves it.
    """

    def __init__(self, chain: Path, key: Path, options: TlsOptions, shared: ssl.SSLContext) -> None:
        """Load the files.

        Raises:
            ConfigurationError: names the file that is at fault, and the mend.
        """
        self.chain = chain
        self.key = key
        self._options = options
        self._shared = shared
        # The files as they are served, or as they were refused; and as the last look found them, changed or not.
        self._settled = self._found = self._identities()
        self._load(now=None)

    def _load(self, now: float | None) -> None:
        context = self._options.new_context()
        text = _load_files(context, self.chain, self.key)
        try:
            certificate = read_certificate(ssl.PEM_cert_to_DER_cert(text))
        except WireError as error:
            raise ConfigurationError(f"{self.chain}: {error}") from None
        if now is not None and certificate.ends_at <= now:
            raise ConfigurationError(f"{self.chain} has expired")
        self.names, self.ends_at = certificate.names, certificate.ends_at
        self.context = SharedTickets(self._shared, context)

    def look(self, now: float) -> bool:
        """Load the files if they have changed, and were the same at the last look; tell whether they were loaded.

        Args:
            now: seconds of Unix time.

        Raises:
            ConfigurationError: their fault; the former pair goes on, until they change again.
        """
        found, before = self._identities(), self._found
        self._found = found
        if found == self._settled or found != before:
            return False
        self._settled = found
        self._load(now)
        return True

    def _identities(self) -> tuple[Identity, ...]:
        files = (self.chain, self.key, self._options.client_ca)
        return tuple(identity_of(file) for file in files if file is not None)


class Certificates:
    """The pairs of one stage, by the names in their certificates.

    Attributes:
        pairs: in the order in which they were written.
    """

    def __init__(self, files: Sequence[tuple[Path, Path]], options: TlsOptions) -> None:
        """Load them.

        Raises:
            ConfigurationError: of the first file that is at fault.
        """
        shared = options.new_context()
        shared.num_tickets = (
            1  # each connection gives one, so a client that resumes never runs out; a second costs 30 µs
        )
        self.pairs = tuple(Pair(chain, key, options, shared) for chain, key in files)
        self._by_name: dict[str, Pair] = {}
        self.index()

    def index(self) -> None:
        """Note the names of the pairs; of two pairs with one name the first is served."""
        self._by_name = {name: pair for pair in reversed(self.pairs) for name in pair.names}

    def chosen(self, name: str | None) -> Pair:
        """Give the pair for a name, in lower case: its own, else that of ``*.`` and the rest, else the first one."""
        if name is None:
            return self.pairs[0]
        pair = self._by_name.get(name) or self._by_name.get(f"*.{name.partition('.')[2]}")
        return pair or self.pairs[0]


def _load_files(context: ssl.SSLContext, chain: Path, key: Path) -> str:
    """Load a pair into a context, and give the text of its first certificate."""
    text = _read(chain, "write the path of a PEM file with the certificate first")
    begin, end = text.find(_CERTIFICATE), text.find(_END)
    if not 0 <= begin < end:
        raise ConfigurationError(f"{chain} has no certificate in PEM form: write (chain, key), in this order")
    if "PRIVATE KEY-----" not in _read(key, "write the path of a PEM file with the private key"):
        raise ConfigurationError(f"{key} has no private key in PEM form: write (chain, key), in this order")
    try:
        context.load_cert_chain(chain, key, password=lambda: _refuse_password(key))
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise ConfigurationError(f"{key} is not the key of {chain}: write the two files of one pair") from None
        raise ConfigurationError(f"{chain} and {key}: {words_of(error)}: write the files that your CA gave") from None
    except OSError as error:
        _refuse(chain, error, "write the path of a PEM file")
    return text[begin : end + len(_END)]


def _read(path: Path, mend: str) -> str:
    try:
        return path.read_text("latin-1")
    except OSError as error:
        _refuse(path, error, mend)


def _refuse(path: Path, error: OSError, mend: str) -> NoReturn:
    what = words_of(error) if isinstance(error, ssl.SSLError) else error.strerror or os.strerror(error.errno or 0)
    raise ConfigurationError(f"{path}: {what}: {mend}") from None


def _refuse_password(key: Path) -> NoReturn:
    raise ConfigurationError(f"{key} needs a password: write it without one, and let the edge's user alone read it")
