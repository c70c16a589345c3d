"""HAProxy and nginx, which balance TCP: how they are configured, and whether they are here.

Both get time limits and connection limits that the measures never reach, and nothing else: no splicing, no tuning.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.bench.prefixes import LOOPBACK, PREFIXES, prefixes
from tests.bench.programs import Command, program

HAPROXY = """\
global
    nbthread {threads}
{process}    maxconn 9500
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
frontend clients
    bind 127.0.0.1:{port}{bind}
{limits}    default_backend upstream
backend upstream
    server echo 127.0.0.1:{upstream}
"""

HAPROXY_LIMITS = """\
    stick-table type ip size 100k expire 60s store conn_rate(1s),conn_cur
    tcp-request connection reject if !{ src -f accepted.lst }
    tcp-request connection track-sc0 src
    tcp-request connection reject if { sc0_conn_rate gt 1000000 }
    tcp-request connection reject if { sc0_conn_cur gt 20000 }
"""
"""What trioedge's chain does, in HAProxy's words: the same prefixes, rate and concurrency, never reached."""

HAPROXY_REFUSE = f"    tcp-request connection reject if {{ src {LOOPBACK} }}\n"

NGINX = """\
{module}daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections {files}; }}
stream {{
    proxy_timeout 10m;
    {stream}
    server {{ listen 127.0.0.1:{port}; proxy_pass {to}; {server} }}
}}
"""


def haproxy(limits: str = "", bind: str = "", threads: int = 1) -> Command:
    """HAProxy, with lines more in its frontend, and words more where it listens; FOLDER is that of the harness.

    Several threads have a core and a listener each, which is HAProxy's fastest way.
    """

    def command(folder: Path, port: int, upstream: int) -> list[str]:
        (folder / "accepted.lst").write_text("\n".join(prefixes(PREFIXES)) + "\n")
        rules = limits.replace("accepted.lst", str(folder / "accepted.lst"))
        config = folder / "haproxy.cfg"
        where = bind.replace("FOLDER", str(folder.parent))
        process = f"    cpu-map auto:1/1-{threads} 0-{threads - 1}\n" if threads > 1 else ""
        where += " shards by-thread" if threads > 1 else ""
        fields = {"port": port, "upstream": upstream, "limits": rules, "bind": where}
        config.write_text(HAPROXY.format(threads=threads, process=process, **fields))
        return [program("haproxy"), "-db", "-f", str(config)]

    return command


def nginx(stream: str = "", server: str = "", to: str = "") -> Command:
    """nginx, with directives more in its `stream` and `server` blocks, and another place to go to."""

    def command(folder: Path, port: int, upstream: int) -> list[str]:
        module = _nginx_module()
        load = f"load_module {module};\n" if module else ""
        there = f"127.0.0.1:{upstream}"
        fields = {"port": port, "to": to or there, "files": 19_000, "stream": stream.replace("UPSTREAM", there)}
        (folder / "nginx.conf").write_text(NGINX.format(module=load, server=server, **fields))
        return [program("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]

    return command


def _nginx_module() -> Path | None:
    """The stream module where it is a file of its own; None where nginx has it built in."""
    built = _nginx_build()
    folder = re.search(r"--modules-path=(\S+)", built)
    module = Path(folder[1]) / "ngx_stream_module.so" if folder else None
    return module if module and module.exists() else None


def no_nginx() -> str | None:
    if not program("nginx"):
        return "not installed; apt-get install nginx-light libnginx-mod-stream"
    if _nginx_module() or re.search(r"--with-stream( |$)", _nginx_build()):
        return None
    return "no stream module; apt-get install libnginx-mod-stream"


def _nginx_build() -> str:
    return subprocess.run([program("nginx"), "-V"], capture_output=True, text=True, check=True).stderr
