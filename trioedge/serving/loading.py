"""While a command imports a program for the edge in it, that program must not serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import ConfigurationError

_loading: ContextVar[bool] = ContextVar("_loading", default=False)


@contextmanager
def loading() -> Iterator[None]:
    """Refuse to serve in this block, in which a command imports a program."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


def refuse_while_loading(call: str) -> None:
    """Refuse a call that would serve, such as ``te.run(edge)``, in a block of :func:`loading`.

    Raises:
        ConfigurationError: the call, and where to write it.
    """
    if _loading.get():
        raise ConfigurationError(f'{call} is called at import: write it below if __name__ == "__main__":')
