"""Tokens and authorities that are renewed while an edge runs."""

import errno
import os
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from examples.control_plane.store import Store
from tests.support.control_planes import Answer, Scripted, answer, example, running, scripted, snapshot
from tests.support.files import replace, write
from trioedge.control import http as module
from trioedge.control.http import HttpControl
from trioedge.control.http_client import NoAnswerError
from trioedge.control.renewal import (
    MAX_TOKEN_BYTES,
    Authorities,
    RenewedFile,
    TokenError,
    ask_for_token,
    is_token,
    read_authorities,
    read_token,
)
from trioedge.errors import ConfigurationError

SHOP = {"name": "shop", "session_rate": 20}
NOTHING_NEW = answer(b"", status="304 Not Modified")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "SOONEST_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a token."""
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def turn_over(path: Path, text: str) -> None:
    """As a mounted secret changes: the name is a link that is made to point elsewhere."""
    target = path.with_name(text)
    target.write_text(text)
    link = path.with_name("link")
    link.symlink_to(target)
    link.rename(path)


@pytest.mark.parametrize("change", [write, replace, turn_over])
def test_a_file_is_read_again_once_it_differs_and_not_before(path: Path, change: Callable[[Path, str], None]) -> None:
    reads: list[str] = []

    def read(path: Path) -> str:
        reads.append(read_token(path))
        return reads[-1]

    file = RenewedFile(path, read)
    assert [file.value() for _ in range(3)] == ["first"] * 3
    assert reads == ["first"]
    change(path, "the_next")
    assert [file.value() for _ in range(3)] == ["the_next"] * 3
    assert reads == ["first", "the_next"]
    assert file.fault == ""


@pytest.mark.parametrize("text", [None, "", " \n", "two words", "caf\u00e9", "x" * (MAX_TOKEN_BYTES + 1)])
def test_while_a_file_is_missing_or_wrong_its_former_content_is_used_and_the_fault_has_no_part_of_it(
    path: Path, text: str | None
) -> None:
    file = RenewedFile(path, read_token)
    path.unlink() if text is None else write(path, text)
    assert file.value() == "first"
    assert file.fault.startswith(f"{path} cannot be used, so its former content is: ")
    assert "first" not in file.fault
    assert "two" not in file.fault
    replace(path, "second")
    assert (file.value(), file.fault) == ("second", "")


def test_a_file_that_could_not_be_read_for_a_moment_is_read_at_the_next_look(path: Path) -> None:
    def read(path: Path) -> str:
        if full:
            raise OSError(errno.EMFILE, "Too many open files")
        return read_token(path)

    full = False
    file = RenewedFile(path, read)
    full = True
    replace(path, "second")
    assert (file.value(), "Too many open files" in file.fault) == ("first", True)
    full = False
    assert (file.value(), file.fault) == ("second", "")


@pytest.mark.parametrize("text", ["", "two words", None])
def test_a_file_that_is_wrong_at_first_is_a_fault_at_once(path: Path, text: str | None) -> None:
    path.unlink() if text is None else write(path, text)
    with pytest.raises((OSError, ValueError), match=r"No such file|must be printable ASCII"):
        RenewedFile(path, read_token)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("secret", True),
        ("a.b-c_d~e+f/g==", True),
        ("x" * MAX_TOKEN_BYTES, True),
        ("x" * (MAX_TOKEN_BYTES + 1), False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("\u00e9", False),
        (b"secret", False),
        (None, False),
    ],
)
def test_a_token_is_printable_ascii_without_spaces(value: object, good: bool) -> None:
    assert is_token(value) is good


def explode(secret: str) -> str:
    raise LookupError(secret)


class Stop(BaseException):
    """An exception that is no Exception."""


def explode_badly(secret: str) -> str:
    raise Stop(secret)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (partial(explode, "hush"), "raised LookupError"),
        (partial(explode_badly, "hush"), "raised Stop"),
        (lambda: "hush hush", "returned no token: it must be printable ASCII"),
        (lambda: None, "returned no token"),
        (lambda: b"hush", "returned no token"),
    ],
)
def test_a_function_without_a_token_is_a_fault_that_tells_no_secret(function: Any, words: str) -> None:
    with pytest.raises(TokenError, match=words) as caught:
        ask_for_token(function)()
    assert "hush" not in str(caught.value)


def test_a_stop_out_of_the_function_is_raised() -> None:
    def stop() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask_for_token(stop)()


