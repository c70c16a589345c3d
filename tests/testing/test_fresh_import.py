"""Each test starts a process, which takes most of a second."""

import pytest

from tests.support.packages import Packages
from trioedge.testing.fresh_import import Imported, import_alone


def imported(packages: Packages, text: str) -> Imported:
    """Give the effects of a module."""
    packages.add("some-module", some_module=text)
    return import_alone("some_module")


def test_a_plain_module_starts_opens_and_awaits_nothing_and_costs_less_than_trio(packages: Packages) -> None:
    found = imported(packages, "import json, httpx\nwith open('/dev/null') as file: file.read()")
    seconds = found["seconds"], found["trio_seconds"]
    assert found == {"threads": 0, "opened": [], "waited": [], "seconds": seconds[0], "trio_seconds": seconds[1]}
    assert 0 < seconds[0] < seconds[1]  # without httpx


def test_all_that_a_module_starts_opens_and_awaits_is_named(packages: Packages) -> None:
    found = imported(
        packages,
        """
import contextlib, os, socket, subprocess, threading, time
for _ in range(2):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
kept = [socket.socket(), open("/dev/null")]
time.sleep(0)
with contextlib.suppress(OSError):
    kept[0].connect(("127.0.0.1", 9))
socket.getaddrinfo("127.0.0.1", 80)
subprocess.run(["true"])
time.sleep(0)
end = 2 * time.process_time()
while time.process_time() < end:
    pass
print("lines of its own")
""",
    )
    assert found["threads"] == 2
    assert [each.partition("[")[0] for each in found["opened"]] == ["/dev/null", "socket:"]
    assert found["waited"] == ["sleeps", "connects to a server", "resolves a name", "runs a program"]
    assert found["seconds"] > found["trio_seconds"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("import os\nos._exit(3)", "it ended the process with code 3"), ("x = y", "NameError: name 'y' is not defined")],
)
def test_a_module_that_fails_is_an_error(text: str, says: str, packages: Packages) -> None:
    with pytest.raises(RuntimeError, match=says):
        imported(packages, text)
