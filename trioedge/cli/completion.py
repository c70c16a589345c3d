"""``trioedge completion``: commands, options and choices for the Tab key of a shell."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter

from ..errors import ConfigurationError
from .parser import all_commands

Shell: TypeAlias = Literal["bash", "zsh", "fish"]

_POSITIONAL: Final = re.compile(r"^(\s+'\d:(?:[^':\\]|\\.)*)' \\$", re.MULTILINE)
"""An argument in the script of zsh that says what it is, and not what completes it."""


def completion(shell: Shell, /, *, install: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Write the completion script of a shell to stdout, or put it where the shell looks for it.

    Without --install: eval "$(trioedge completion bash)" in .bashrc, the same with zsh behind compinit in .zshrc, and
    trioedge completion fish | source in config.fish.

    Args:
        shell: bash, zsh or fish.
        install: Write the script to a file of this user, and say what the shell still needs. No other file is changed.
    """
    if not install:
        print(script(shell))
        return 0
    path = place(shell, os.environ, Path.home())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(shell) + "\n")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    print(f"wrote {path}")
    if shell == "bash":
        print("bash reads it where the package bash-completion is installed, from the next shell on")
    if shell == "zsh":
        print(f"zsh reads it with this line before compinit in .zshrc: fpath+=({path.parent})")
    return 0


def script(shell: Shell) -> str:
    """Return the script of a shell. Arguments are completed as names of files, because targets are files mostly."""
    text = all_commands().generate_completion(shell=shell).rstrip()
    if shell == "bash":
        return text.replace("complete -F", "complete -o default -F")
    if shell == "zsh":
        text = _POSITIONAL.sub(r"\1:_files' \\", text)
        name = text.partition("()")[0].rsplit(maxsplit=1)[-1]
        return f'{text}\n\nif [ "$funcstack[1]" = _trioedge ]; then {name} "$@"; else compdef {name} trioedge; fi'
    return text


def place(shell: Shell, environment: Mapping[str, str], home: Path) -> Path:
    """Return the file in which a shell looks for a completion of this user."""
    if shell == "fish":
        return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/trioedge.fish"
    if shell == "zsh":
        return home / ".zfunc/_trioedge"
    return Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "bash-completion/completions/trioedge"
