"""Tls before an edge: what clients get, what later stages see, and why others are refused."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.tls import BOTH, TlsPeer, client_context, localhost, make_certificate, server_context
from tests.support.wires import echo, edge_to, server, serving
from trioedge.testing import converse, make_session


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


class Seen:
    """Notes what a stage behind Tls sees, and how each session ended."""

    def __init__(self) -> None:
        self.infos: list[te.TlsInfo] = []
        self.port = 0
        self.edge: Any = None

    def decide(self, session: te.Session) -> te.Verdict:
        self.infos.append(session.state[te.TlsInfo])
        return te.CONTINUE

    async def end(self) -> tuple[te.Reason, str]:
        """Wait for the end of the last session."""
        recent = self.edge._run.sessions.recent
        with trio.fail_after(5):
            while not recent:
                await trio.sleep(0.001)
        outcome = recent[-1].outcome
        return outcome.reason, outcome.detail


@asynccontextmanager
async def serve(*stages: object) -> AsyncIterator[Seen]:
    """Serve an echo behind some stages and one that sees."""
    seen = Seen()
    async with server(echo) as upstream:
        seen.edge = edge_to(upstream, *stages, seen)
        async with serving(seen.edge) as seen.port:
            yield seen


@asynccontextmanager
async def client(
    port: int, context: ssl.SSLContext | None = None, name: str | None = "localhost",
    session: ssl.SSLSession | None = None,
) -> AsyncIterator[TlsPeer]:  # fmt: skip
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    with socket.socket(fileno=stream.socket.detach()) as sock:
        sock.setblocking(False)
        yield TlsPeer(sock, context or client_context(), name=name, session=session)


async def talk(peer: TlsPeer) -> ssl.SSLSession | None:
    """Say something, hear it again, end in order, and give the session's ticket."""
    await peer.shake()
    peer.send(b"hello")
    assert await peer.read(5) == b"hello"
    ticket = peer.tls.session
    peer.say_end()
    assert await peer.read_to_end() == (b"", "end")
    return ticket


@BOTH
@pytest.mark.parametrize("behind_a_middleware", [False, True])
async def test_later_stages_see_the_name_the_protocol_and_the_version(version: str, behind_a_middleware: bool) -> None:
    tls = te.Tls([localhost()], alpn=["h2", "http/1.1"])
    async with serve(*[pass_on] * behind_a_middleware, tls) as seen:
        context = client_context(version)
        context.set_alpn_protocols(["http/1.1", "h2"])
        async with client(seen.port, context, "LOCALHOST") as peer:
            await talk(peer)
        assert await seen.end() == (te.Reason.FINISHED, "")
        (info,) = seen.infos
        assert (info.server_name, info.alpn, info.version) == ("localhost", "h2", f"TLSv{version}")
        assert (info.resumed, info.subject, info.fingerprint) == (False, None, None)
        assert "AES" in info.cipher or "CHACHA" in info.cipher


async def test_a_middleware_behind_it_has_the_bytes_in_clear_and_may_read_ahead() -> None:
    heard: list[bytes] = []

    @te.middleware
    async def look(session: te.Session, call_next: te.Handler) -> te.Outcome:
        heard.append(await session.stream.receive_some(3))
        session.stream.unread(heard[0])
        return await call_next(session)

    async with serve(te.Tls([localhost()]), look) as seen, client(seen.port) as peer:
        await talk(peer)
        assert heard == [b"hel"]
        assert await seen.end() == (te.Reason.FINISHED, "")


@BOTH
async def test_a_ticket_resumes_also_once_the_pair_was_replaced(version: str, tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, "localhost")
    async with serve(te.Tls([(chain, key)])) as seen:
        context = client_context(version, chain)
        async with client(seen.port, context) as peer:
            ticket = await talk(peer)
        async with client(seen.port, context, session=ticket) as peer:
            ticket = await talk(peer)
        make_certificate(tmp_path, "localhost", key="rsa")
        with capture_logs() as logs, trio.fail_after(5):
            while not logs:
                await trio.sleep(0.01)
        assert (logs[0]["event"], logs[0]["names"]) == ("certificate loaded", ["localhost"])
        async with client(seen.port, context, session=ticket) as peer:
            await talk(peer)
        assert [info.resumed for info in seen.infos] == [False, True, True]
        async with client(seen.port, client_context(version, chain)) as peer:
            await talk(peer)
        assert not seen.infos[3].resumed


