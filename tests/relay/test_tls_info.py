"""The words and reasons of handshakes that come to nothing."""

import errno
import ssl

import pytest

from tests.support.tls import TlsPairs
from trioedge.relay.tls_info import TlsError, error_of, info_of, words_of
from trioedge.session.verdict import Reason


def error(reason: str | None, kind: type[ssl.SSLError] = ssl.SSLError, message: str = "") -> ssl.SSLError:
    made = kind(1, "text of OpenSSL, with bytes of the peer")
    made.reason = reason  # type: ignore[assignment]
    if message:
        made.verify_message = message  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        (error("TLSV1_ALERT_UNKNOWN_CA"), Reason.HANDSHAKE, "TLS: tlsv1 alert unknown ca"),
        (error(None, ssl.SSLEOFError), Reason.HANDSHAKE, "TLS: ssleoferror"),
        (error("WRONG_VERSION_NUMBER"), Reason.PROTOCOL, "TLS: wrong version number"),
        (error("NO_SHARED_CIPHER"), Reason.PROTOCOL, "TLS: no shared cipher"),
        (
            error("CERTIFICATE_VERIFY_FAILED", message="certificate has expired"),
            Reason.CREDENTIALS,
            "TLS: certificate verify failed: certificate has expired",
        ),
        (
            error("PEER_DID_NOT_RETURN_A_CERTIFICATE"),
            Reason.CREDENTIALS,
            "TLS: peer did not return a certificate",
        ),
    ],
)
def test_an_error_has_a_reason_and_words_without_bytes_of_the_peer(
    fault: ssl.SSLError, reason: Reason, words: str
) -> None:
    made = error_of(fault)
    assert (made.reason, made.detail, made.errno) == (reason, words, errno.EPROTO)
    assert words_of(fault) == words
    assert isinstance(made, TlsError)


def test_a_client_sees_the_certificate_of_its_server(pairs: TlsPairs) -> None:
    _, near = pairs.pair(client=True)
    info = info_of(near._tls)
    assert info.subject == "CN=localhost,O=Example"
    assert len(info.fingerprint or "") == 64
