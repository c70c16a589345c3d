"""Certificates: chosen by name, loaded again when their files change, and kept when these are at fault."""

import os
import shutil
import ssl
import time
from pathlib import Path

import pytest

from tests.support.tls import BOTH, client_context, make_certificate, openssl, shake_in_memory
from trioedge.errors import ConfigurationError
from trioedge.stages.handshakes.tls_certificates import Certificates, Pair, TlsOptions

PLAIN = TlsOptions((), None, client_required=True, min_version="1.2")
LATER = time.time() + 10 * 86_400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder, "a.example", "*.a.example")
    make_certificate(folder, "b.example", key="rsa")
    make_certificate(folder, "x.a.example", "b.example", stem="x")
    return folder


def files(folder: Path, stem: str) -> tuple[Path, Path]:
    return folder / f"{stem}.pem", folder / f"{stem}.key"


def copied(folder: Path, to: Path, stem: str) -> tuple[Path, Path]:
    """Copy a pair to the names that a stage watches."""
    to.mkdir(exist_ok=True)
    for path, name in zip(files(folder, stem), ("chain.pem", "key.pem"), strict=True):
        shutil.copy(path, to / f"new {name}")
        (to / f"new {name}").rename(to / name)
    return to / "chain.pem", to / "key.pem"


def pair_of(certificates: Certificates) -> Pair:
    (pair,) = certificates.pairs
    return pair


def looks(pair: Pair, now: float | None = None) -> bool:
    """Look twice, because a change is loaded at the second look that finds it."""
    return any([pair.look(now or time.time()), pair.look(now or time.time())])


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.example", "a.example"),
        ("b.example", "b.example"),
        ("x.a.example", "x"),
        ("y.a.example", "a.example"),
        ("z.y.a.example", "b.example"),
        ("example", "b.example"),
        ("c.example", "b.example"),
        (None, "b.example"),
    ],
)
def test_a_name_gets_its_own_pair_then_that_of_one_wildcard_then_the_first(
    folder: Path, name: str | None, stem: str
) -> None:
    certificates = Certificates([files(folder, each) for each in ("b.example", "a.example", "x")], PLAIN)
    assert certificates.chosen(name).chain.stem == stem


def test_files_that_did_not_change_are_not_loaded_again(folder: Path, tmp_path: Path) -> None:
    pair = pair_of(Certificates([copied(folder, tmp_path, "a.example")], PLAIN))
    before = pair.context
    assert not looks(pair)
    assert pair.context is before


def test_files_that_changed_are_loaded_at_the_second_look_that_finds_them_the_same(
    folder: Path, tmp_path: Path
) -> None:
    certificates = Certificates([copied(folder, tmp_path, "a.example")], PLAIN)
    pair = pair_of(certificates)
    before = pair.context
    copied(folder, tmp_path, "b.example")
    assert not pair.look(time.time())
    assert pair.look(time.time())
    assert list(pair.names) == ["b.example"]
    assert pair.context is not before
    assert not looks(pair)


@pytest.mark.parametrize("fault", ["another key", "half a chain", "no chain", "expired"])
def test_files_with_a_fault_keep_the_former_pair_and_say_so_once(folder: Path, tmp_path: Path, fault: str) -> None:
    chain, key = copied(folder, tmp_path, "a.example")
    pair = pair_of(Certificates([(chain, key)], PLAIN))
    before = pair.context
    now, words = None, "chain.pem"
    if fault == "another key":
        shutil.copy(files(folder, "b.example")[1], key)
        words = "is not the key of"
    elif fault == "half a chain":
        chain.write_text(chain.read_text()[:200])
        words = "has no certificate in PEM form"
    elif fault == "no chain":
        chain.unlink()
        words = "No such file or directory"
    else:
        copied(folder, tmp_path, "b.example")
        now, words = LATER, "has expired"
    with pytest.raises(ConfigurationError, match=words):
        looks(pair, now)
    assert pair.context is before
    assert pair.names == ("a.example", "*.a.example")
    assert not looks(pair, now), "one warning"
    copied(folder, tmp_path, "b.example")
    assert looks(pair)
    assert list(pair.names) == ["b.example"]


def test_the_files_of_the_clients_authorities_are_looked_at_too(folder: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    shutil.copy(files(folder, "a.example")[0], ca)
    pair = pair_of(Certificates([copied(folder, tmp_path, "a.example")], TlsOptions((), ca, True, "1.3")))
    shutil.copy(files(folder, "b.example")[0], ca)
    assert looks(pair)


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        ("a.example.pem", "b.example.key", "b.example.key is not the key of .*a.example.pem: write the two files"),
        ("a.example.pem", "x.key", "x.key is not the key of .*a.example.pem: write the two files of one pair"),
        ("a.example.key", "a.example.pem", "a.example.key has no certificate in PEM form: write .chain, key."),
        ("a.example.pem", "a.example.pem", "a.example.pem has no private key in PEM form"),
        ("none.pem", "a.example.key", "none.pem: No such file or directory: write the path of a PEM file with the cer"),
        ("a.example.pem", "none.key", "none.key: No such file or directory: write the path of a PEM file with the pri"),
        ("", "a.example.key", "Is a directory"),
    ],
)
def test_a_pair_with_a_fault_at_the_start_names_the_file_and_the_mend(
    folder: Path, chain: str, key: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Certificates([(folder / chain, folder / key)], PLAIN)


def test_a_key_with_a_password_is_refused_without_asking_at_the_terminal(folder: Path, tmp_path: Path) -> None:
    chain, key = files(folder, "b.example")
    openssl("rsa", "-aes128", "-passout", "pass:secret", "-in", key, "-out", tmp_path / "locked.key")
    with pytest.raises(ConfigurationError, match=r"locked.key needs a password: write it without one"):
        Certificates([(chain, tmp_path / "locked.key")], PLAIN)


def test_a_missing_file_of_authorities_is_named(folder: Path, tmp_path: Path) -> None:
    options = TlsOptions((), tmp_path / "ca.pem", client_required=True, min_version="1.2")
    with pytest.raises(ConfigurationError, match=r"ca.pem: No such file or directory: write the path"):
        Certificates([files(folder, "a.example")], options)
    (tmp_path / "ca.pem").write_text("no PEM")
    with pytest.raises(ConfigurationError, match=r"ca.pem: TLS: no certificate or crl found: write the path"):
        Certificates([files(folder, "a.example")], options)


@BOTH
def test_a_ticket_resumes_with_another_pair_and_in_a_process_that_was_forked(folder: Path, version: str) -> None:
    certificates = Certificates([files(folder, "a.example"), files(folder, "b.example")], PLAIN)
    first, second = (pair.context for pair in certificates.pairs)
    client = client_context(version)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    ticket, resumed = shake_in_memory(first, client)
    assert not resumed
    ticket, resumed = shake_in_memory(second, client, ticket)
    assert resumed
    child = os.fork()
    if not child:
        try:
            os._exit(not shake_in_memory(first, client, ticket)[1])
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_options_hold_for_every_context(folder: Path) -> None:
    context = TlsOptions(("h2",), files(folder, "a.example")[0], client_required=False, min_version="1.3").new_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_OPTIONAL
    assert context.options & ssl.OP_NO_RENEGOTIATION