async def test_a_pair_that_does_not_fit_together_is_logged_once_and_live_sessions_go_on(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, "localhost")
    context = client_context(chain=chain)
    async with serve(te.Tls([(chain, key)])) as seen, client(seen.port, context) as live:
        await live.shake()
        key.write_text(make_certificate(tmp_path, "other", stem="other")[1].read_text())
        with capture_logs() as logs:
            await trio.sleep(3.5)
        (line,) = logs
        assert line["event"] == "certificate not loaded: the former one is served"
        assert line["error"] == f"{key} is not the key of {chain}: write the two files of one pair"
        async with client(seen.port, context) as peer:
            await talk(peer)
        await talk(live)


@pytest.mark.parametrize(("kind", "subject"), [("required", "CN=ann,O=Example"), ("optional", "CN=ann,O=Example")])
@BOTH
async def test_a_client_is_known_by_its_certificate(version: str, kind: Any, subject: str, tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, "ann.example", common_name="ann")
    context = client_context(version)
    context.load_cert_chain(chain, key)
    async with serve(te.Tls([localhost()], client_ca=chain, client_certificate=kind)) as seen:
        async with client(seen.port, context) as peer:
            ticket = await talk(peer)
        async with client(seen.port, context, session=ticket) as peer:
            await talk(peer)
    first, second = seen.infos
    assert (first.subject, second.subject, second.resumed) == (subject, subject, True)
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint or "") == 64


@BOTH
async def test_a_client_without_a_certificate_is_refused_with_an_alert_or_served_where_it_is_optional(
    version: str, tmp_path: Path
) -> None:
    ca = make_certificate(tmp_path, "ca.example")[0]
    async with serve(te.Tls([localhost()], client_ca=ca)) as seen, client(seen.port, client_context(version)) as peer:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await talk(peer)
        assert await seen.end() == (te.Reason.CREDENTIALS, "TLS: peer did not return a certificate")
    async with serve(te.Tls([localhost()], client_ca=ca, client_certificate="optional")) as seen:
        async with client(seen.port, client_context(version)) as peer:
            await talk(peer)
        assert seen.infos[0].subject is None


@pytest.mark.parametrize("behind_a_middleware", [False, True])
async def test_a_client_that_sends_on_behind_its_refusal_reads_the_alert_and_is_not_reset(
    behind_a_middleware: bool, tmp_path: Path
) -> None:
    ca = make_certificate(tmp_path, "ca.example")[0]
    stages = [*[pass_on] * behind_a_middleware, te.Tls([localhost()], client_ca=ca)]
    async with serve(*stages) as seen, client(seen.port) as peer:
        await peer.shake()
        for _ in range(20):
            peer.send(bytes(16_000))
            await trio.sleep(0.002)
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await peer.read_to_end()


async def test_a_client_whose_certificate_another_authority_signed_is_refused(tmp_path: Path) -> None:
    ca = make_certificate(tmp_path, "ca.example")[0]
    context = client_context()
    context.load_cert_chain(*make_certificate(tmp_path, "eve.example"))
    tls = te.Tls([localhost()], client_ca=ca, client_certificate="optional")
    async with serve(tls) as seen, client(seen.port, context) as peer:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            await talk(peer)
        reason, detail = await seen.end()
        assert reason is te.Reason.CREDENTIALS
        assert detail.startswith("TLS: certificate verify failed: self")


async def test_a_client_of_an_older_version_is_refused_with_an_alert() -> None:
    async with serve(te.Tls([localhost()], min_version="1.3")) as seen, client(seen.port, client_context("1.2")) as old:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
            await old.shake()
        assert await seen.end() == (te.Reason.PROTOCOL, "TLS: unsupported protocol")


def leave(peer: TlsPeer) -> None:
    peer.sock.close()


def say_half(peer: TlsPeer) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    peer.sock.send(peer.outgoing.read()[:100])


def say_hello_alone(peer: TlsPeer) -> None:
    assert not peer.step()


