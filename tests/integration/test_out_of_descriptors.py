"""An edge of its own process with 64 file descriptors and a crowd before it."""

import json
import re
import socket
import sys
from pathlib import Path

import trio

from tests.support.wires import connect, receive_exactly, server

_EDGE = """
import json, resource, sys
import trioedge as te

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward(sys.argv[1]), max_sessions=10_000)
te.run(edge)
counts = edge.statistics()
print(json.dumps({"refused": counts.refused, "ended": counts.ended, "accepted": counts.accepted}), flush=True)
"""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_it_sheds_says_so_serves_the_living_does_not_spin_and_recovers() -> None:
    async with server() as upstream:
        edge = await trio.lowlevel.open_process(
            [sys.executable, "-c", _EDGE, f"tcp://127.0.0.1:{upstream}"], stdout=-1, stderr=-1
        )
        assert edge.stdout is not None
        assert edge.stderr is not None
        async with edge.stdout, edge.stderr:
            with trio.fail_after(20):
                log = b""
                while not (listening := re.findall(rb"listening.*127.0.0.1:(\d+)'", log)):  # behind `few open files`
                    log += bytes(await edge.stderr.receive_some())
                port = int(listening[0])
                living = await connect(port)
                await living.send_all(b"ping")
                assert await receive_exactly(living, 4) == b"ping"
                before = cpu_seconds(edge.pid)
                crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
                for _ in range(10):
                    await living.send_all(b"ping")
                    assert await receive_exactly(living, 4) == b"ping"
                    await trio.sleep(0.05)
                assert cpu_seconds(edge.pid) - before < 0.25
                for sock in crowd:
                    sock.close()
                while True:  # the moment at which the kernel has told the edge of every close is not ours to know
                    async with await connect(port) as later:
                        try:
                            await later.send_all(b"ping")
                            if await receive_exactly(later, 4) == b"ping":
                                break
                        except trio.BrokenResourceError:
                            await trio.sleep(0.01)
                await living.aclose()
                edge.terminate()
                said = await edge.stdout.receive_some()
                await edge.wait()
                counts = json.loads(said)
                overloaded = counts["refused"].get("overload", 0) + counts["ended"].get("overload", 0)
                assert overloaded > 150
                assert counts["accepted"] == sum(counts["refused"].values()) + sum(counts["ended"].values())
