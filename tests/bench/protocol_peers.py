"""The proxies that speak a protocol with their clients, each beside an edge that speaks it.

None logs its sessions but microsocks, whose log has no switch: it goes to a file. sing-box is not measured, because
Debian does not ship it.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench import talks
from tests.bench.balancers import haproxy, nginx, no_nginx
from tests.bench.processes import python
from tests.bench.programs import Command, Peer, no_module, no_program, program

DANTE = """\
logoutput: {folder}/dante.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 }}
"""

TINYPROXY = """\
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 9500
LogLevel Critical
LogFile "{folder}/tinyproxy.log"
"""

HAPROXY_SNI = f"""\
    tcp-request inspect-delay 10s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    tcp-request content reject if WAIT_END
    use_backend upstream if {{ req.ssl_sni -i {talks.SERVER_NAME} }}
"""

NGINX_SNI = f"map $ssl_preread_server_name $route {{ {talks.SERVER_NAME} UPSTREAM; }}"


def _edge(kind: str) -> Command:
    def command(folder: Path, port: int, upstream: int) -> list[str]:
        addresses = [f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{upstream}"]
        return python("tests.bench.protocol_edges", kind, *addresses, str(folder.parent))

    return command


def _microsocks(folder: Path, port: int, upstream: int) -> list[str]:
    return [program("microsocks"), "-i", "127.0.0.1", "-p", str(port)]


def _dante(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "danted.conf"
    config.write_text(DANTE.format(port=port, folder=folder))
    return [program("danted"), "-f", str(config), "-p", str(folder / "pid")]


def _pproxy(folder: Path, port: int, upstream: int) -> list[str]:
    return python("tests.bench.pproxy_server", f"socks5://127.0.0.1:{port}")


def _tinyproxy(folder: Path, port: int, upstream: int) -> list[str]:
    config = folder / "tinyproxy.conf"
    config.write_text(TINYPROXY.format(port=port, folder=folder))
    return [program("tinyproxy"), "-d", "-c", str(config)]


def _hypercorn(folder: Path, port: int, upstream: int) -> list[str]:
    return python("tests.bench.bare_hypercorn", str(port))


def no_tls_client() -> str | None:
    """Why the load client of TLS cannot be made here, or nothing."""
    if Path("/usr/include/openssl/ssl.h").exists() and program("openssl"):
        return None
    return "no headers of OpenSSL; apt-get install libssl-dev openssl"


def _no_tls_haproxy() -> str | None:
    return no_tls_client() or no_program("haproxy")()


PROTOCOL_PEERS = (
    Peer("trioedge-bare", "trioedge, no stage", _edge("bare"), no_module("trioedge")),
    Peer("trioedge-proxy", "trioedge, PROXY v1", _edge("proxy"), no_module("trioedge"), talks.proxy_v1),
    Peer("microsocks", "microsocks", _microsocks, no_program("microsocks"), talks.socks5),
    Peer("dante", "dante", _dante, no_program("danted", "dante-server"), talks.socks5),
    Peer("pproxy", "pproxy", _pproxy, no_module("pproxy"), talks.socks5),
    Peer("trioedge-socks", "trioedge, SOCKS", _edge("socks"), no_module("trioedge"), talks.socks5),
    Peer("trioedge-half", "trioedge, SOCKS", _edge("half"), no_module("trioedge"), talks.socks5),
    Peer("tinyproxy", "tinyproxy", _tinyproxy, no_program("tinyproxy"), talks.connect),
    Peer("trioedge-tunnel", "trioedge, CONNECT", _edge("tunnel"), no_module("trioedge"), talks.connect),
    Peer("haproxy-sni", "HAProxy, by SNI", haproxy(HAPROXY_SNI), no_program("haproxy"), talks.client_hello),
    Peer("nginx-sni", "nginx, by SNI", nginx(NGINX_SNI, "ssl_preread on;", "$route"), no_nginx, talks.client_hello),
    Peer("trioedge-sni", "trioedge, by SNI", _edge("sni"), no_module("trioedge"), talks.client_hello),
    Peer("haproxy-tls", "HAProxy, TLS", haproxy(bind=" ssl crt FOLDER/both.pem"), _no_tls_haproxy),
    Peer("trioedge-tls", "trioedge, TLS", _edge("tls"), no_tls_client),
    Peer("hypercorn", "hypercorn", _hypercorn, no_module("hypercorn"), talks.http),
    Peer("trioedge-asgi", "trioedge, an application", _edge("asgi"), no_module("trioedge"), talks.http),
)
