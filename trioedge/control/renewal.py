"""A token and authorities that are renewed while an edge runs: their files are read again once they differ."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from ..arguments import is_async
from ..errors import ConfigurationError, EdgeError
from ..loop.files import identity_of
from ..telemetry.log import STOPS

T = TypeVar("T")

MAX_TOKEN_BYTES: Final = 8_192
"""Of a token and of its file; a header of HTTP may seldom be longer."""

TOKEN_RULE: Final = f"must be printable ASCII without spaces, at most {MAX_TOKEN_BYTES:,} letters"


class TokenError(EdgeError):
    """There is no token to send; the message never has a part of one."""


class RenewedFile(Generic[T]):
    """A value out of a small file, read again once the file differs.

    While the file is missing or wrong, the last good value stays in use. A look takes 2 µs and is made by the caller's
    thread, so the file is for a local disk.

    Attributes:
        fault: the reason why the file cannot be used now; empty if it can.
    """

    def __init__(self, path: str | os.PathLike[str], read: Callable[[Path], T]) -> None:
        """Read the file a first time.

        Args:
            path: of the file; a relative one begins at the working directory of this moment.
            read: reads the value.

        Raises:
            OSError: as `read` raises it.
            ValueError: as `read` raises it.
        """
        self._path, self._read = Path(path).absolute(), read
        self._seen = identity_of(self._path)
        self._value = read(self._path)
        self.fault = ""

    def value(self) -> T:
        """Return the value of the file as it is now, or as it was when it was good."""
        found = identity_of(self._path)
        if found != self._seen:
            try:
                self._value = self._read(self._path)
            except (OSError, ValueError) as error:  # read it again at the next look: maybe only this process was full
                self.fault = f"{self._path} cannot be used, so its former content is: {error}"
            else:
                self._seen, self.fault = found, ""
        return self._value


class Authorities(ssl.SSLContext):
    """A TLS context that trusts the certificates in a file, and for each new connection those that are there then."""

    def __new__(cls, file: RenewedFile[ssl.SSLContext]) -> Self:  # noqa: ARG004 - of __init__
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, file: RenewedFile[ssl.SSLContext]) -> None:
        self._file = file
        self._protocols: list[str] = []

    def set_alpn_protocols(self, protocols: Any) -> None:
        """Set the protocols of later connections."""
        self._protocols = list(protocols)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection that trusts the file as it is now."""
        context = self._file.value()
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        return context.wrap_bio(*arguments, **options)


def read_authorities(path: Path) -> ssl.SSLContext:
    """Read a file of PEM certificates to trust; raises OSError, as `ssl.SSLError` is one."""
    return ssl.create_default_context(cafile=path)


def read_token(path: Path) -> str:
    """Read a token; blanks and line ends around it are no part of it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no token. The message has no part of the file.
    """
    with path.open("rb") as file:
        token = file.read(MAX_TOKEN_BYTES + 1).decode("ascii", "replace").strip()
    if not is_token(token):
        raise ValueError(f"its token {TOKEN_RULE}")
    return token


def is_token(value: object) -> bool:
    """Tell whether a value can be sent as a token."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TOKEN_BYTES
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def ask_for_token(function: Callable[[], str]) -> Callable[[], str]:
    """Make a function that asks a user's function for the token of each request, and checks it.

    Raises:
        ConfigurationError: it is an async function.
    """
    if is_async(function):
        raise ConfigurationError(
            "HttpControl(token=...) is an async function, and a request cannot wait for its token: let a task fetch it,"
            " and give a plain function that returns the last one"
        )

    def ask() -> str:
        try:
            token = function()
        except STOPS:
            raise
        except BaseException as fault:  # its message may have a secret
            raise TokenError(f"the function of HttpControl(token=...) raised {type(fault).__name__}") from None
        if not is_token(token):
            raise TokenError(f"the function of HttpControl(token=...) returned no token: it {TOKEN_RULE}")
        return token

    return ask
