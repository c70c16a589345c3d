"""``trioedge hash``: print the hash of a password, or a new secret for a machine with its hash."""

import sys
from getpass import getpass
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import ConfigurationError
from ..services.passwords import generate_secret, hash_password


def hash_command(
    *, kind: Literal["scrypt", "sha256"] = "scrypt", generate: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Print the password_hash of a password, which is typed, or read from the first line of stdin.

    Exit codes: 0 printed, 2 the password is empty, too long, or too short for sha256.

    Args:
        kind: scrypt for people's passwords; sha256 for random secrets of machines, which is fast.
        generate: Print a new secret for a machine, and behind it its hash, of kind sha256.
    """
    if generate:
        secret, hashed = generate_secret()
        print(f"secret: {secret}\npassword_hash: {hashed}")
        return 0
    password = getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigurationError("there is no password: type one, or give it as the first line of stdin")
    print(hash_password(password, kind=kind))
    return 0
