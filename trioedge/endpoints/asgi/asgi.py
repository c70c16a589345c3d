"""Answer sessions by an ASGI application: HTTP/1.1, HTTP/2 and WebSocket, behind the limits of the chain."""

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...arguments import Fixed, binds, check_count, check_number
from ...errors import ENDS, ConfigurationError, quote, quote_fault
from ...services.context import EdgeContext
from ...session.kinds import name_of

if TYPE_CHECKING:
    from .live_asgi import LiveAsgi


class Asgi(Fixed):
    """Answer a session's requests by an ASGI application, in the edge's own process: Starlette, FastAPI, Quart-Trio.

    The application runs unchanged, on Trio. It speaks HTTP/1.1, HTTP/2 and WebSocket, over a plain connection or over
    TLS that an earlier stage has ended; its scope has the session's `source` as the client. Its lifespan is started
    before the edge listens, and a startup that it says has failed ends the start of the edge.

    Bytes are counted, and rates, idle limits, allowances, evictions and drains apply as with :class:`Forward`. An
    exception of the application is logged once; its request has status 500 if the response had not begun, else the
    session is cut with the reason ``fault``.
    """

    relays = True
    ignores_destination = True

    def __init__(
        self,
        app: "str | Callable[..., Any]",
        *,
        head_seconds: float = 10.0,
        keep_alive_seconds: float = 30.0,
        write_seconds: float = 30.0,
        max_head_bytes: int = 16_384,
    ) -> None:
        """Describe the endpoint; the application is called once the edge starts.

        Args:
            app: an ASGI 3 application, called with a scope, `receive` and `send`; or where it is, ``module:name``.
            head_seconds: how long the client has for the head of its first request; then it is reset, ``idle``.
            keep_alive_seconds: how long the client has for the head of a further request; then the connection is
                closed in order.
            write_seconds: how long the client may take no byte while the application has bytes for it; then it is
                reset, ``idle``. The session's idle limit applies too.
            max_head_bytes: the most bytes of a request's target and fields, 1,024 to 65,536; one with more is
                answered with status 431.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        if isinstance(app, str):
            app = _imported(app)
        _check_application(app)
        for name, value in (
            ("head_seconds", head_seconds), ("keep_alive_seconds", keep_alive_seconds),
            ("write_seconds", write_seconds),
        ):  # fmt: skip
            check_number("Asgi", name, value, above=0)
        check_count("Asgi", "max_head_bytes", max_head_bytes, minimum=1024, maximum=65_536)
        self.app: Any = app
        self.head_seconds = head_seconds
        self.keep_alive_seconds = keep_alive_seconds
        self.write_seconds = write_seconds
        self.max_head_bytes = max_head_bytes

    def __repr__(self) -> str:
        return f"Asgi({name_of(self.app)})"

    def open(self, context: EdgeContext) -> "LiveAsgi":
        """Make the endpoint of one run of an edge."""
        from .live_asgi import LiveAsgi  # imports hypercorn, which takes half of an edge's start

        return LiveAsgi(self, context)


def _imported(where: str) -> Any:
    """Import the application that ``module:name`` names."""
    module, _, name = where.partition(":")
    if not module or not name.isidentifier():
        raise ConfigurationError(f"Asgi({quote(where)}) must be an application, or where it is: 'module:name'")
    try:
        return getattr(importlib.import_module(module), name)
    except ENDS:
        raise
    except BaseException as error:
        raise ConfigurationError(f"Asgi({quote(where)}) cannot be imported: {quote_fault(error)}") from None


def _check_application(app: object) -> None:
    where = f"Asgi({quote(app)})"
    if isinstance(app, type):
        raise ConfigurationError(f"{where} is a class: write {app.__name__}(), the application itself")
    if inspect.iscoroutine(app):
        app.close()
        raise ConfigurationError(f"{where} is a coroutine, already called: pass the application, without ()")
    if not callable(app):
        raise ConfigurationError(f"{where} is no application: pass an object that is called with scope, receive, send")
    if not binds(app, None, None, None):
        raise ConfigurationError(
            f"{where} must take scope, receive and send, as ASGI 3 applications do; one of WSGI needs an adapter"
        )
