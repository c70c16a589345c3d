import errno
import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.hosts_file import HostsFile, parse_hosts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", {}),
        ("127.0.0.1 localhost\n", {"localhost": ("127.0.0.1",)}),
        ("10.0.0.1\tdb db.internal # the old one\n", {"db": ("10.0.0.1",), "db.internal": ("10.0.0.1",)}),
        ("10.0.0.1 db\r\n10.0.0.2 DB\r\n", {"db": ("10.0.0.1", "10.0.0.2")}),
        ("10.0.0.1 db db\n10.0.0.1 db\n", {"db": ("10.0.0.1",)}),
        ("2001:db8::1 db.\n10.0.0.1 db\n", {"db": ("2001:db8::1", "10.0.0.1")}),
        ("fe80::1%lo0 here\n", {"here": ("fe80::1%lo0",)}),
        ("# 10.0.0.1 db\n10.0.0.1\n   \nnonsense db\n10.0.0.999 db\n", {}),
    ],
)
def test_a_file_is_read_as_names_with_their_addresses(text: str, names: dict[str, tuple[str, ...]]) -> None:
    assert parse_hosts(text) == names


@examples(100)
@given(st.text(st.sampled_from("1.: #\nab\0é\x85\u2028"), max_size=60))
def test_nonsense_gives_only_names_and_addresses_that_are_in_the_file(text: str) -> None:
    for name, addresses in parse_hosts(text).items():
        assert name in text.lower()
        assert all(address in text for address in addresses)


async def test_a_name_is_found_in_any_letter_case_and_with_or_without_the_final_dot(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("10.0.0.1 Redis.Internal\n")
    hosts = HostsFile(tmp_path / "hosts")
    assert hosts.addresses("redis.internal") == ()
    await hosts.refresh()
    for name in ("redis.internal", "REDIS.internal", "redis.internal."):
        assert hosts.addresses(name) == ("10.0.0.1",)
    assert hosts.addresses("redis") == ()


async def read_again(folder: Path, text: str, *, same_time: bool = False) -> str:
    """Read a file with 10.0.0.1, write `text` into it, refresh, and give the address that is known then."""
    path = folder / "hosts"
    path.write_text("10.0.0.1 db\n")
    hosts = HostsFile(path)
    await hosts.refresh()
    status = path.stat()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (0 if same_time else 1)))
    await hosts.refresh()
    (address,) = hosts.addresses("db")
    return address


async def test_a_file_is_read_again_only_when_its_time_or_its_size_changed(tmp_path: Path) -> None:
    assert await read_again(tmp_path, "10.0.0.2 db\n") == "10.0.0.2"
    assert await read_again(tmp_path, "10.0.0.22 db\n", same_time=True) == "10.0.0.22"
    assert await read_again(tmp_path, "10.0.0.2 db\n", same_time=True) == "10.0.0.1"


async def test_another_file_in_its_place_is_read_and_a_removed_file_has_no_names(tmp_path: Path) -> None:
    path, other = tmp_path / "hosts", tmp_path / "other"
    hosts = HostsFile(path)
    await hosts.refresh()
    assert hosts.addresses("db") == ()
    path.write_text("10.0.0.1 db\n")
    await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.1",)
    other.write_text("10.0.0.2 db\n")
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.2",)
    path.unlink()
    await hosts.refresh()
    assert hosts.addresses("db") == ()


async def test_a_folder_has_no_names_and_bytes_that_are_no_text_are_ignored(tmp_path: Path) -> None:
    folder = HostsFile(tmp_path)
    await folder.refresh()
    assert folder.addresses("db") == ()
    (tmp_path / "hosts").write_bytes(b"\xff\xfe\x00\n10.0.0.1 db\n")
    hosts = HostsFile(tmp_path / "hosts")
    await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.1",)


async def test_after_a_cancel_the_former_names_are_kept_and_the_next_refresh_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("10.0.0.1 db\n")
    hosts = HostsFile(path)
    await hosts.refresh()
    path.write_text("10.0.0.22 db\n")
    with trio.CancelScope() as scope:
        scope.cancel()
        await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.1",)
    await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.22",)


async def test_a_file_that_cannot_be_read_for_a_moment_keeps_its_former_names_until_it_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "hosts").write_text("10.0.0.1 db\n")
    hosts = HostsFile(tmp_path / "hosts")
    await hosts.refresh()
    (tmp_path / "hosts").write_text("10.0.0.200 db\n")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.1",)
    await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.200",)


async def test_a_system_without_threads_keeps_the_former_names_until_it_has_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    (tmp_path / "hosts").write_text("10.0.0.1 db\n")
    hosts = HostsFile(tmp_path / "hosts")
    await hosts.refresh()
    (tmp_path / "hosts").write_text("10.0.0.200 db\n")
    with monkeypatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", refuse)
        await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.1",)
    await hosts.refresh()
    assert hosts.addresses("db") == ("10.0.0.200",)