@pytest.mark.parametrize("behind_a_middleware", [False, True])
@pytest.mark.parametrize(
    ("act", "detail"),
    [
        (leave, "the client left in the middle of it"),
        (say_half, "not finished within 0.3 s"),
        (say_hello_alone, "not finished within 0.3 s"),
    ],
)
async def test_a_client_that_does_not_finish_is_refused(
    act: Callable[[TlsPeer], None], detail: str, behind_a_middleware: bool
) -> None:
    tls = te.Tls([localhost()], seconds=0.3)
    async with serve(*[pass_on] * behind_a_middleware, tls) as seen, client(seen.port) as peer:
        act(peer)
        assert await seen.end() == (te.Reason.HANDSHAKE, detail)


@pytest.mark.parametrize("behind_a_middleware", [False, True])
async def test_a_client_that_does_not_trust_the_certificate_is_refused(behind_a_middleware: bool) -> None:
    async with serve(*[pass_on] * behind_a_middleware, te.Tls([localhost()])) as seen:
        async with client(seen.port, ssl.create_default_context()) as peer:
            with pytest.raises(ssl.SSLCertVerificationError):
                await peer.shake()
        assert await seen.end() == (te.Reason.HANDSHAKE, "TLS: tlsv1 alert unknown ca")


async def test_an_evicted_client_is_reset_in_its_handshake_and_behind_it() -> None:
    async with serve(te.Tls([localhost()])) as seen:
        for finish in (False, True):
            async with client(seen.port) as peer:
                peer.step()
                if finish:
                    await peer.shake()
                await trio.sleep(0.05)
                assert seen.edge.evict(source="127.0.0.1") == 1
                assert (await peer.read_to_end() if finish else await reset_of(peer))[1] == "reset"
            assert await seen.end() == (te.Reason.EVICTED, "")


async def reset_of(peer: TlsPeer) -> tuple[bytes, str]:
    with trio.fail_after(5):
        while True:
            try:
                peer.sock.recv(65_536)
            except BlockingIOError:
                await trio.sleep(0.001)
            except ConnectionResetError:
                return b"", "reset"


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 20, b"\x15\x03\x01\x00\x02\x02\x28"])
def test_bytes_that_are_no_hello_are_refused_without_a_word(said: bytes) -> None:
    conversed = converse(te.Tls([localhost()]), make_session(), said)
    assert isinstance(conversed.verdict, te.Reject)
    assert conversed.verdict.reason is te.Reason.PROTOCOL
    assert conversed.verdict.detail.startswith("TLS hello: ")
    assert conversed.sent == b""


def test_a_hello_with_a_fault_is_refused_with_an_alert() -> None:
    conversed = converse(te.Tls([localhost()]), make_session(), b"\x16\x03\x01\x00\x05\x02hello")
    assert isinstance(conversed.verdict, te.Reject)
    assert conversed.sent == bytes.fromhex("15 0301 0002 02 32")


async def test_a_handshake_of_ones_own_may_begin_in_clear() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*localhost())
    infos: list[te.TlsInfo] = []

    @te.handshake(max_bytes=16)
    def begin(session: te.Session) -> te.Steps:
        yield te.ReadUntil(b"STARTTLS\n")
        yield te.Send(b"OK\n")
        infos.append((yield te.StartTls(context)))
        assert (yield te.Read(5)) == b"word\n"
        yield te.Send(b"secret\n")
        return te.CONTINUE

    async with server(echo) as upstream, serving(edge_to(upstream, begin)) as port, client(port) as peer:
        peer.sock.send(b"STARTTLS\n")
        with trio.fail_after(5):
            await trio.sleep(0.05)
            assert peer.sock.recv(3) == b"OK\n"
        await peer.shake()
        peer.send(b"word\nand more")
        assert await peer.read(15) == b"secret\nand more"
        assert (infos[0].version, infos[0].server_name) == ("TLSv1.3", None)


@pytest.mark.parametrize("behind_a_middleware", [False, True])
async def test_tls_that_is_begun_a_second_time_is_a_fault_of_one_session(behind_a_middleware: bool) -> None:
    @te.handshake
    def again(session: te.Session) -> te.Steps:
        yield te.Read(1)
        yield te.StartTls(server_context())
        return te.CONTINUE

    stages = [*[pass_on] * behind_a_middleware, te.Tls([localhost()]), again]
    with capture_logs() as logs:
        async with serve(*stages) as seen, client(seen.port) as peer:
            await peer.shake()
            peer.send(b"x")
            reason, detail = await seen.end()
            assert reason is te.Reason.FAULT
            assert "TLS was begun twice: a connection has one TLS" in detail
            with pytest.raises(ConnectionResetError):
                await peer.read(1)
    assert [line["log_level"] for line in logs].count("error") == 1


