"""Make what the measures need: the C programs of `load/`, and a certificate."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.bench.programs import program
from tests.bench.protocol_peers import no_tls_client
from tests.bench.talks import SERVER_NAME


def build(folder: Path) -> tuple[Path, Path]:
    """Compile the echo server, the load clients and the bare relay; return the paths of the first two.

    The client of TLS, and the certificate of its servers, are made where OpenSSL is.
    """
    for name in ("echo", "load", "relay"):
        _compile(folder, name)
    if no_tls_client() is None:
        _compile(folder, "tls", "-lssl", "-lcrypto")
        _certify(folder)
    return folder / "echo", folder / "load"


def _compile(folder: Path, name: str, *libraries: str) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("no C compiler: apt-get install gcc libc6-dev")
    source = Path(__file__).parent / "load" / f"{name}.c"
    options = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-o", str(folder / name), str(source), *libraries]
    subprocess.run([compiler, *options], check=True)


def _certify(folder: Path) -> None:
    """Make a certificate with an elliptic key; `both.pem` is for HAProxy, which reads one file."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
    name = ["-subj", f"/CN={SERVER_NAME}", "-addext", f"subjectAltName=DNS:{SERVER_NAME}"]
    command = [program("openssl"), "req", "-x509", *kind, *name, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both.pem").write_text(chain.read_text() + key.read_text())
