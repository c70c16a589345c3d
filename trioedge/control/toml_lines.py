"""A file of services in TOML, to the lines of a snapshot.

Also a program of its own, ``python -IS toml_lines.py services.toml``: `tomllib` is pure Python and takes seconds for a
large file, which is not for the process that carries bytes. It needs nothing but the standard library, to start fast.
"""

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path


def toml_lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the lines of the snapshot that a file is; everything wrong with the file is a line too.

    A service's line is as long as its table, and the same as long as its table says the same in the same order.
    """
    try:
        content = Path(path).read_bytes()
        document = tomllib.loads(content.decode())
    except OSError as error:
        where = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
        yield _line(fault=f"cannot be read{where}: {error.strerror or error}")
    except UnicodeDecodeError:
        yield _line(fault="is not TOML: it is not in UTF-8")
    except (ValueError, RecursionError) as error:
        yield _line(fault=f"is not TOML: {error}")
    else:
        yield _line(version=hashlib.sha256(content).hexdigest()[:12], full=True)
        yield from _services(document)


def _services(document: dict[str, object]) -> Iterator[str]:
    services = document.pop("services", None)
    if document:
        yield _line(fault=f"has no key {', '.join(map(repr, document))}: there is services")
    if not isinstance(services, dict):
        # So that a file that somebody has emptied to write it anew is not taken for the end of all services.
        said = "has no table [services]" if services is None else f"services = {services!r:.100} is no table"
        yield _line(fault=f"{said}: for no services, write an empty [services]")
        services = {}
    count = 0
    for name, table in services.items():
        if not isinstance(table, dict):
            yield _line(fault=f"services.{name} = {table!r} must be a table")
            continue
        if "name" in table:
            yield _line(fault=f"services.{name} has no key 'name': the table has it")
        count += 1
        yield _line(**({"name": name} | table | {"name": name}))  # first, for who reads no further
    yield _line(end=count)


def _line(**said: object) -> str:
    return json.dumps(said, default=str)  # dates and times, which no key takes


if __name__ == "__main__":
    os.nice(10)
    sys.stdout.writelines(f"{line}\n" for line in toml_lines(sys.argv[1]))
