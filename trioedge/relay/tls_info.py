"""What a TLS handshake has agreed on, or why it came to nothing, in plain values."""

import errno
import hashlib
import ssl
from typing import Any, Final

import attrs

from ..session.verdict import Reason

_CREDENTIALS: Final = ("CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE")
_SHORT: Final = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
                 "localityName": "L", "stateOrProvinceName": "ST", "domainComponent": "DC"}  # fmt: skip


@attrs.frozen(slots=True)
class TlsInfo:
    """What a TLS handshake has agreed on: ``session.state[te.TlsInfo]``.

    Attributes:
        version: such as ``TLSv1.3``.
        cipher: OpenSSL's name of the cipher.
        alpn: the protocol that both sides speak inside, such as ``h2``; None if they have named none in common.
        server_name: the name that the client asked for, in lower case; None if it named none.
        resumed: whether it continues an earlier connection, without the work for new keys and certificates.
        subject: of the peer's certificate, such as ``CN=ann,O=Example``; None without a certificate that was checked.
        fingerprint: SHA-256 of the peer's certificate, in hexadecimal digits; None without one.
    """

    version: str
    cipher: str
    alpn: str | None = None
    server_name: str | None = None
    resumed: bool = False
    subject: str | None = None
    fingerprint: str | None = None


class TlsError(OSError):
    """A TLS handshake that came to nothing.

    Attributes:
        reason: ``handshake`` if the peer left or gave an alert, ``credentials`` if its certificate is missing or not
            trusted, else ``protocol``.
        detail: OpenSSL's reason in plain words.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(errno.EPROTO, detail)
        self.reason = reason
        self.detail = detail


def info_of(tls: ssl.SSLObject) -> TlsInfo:
    """Tell what a handshake that is done has agreed on, but for the name that the client asked for."""
    certificate = tls.getpeercert(binary_form=True)
    checked: Any = (certificate and tls.getpeercert()) or {}
    cipher = tls.cipher()
    return TlsInfo(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=tls.selected_alpn_protocol(),
        resumed=bool(tls.session_reused),
        subject=_text_of(checked["subject"]) if "subject" in checked else None,
        fingerprint=hashlib.sha256(certificate).hexdigest() if certificate else None,
    )


def error_of(error: ssl.SSLError) -> TlsError:
    """Give the reason of a handshake that came to nothing."""
    kind = error.reason or ""
    if isinstance(error, ssl.SSLEOFError) or "ALERT" in kind:
        return TlsError(Reason.HANDSHAKE, words_of(error))
    return TlsError(Reason.CREDENTIALS if kind in _CREDENTIALS else Reason.PROTOCOL, words_of(error))


def words_of(error: ssl.SSLError) -> str:
    """Give OpenSSL's reason in plain words, without bytes of the peer."""
    text = (error.reason or type(error).__name__).replace("_", " ").lower()
    why: str = getattr(error, "verify_message", "")
    return f"TLS: {text}: {why}" if why else f"TLS: {text}"


def _text_of(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Write a name as RFC 4514 does, the most particular part first."""
    return ",".join(f"{_SHORT.get(kind, kind)}={value}" for parts in reversed(subject) for kind, value in parts)
