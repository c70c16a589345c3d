"""Passwords and tokens that stand in a file or an environment variable, and are read where they are used."""

import os
from pathlib import Path
from typing import Final

from .arguments import Fixed
from .errors import ConfigurationError, quote
from .regular_file import read_regular

MAX_BYTES: Final = 65_536
"""Of a file with a secret; a longer one is a mistake."""


class Secret(Fixed):
    """A secret by its place: ``te.Secret(file="/run/credentials/token")`` or ``te.Secret(env="PANEL_TOKEN")``.

    Its text is read at each use, so a file that is replaced counts without a restart. Its repr shows the place only.

    In an ``edge.toml`` an argument that may be a Secret is written as ``{ file = "…" }`` or ``{ env = "…" }``, never as
    text.
    """

    def __init__(self, *, file: "str | os.PathLike[str] | None" = None, env: str | None = None) -> None:
        """Note the place; nothing is read yet.

        Args:
            file: the path of a file with the secret alone, at most 64 KiB of UTF-8; a line end behind it is no part.
            env: the name of an environment variable.

        Raises:
            ConfigurationError: neither is given, or both are.
        """
        if (file is None) == (env is None) or not (file or env):
            raise ConfigurationError('a secret is file = "…" or env = "…": give one of the two')
        if file is not None and not isinstance(file, (str, os.PathLike)):
            raise ConfigurationError(f"Secret(file={quote(file)}) must be a path")
        if env is not None and not isinstance(env, str):
            raise ConfigurationError(f"Secret(env={quote(env)}) must be the name of an environment variable")
        self.file = None if file is None else Path(file)
        self.env = env

    def __repr__(self) -> str:
        return f"Secret(env={self.env!r})" if self.file is None else f"Secret(file={str(self.file)!r})"

    def read(self) -> str:
        """Read the secret. It blocks as long as the file system does.

        Raises:
            ConfigurationError: the place has no secret, or cannot be read. The message names the place.
        """
        if self.file is None:
            text = os.environ.get(str(self.env), "")
        else:
            try:
                raw = read_regular(self.file, MAX_BYTES)
                text = raw.decode().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError:
                raise ConfigurationError(f"{self} is no text of UTF-8") from None
            except OSError as error:
                raise ConfigurationError(f"{self} cannot be read: {error.strerror}") from None
            if len(raw) > MAX_BYTES:
                raise ConfigurationError(f"{self} has more than {MAX_BYTES:,} bytes, so it is no secret")
        if not text:
            raise ConfigurationError(f"{self} is empty" if self.env is None else f"{self} is not set, or is empty")
        return text


def secret_text(secret: str | Secret) -> str:
    """Give the text of a secret that may be given as text or by its place; errors as :meth:`Secret.read`."""
    return secret.read() if isinstance(secret, Secret) else secret
