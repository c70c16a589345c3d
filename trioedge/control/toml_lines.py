"""Convert a TOML file of services into the lines of a snapshot.

It is also a program, ``python -IS toml_lines.py services.toml``, because `tomllib` is pure Python and takes seconds for
a large file, which would delay every session in the process of an edge. It imports only the standard library, so that
it starts fast.
"""

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DEEP: Final = "its lists and tables are nested too deeply: a service has keys, and tables of keys"
_MISPLACED: Final = "must stand above all tables, and not in one"


def toml_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the snapshot of a file, line by line; every fault of the file is a line as well.

    The line of a service is the same in two files if its table has the same keys in the same order.
    """
    try:
        content = Path(path).read_bytes()
        document = tomllib.loads(content.decode())
    except OSError as error:
        where = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
        yield _line(fault=f"cannot be read{where}: {error.strerror or error}")
    except UnicodeDecodeError:
        yield _line(fault="is not TOML: it is not in UTF-8")
    except RecursionError:
        yield _line(fault=f"is not TOML for services: {_DEEP}")
    except ValueError as error:
        yield _line(fault=f"is not TOML: {error}")
    else:
        head = {"version": hashlib.sha256(content).hexdigest()[:12], "full": True}
        allowed = {name: document.pop(name) for name in ("allow_removal",) if name in document}
        yield _line(**head, **allowed)
        yield from _services(document)


def _services(document: dict[str, object]) -> Iterator[str]:
    services = document.pop("services", None)
    if document:
        yield _line(fault=f"has no key {', '.join(map(repr, document))}: there are services and allow_removal")
    if not isinstance(services, dict):
        # A file that was emptied, to be written anew, must not remove all services.
        said = "has no table [services]" if services is None else f"services = {_short(services)} is no table"
        yield _line(fault=f"{said}: for no services, write an empty [services]")
        services = {}
    count = 0
    for name, table in services.items():
        if not isinstance(table, dict):
            wrong = _MISPLACED if name == "allow_removal" else "must be a table"
            yield _line(fault=f"services.{name} = {_short(table)} {wrong}")
            continue
        if isinstance(table.get("allow_removal"), bool):
            yield _line(fault=f"services.{name}.allow_removal = {_short(table.pop('allow_removal'))} {_MISPLACED}")
        if "name" in table:
            yield _line(fault=f"services.{name} has no key 'name': the table has it")
        # The name comes first, because a reader refuses a line that is too long by its start.
        try:
            yield _line(**({"name": name} | table | {"name": name}))
        except RecursionError:
            yield _line(fault=f"services.{name:.100}: {_DEEP}")
        except ValueError:  # Python writes no whole number of more than 4,300 digits
            yield _line(fault=f"services.{name:.100} has a whole number of more than 64 bits: write a smaller one")
        else:
            count += 1
    yield _line(end=count)


def _short(value: object) -> str:
    try:
        return f"{value!r:.100}"
    except (RecursionError, ValueError):
        return "..."


def _line(**said: object) -> str:
    return json.dumps(said, default=str)  # dates and times become text, which no key accepts as a number


if __name__ == "__main__":
    os.nice(10)
    sys.stdout.writelines(f"{line}\n" for line in toml_lines(sys.argv[1]))