async def test_it_stands_behind_other_handshakes_and_before_them() -> None:
    """The header of PROXY and the hello come in one packet; the answer to the connect is told inside TLS."""
    sources: list[str] = []

    @te.handshake(proceeds=True)
    def connect_me(session: te.Session) -> te.Steps:
        sources.append(session.source)
        assert (yield te.Read(4)) == b"GO!\n"
        outcome = yield te.PROCEED
        yield te.Send(b"connected\n" if outcome is None else b"sorry\n")
        return te.CONTINUE

    stages = [te.ProxyProtocol(trusted=["127.0.0.1"]), te.Tls([localhost()]), connect_me]
    async with serve(*stages) as seen, client(seen.port) as peer:
        peer.outgoing.write(b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 443\r\n")
        await peer.shake()
        peer.send(b"GO!\nhello")
        assert await peer.read(15) == b"connected\nhello"
        peer.say_end()
        assert await peer.read_to_end() == (b"", "end")
        assert sources == ["203.0.113.7"]


def test_a_chain_has_it_once() -> None:
    with pytest.raises(te.ConfigurationError, match="Tls"):
        te.Edge("tcp://127.0.0.1:0", [te.Tls([localhost()]), te.Tls([localhost()])], te.Forward("tcp://127.0.0.1:1"))


async def test_a_look_with_a_limit_before_it_does_not_end_its_handshake() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*localhost())

    @te.handshake
    def look(session: te.Session) -> te.Steps:
        yield te.Peek(1, seconds=0.1)
        session.state[te.TlsInfo] = yield te.StartTls(context)
        return te.CONTINUE

    async with serve(look) as seen, client(seen.port) as peer:
        peer.step()
        await trio.sleep(0.3)
        await talk(peer)
        assert len(seen.infos) == 1


async def test_one_port_may_have_it_for_those_that_speak_tls(tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path, "localhost")
    stage = te.Detect({"tls": te.Tls([(chain, key)])}, default=[])
    async with server(echo) as upstream, serving(edge_to(upstream, stage)) as port:
        async with client(port, client_context(chain=chain)) as peer:
            await talk(peer)
        with capture_logs() as logs, trio.fail_after(5):
            make_certificate(tmp_path, "localhost", key="rsa")
            while not logs:
                await trio.sleep(0.01)
        assert logs[0]["event"] == "certificate loaded"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"certificates": []}, r"Tls: certificates is empty: write a list of pairs"),
        ({"certificates": "chain.pem"}, r"Tls: certificates='chain.pem': write a list of pairs"),
        ({"certificates": ["chain.pem"]}, r"Tls: certificates has 'chain.pem': write a list of pairs"),
        ({"certificates": [("a.pem", 1)]}, r"Tls: 1 is no path of a file"),
        ({"certificates": [("no.pem", "no.key")]}, r"Tls: /.*/no.pem: No such file or directory: write the path"),
        ({"min_version": "1.1"}, r"Tls\(min_version='1.1'\) must be '1.2' or '1.3'"),
        (
            {"client_certificate": "optional"},
            r"Tls\(client_certificate='optional'\) needs client_ca=, the file of the auth",
        ),
        ({"client_certificate": "no"}, r"Tls\(client_certificate='no'\) must be 'required' or 'optional'"),
        ({"seconds": 0}, r"Tls\(seconds=0\) must be a number above 0"),
        ({"alpn": [""]}, r"Tls\(alpn\) has '': write the name of a protocol"),
        ({"alpn": [b"h2"]}, r"Tls\(alpn\) has b'h2': write the name of a protocol"),
        ({"client_ca": "no.pem"}, r"Tls: /.*/no.pem: No such file or directory: write the path of a PEM file"),
    ],
)
def test_a_fault_of_an_argument_is_named_with_the_mend(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(te.ConfigurationError, match=words):
        te.Tls(**{"certificates": [localhost()], **arguments})


def test_it_is_shown_by_the_names_of_its_certificates(tmp_path: Path) -> None:
    pairs = [make_certificate(tmp_path, f"{name}.example") for name in "abcd"]
    assert repr(te.Tls(pairs)) == "Tls(a.example, b.example, c.example and 1 more)"
