"""Passwords and tokens in a file, an environment variable or a credential of systemd, read where they are used."""

import os
import re
from pathlib import Path
from typing import Final

from .arguments import Fixed
from .errors import ConfigurationError, quote
from .regular_file import read_regular

MAX_BYTES: Final = 65_536
"""Of a file with a secret; a longer one is a mistake."""


_CREDENTIAL: Final = re.compile(r"(?!\.\.?$)[ -.0-~]{1,255}")


class Secret(Fixed):
    """A secret by its place: ``te.Secret(file="/etc/edge/token")``, ``(env="PANEL_TOKEN")``, ``(credential="token")``.

    Its text is read at each use, so a file that is replaced counts without a restart. Its repr shows the place only.

    In an ``edge.toml`` an argument that may be a Secret is written as ``{ file = "…" }``, ``{ env = "…" }`` or
    ``{ credential = "…" }``, never as text.
    """

    def __init__(
        self, *, file: "str | os.PathLike[str] | None" = None, env: str | None = None, credential: str | None = None
    ) -> None:
        """Note the place; nothing is read yet.

        Args:
            file: the path of a file with the secret alone, at most 64 KiB of UTF-8; a line end behind it is no part.
            env: the name of an environment variable.
            credential: the name of a credential of the unit (``LoadCredential=``): the file of this name in the folder
                that ``CREDENTIALS_DIRECTORY`` names.

        Raises:
            ConfigurationError: not exactly one of them is given, or it is no such name.
        """
        if [file, env, credential].count(None) != 2 or not (file or env or credential):
            raise ConfigurationError('a secret is file = "…", env = "…" or credential = "…": give one of the three')
        if file is not None and not isinstance(file, (str, os.PathLike)):
            raise ConfigurationError(f"Secret(file={quote(file)}) must be a path")
        if env is not None and not isinstance(env, str):
            raise ConfigurationError(f"Secret(env={quote(env)}) must be the name of an environment variable")
        if credential is not None and not (isinstance(credential, str) and _CREDENTIAL.fullmatch(credential)):
            raise ConfigurationError(
                f"Secret(credential={quote(credential)}) must be the name of a credential, as LoadCredential= gives it"
            )
        self.file = None if file is None else Path(file)
        self.env = env
        self.credential = credential

    def __repr__(self) -> str:
        place = {"file": self.file and str(self.file), "env": self.env, "credential": self.credential}
        return f"Secret({', '.join(f'{key}={each!r}' for key, each in place.items() if each is not None)})"

    def read(self) -> str:
        """Read the secret. It blocks as long as the file system does.

        Raises:
            ConfigurationError: the place has no secret, or cannot be read. The message names the place.
        """
        if self.env is not None:
            text = os.environ.get(self.env, "")
        else:
            try:
                raw = read_regular(self._path(), MAX_BYTES)
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

    def _path(self) -> Path:
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise ConfigurationError(
                f"{self} needs the variable CREDENTIALS_DIRECTORY: systemd sets it for LoadCredential=, and elsewhere "
                "set it to a folder with this file"
            )
        return Path(folder, str(self.credential))


def secret_text(secret: str | Secret) -> str:
    """Give the text of a secret that may be given as text or by its place; errors as :meth:`Secret.read`."""
    return secret.read() if isinstance(secret, Secret) else secret