async def late() -> str:
    return "secret"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"token": late}, "is an async function, and a request cannot wait for its token"),
        ({"token": "a", "token_file": "b"}, "has two tokens: leave one out"),
        ({"token": 3}, "HttpControl(token=...) must be printable ASCII without spaces"),
        ({"token_file": "/nowhere"}, "HttpControl(token_file='/nowhere') cannot be read: "),
        ({"token_file": os.devnull}, "cannot be read: its token must be printable ASCII"),
        ({"token_file": 3}, "HttpControl(token_file=3) cannot be read: "),
        ({"ca": os.devnull}, "HttpControl(ca='/dev/null') cannot be read: "),
        ({"url": "http://control.example", "token": lambda: "a"}, "would send the token in clear text"),
        ({"url": "http://control.example", "token_file": "/nowhere"}, "would send the token in clear text"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpControl(**{"url": "https://control.example"} | arguments)
    assert complaint in str(caught.value)


def test_it_shows_where_its_token_is_and_never_the_token(path: Path) -> None:
    url = "https://control.example"
    assert repr(HttpControl(url, token_file=path)) == f"HttpControl('{url}', token_file={path!r})"
    assert repr(HttpControl(url, token=lambda: "x")) == f"HttpControl('{url}', token=...)"


@pytest.mark.parametrize("source", ["file", "function"])
async def test_each_request_has_the_token_of_its_moment(path: Path, source: str) -> None:
    refused = answer(b"", status="401 Unauthorized")
    options: dict[str, Any] = {"token_file": path} if source == "file" else {"token": lambda: read_token(path)}
    held = trio.Event()

    async def answer_later(connection: trio.SocketStream) -> None:
        await held.wait()
        await connection.send_all(refused)

    async with scripted(snapshot([SHOP]), answer_later, NOTHING_NEW, **options) as (plane, link, _):
        await link.until(lambda link: link.reaches == 1)
        replace(path, "second")
        held.set()
        await link.until(lambda link: link.reaches == 2)
        sent = [request.headers["authorization"] for request in plane.requests]
        assert (sent[0], sent[2]) == ("Bearer first", "Bearer second")
        assert len(link.errors) == 1
        assert link.errors[0].endswith("the token is refused")


async def test_a_function_that_fails_costs_its_requests_and_no_secret_is_told(path: Path) -> None:
    good = False

    def token() -> str:
        return read_token(path) if good else explode("hush")

    async with scripted(snapshot([SHOP]), token=token) as (plane, link, control):
        await link.until(lambda link: link.errors)
        assert link.errors[0].endswith("/v1/snapshot: the function of HttpControl(token=...) raised LookupError")
        with pytest.raises(NoAnswerError, match="raised LookupError"):
            await control.check_device("shop", "192.0.2.1")
        assert plane.requests == []
        good = True
        await link.until(lambda link: link.reaches)


async def test_a_failure_says_that_a_file_is_not_what_it_was(path: Path) -> None:
    answers: list[Answer] = [snapshot([SHOP]), NOTHING_NEW, answer(b"", status="401 Unauthorized"), NOTHING_NEW]
    async with scripted(*answers, token_file=path, wait_seconds=0.01) as (_, link, _):
        await link.until(lambda link: link.reaches)
        write(path, "")
        await link.until(lambda link: link.errors)
        assert f"the token is refused; {path} cannot be used, so its former content is: " in link.errors[0]


def authority(folder: Path, name: str) -> tuple[Path, Path]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    openssl = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext"
        f" subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate} 2>/dev/null"
    )
    assert os.system(openssl) == 0
    return key, certificate


@pytest.mark.peer("openssl")
async def test_a_control_plane_with_a_new_authority_is_trusted_once_the_file_has_it(tmp_path: Path) -> None:
    store, ca = Store(":memory:"), tmp_path / "ca.pem"
    store.put("shop", {"session_rate": 20})
    (old_key, old), (new_key, new) = authority(tmp_path, "old"), authority(tmp_path, "new")
    replace(ca, old.read_text())
    async with trio.open_nursery() as nursery:
        async with example(store, keyfile=str(old_key), certfile=str(old)) as url:
            control = HttpControl(url, ca=ca)
            link = await nursery.start(started, control)
        async with example(store, keyfile=str(new_key), certfile=str(new), port=int(url.rpartition(":")[2])):
            await link.until(lambda link: any("certificate verify failed" in error for error in link.errors))
            write(ca, "no certificate")
            await link.until(lambda link: "cannot be used, so its former content is" in link.errors[-1])
            reaches = link.reaches
            replace(ca, new.read_text())
            await link.until(lambda link: link.reaches > reaches)
            store.put("cafe", {})
            await link.until(lambda link: "cafe" in link.services)
        nursery.cancel_scope.cancel()
    store.close()


async def started(control: HttpControl, *, task_status: trio.TaskStatus[Any]) -> None:
    async with running(control) as link:
        await link.until(lambda link: link.reaches)
        task_status.started(link)
        await trio.sleep_forever()


@pytest.mark.peer("openssl")
def test_authorities_that_were_taken_out_of_the_file_are_trusted_no_more(tmp_path: Path) -> None:
    _, old = authority(tmp_path, "old")
    _, new = authority(tmp_path, "new")
    file = RenewedFile(old, read_authorities)
    context = Authorities(file)
    context.set_alpn_protocols(["http/1.1"])
    inner = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1").context
    assert len(inner.get_ca_certs()) == 1
    assert (inner.verify_mode, inner.check_hostname) == (ssl.CERT_REQUIRED, True)
    new.rename(old)
    later = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1").context
    assert [each["serialNumber"] for each in later.get_ca_certs()] != [
        each["serialNumber"] for each in inner.get_ca_certs()
    ]
    assert len(later.get_ca_certs()) == 1


async def test_without_a_token_no_request_has_one() -> None:
    plane = Scripted(snapshot([SHOP]))
    async with plane.serving() as url, running(HttpControl(url)) as link:
        await link.until(lambda link: link.reaches)
        assert "authorization" not in plane.requests[0].headers
