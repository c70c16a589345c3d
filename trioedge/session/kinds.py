"""Tell the kind of a stage, read its facts, open it, and refuse an object that is no stage or endpoint."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from ..arguments import binds, count_fault, flag_fault, is_async, number_fault
from ..errors import ENDS, ConfigurationError, quote
from .stage import Closing, Composite, Endpoint, Facts, Handler, Recipe, Worker
from .surroundings import FaultLog
from .verdict import Reject

DECISION, HANDSHAKE, MIDDLEWARE = "decision", "handshake", "middleware"
KINDS: Final = (DECISION, HANDSHAKE, MIDDLEWARE)

MAX_HANDSHAKE_BYTES: Final = 65_536
"""The largest `max_bytes` of a handshake, because each client may fill that much memory."""

_FIELDS: Final = tuple((field.name, field.default) for field in attrs.fields(Facts))
_DEFAULTS: Final = dict(_FIELDS)
_OF_HANDSHAKES: Final = ("seconds", "max_bytes", "proceeds")
_TUPLES: Final = tuple(name for name, default in _FIELDS if isinstance(default, tuple))
_FLAGS: Final = tuple(name for name, default in _FIELDS if isinstance(default, bool))


def name_of(part: object) -> str:
    """Give the name of a stage or endpoint for messages: its function's, or else its class's."""
    function = getattr(part, "decide", None) or getattr(part, "converse", None) or getattr(part, "handle", None)
    if inspect.isfunction(part):
        return part.__name__
    if isinstance(part, type):
        return part.__name__
    if inspect.isfunction(function):  # a lifted function, whose own name says more than its wrapper's
        return function.__name__
    return type(part).__name__


def facts_of(part: object, where: str) -> Facts:
    """Read the facts of a part from its attributes.

    Args:
        part: a stage or an endpoint.
        where: names it in messages.

    Raises:
        ConfigurationError: one of its attributes is of the wrong type.
    """
    said: dict[str, Any] = {name: getattr(part, name, default) for name, default in _FIELDS}
    if said["kind"] != HANDSHAKE and not hasattr(part, "converse"):
        for name in _OF_HANDSHAKES:  # which may mean anything to another part
            said[name] = _DEFAULTS[name]
    for name in _TUPLES:
        value = said[name]
        if isinstance(value, str):
            raise ConfigurationError(f"{where}: {name}={quote(value)} is text: write {name}=({quote(value)},)")
        if not isinstance(value, (tuple, list, frozenset, set)) or not all(isinstance(each, str) for each in value):
            raise ConfigurationError(f"{where}: {name}={quote(value)} must be a tuple of names")
        said[name] = tuple(value)
    for name in _FLAGS:
        if not isinstance(said[name], bool):
            raise ConfigurationError(f"{where}: {name}={quote(said[name])} {flag_fault(said[name])}")
    if fault := count_fault(said["descriptors"], minimum=0):
        raise ConfigurationError(f"{where}: descriptors={quote(said['descriptors'])} {fault}")
    if fault := number_fault(said["seconds"], above=0):
        raise ConfigurationError(f"{where}: seconds={quote(said['seconds'])} {fault}")
    if fault := count_fault(said["max_bytes"], maximum=MAX_HANDSHAKE_BYTES):
        raise ConfigurationError(f"{where}: max_bytes={quote(said['max_bytes'])} {fault}")
    bits = said["source_bits"]
    if bits is not None and (fault := count_fault(bits, maximum=128)):
        raise ConfigurationError(f"{where}: source_bits={quote(bits)} {fault}, or None")
    if said["policy"] is not None and not isinstance(said["policy"], type):
        raise ConfigurationError(f"{where}: policy={quote(said['policy'])} must be a class, of keys in every policy")
    return Facts(**said)


def kind_of(stage: object, where: str) -> str:
    """Give ``decision``, ``handshake`` or ``middleware``.

    Raises:
        ConfigurationError: `stage` is none of them, or several; the message has the mend.
    """
    if not isinstance(stage, Recipe) or isinstance(stage, type):
        return _live_kind(stage, where)
    check_open(stage, where)
    kind = facts_of(stage, where).kind
    if kind not in KINDS:
        raise ConfigurationError(
            f"{where} has open() and must say what it opens: write kind = 'decision', 'handshake' or 'middleware'"
        )
    return kind


def _live_kind(stage: object, where: str) -> str:
    """Give the kind of a live stage, which its methods tell."""
    if isinstance(stage, type):
        raise ConfigurationError(f"{where} is a class, not a stage: call it, {stage.__name__}(...)")
    if inspect.iscoroutine(stage):
        stage.close()
        raise ConfigurationError(f"{where} is a coroutine, already called: pass the function, without ()")
    decide: Any = getattr(stage, "decide", None)
    converse: Any = getattr(stage, "converse", None)
    handle: Any = getattr(stage, "handle", None)
    had = [name for name, each in (("decide", decide), ("converse", converse), ("handle", handle)) if each is not None]
    if not had:
        mend = "lift a function with @decision, @handshake or @middleware" if callable(stage) else "give it one of them"
        raise ConfigurationError(
            f"{where} has neither decide(session) nor converse(session) nor handle(session, call_next): {mend}"
        )
    if len(had) > 1:
        raise ConfigurationError(
            f"{where} has {' and '.join(f'{name}()' for name in had)}: a stage is a decision, a handshake or a "
            "middleware; make several of it"
        )
    if converse is not None:
        _check_converse(converse, where)
        check_life(stage, where)
        return HANDSHAKE
    if decide is not None:
        if is_async(decide):
            raise ConfigurationError(
                f"{where}: decide() is async, and a decision cannot wait: make it a plain def that answers from "
                "memory, or make it a middleware"
            )
        if inspect.isgeneratorfunction(decide):
            raise ConfigurationError(f"{where}: decide() has a yield, as a handshake has: lift it with @handshake")
        _check_arity(decide, 1, f"{where}: decide() must take the session and nothing else")
        check_life(stage, where)
        return DECISION
    if _arity_fits(handle, 1) and not _arity_fits(handle, 2):
        raise ConfigurationError(
            f"{where} is an endpoint among the stages: pass it as endpoint=, or let handle() take call_next too"
        )
    _check_async(handle, f"{where}: handle()")
    _check_arity(handle, 2, f"{where}: handle() must take the session and call_next")
    check_life(stage, where)
    return MIDDLEWARE


def _check_converse(converse: Any, where: str) -> None:
    """Refuse a ``converse`` that is no generator function of the session."""
    if is_async(converse) or inspect.isasyncgenfunction(converse):
        raise ConfigurationError(
            f"{where}: converse() is async, and a handshake cannot wait: make it a plain def with yield, and await "
            "with yield Background(function)"
        )
    plain = inspect.isfunction(converse) or inspect.ismethod(converse)
    if not callable(converse) or (plain and not inspect.isgeneratorfunction(converse)):
        raise ConfigurationError(
            f"{where}: converse() has no yield: a handshake is a generator, as in line = yield ReadUntil(b'\\n'); "
            "without one it is a decision"
        )
    _check_arity(converse, 1, f"{where}: converse() must take the session and nothing else")


def live_stage(stage: object, context: Any, kind: str, where: str) -> object:
    """Open a recipe and check that the live stage is of its kind; any other stage is its own live stage.

    Args:
        stage: from ``stages=[…]``.
        context: the running edge; None if there is none.
        kind: of the recipe.
        where: names it in messages.

    Raises:
        ConfigurationError: there is no running edge to open it with, or it opened another kind.
    """
    if not isinstance(stage, Recipe):
        return stage
    live = open_recipe(stage, context, where)
    opened = _live_kind(live, f"{where}: open() returned {quote(live)}, which")
    if opened != kind:
        raise ConfigurationError(f"{where} says kind = {quote(kind)}, and open() returned a {opened}: make them agree")
    return live


def live_endpoint(endpoint: object, context: Any) -> object:
    """Open the recipe of an endpoint; any other endpoint is its own live endpoint.

    Raises:
        ConfigurationError: there is no running edge to open it with, or it opened no endpoint.
    """
    if not isinstance(endpoint, Recipe):
        return endpoint
    where = f"endpoint ({name_of(endpoint)})"
    live = open_recipe(endpoint, context, where)
    if live is None:
        raise ConfigurationError(f"{where}: open() returned None: let it return an object with async handle(session)")
    endpoint_handler(live)
    return live


def open_recipe(recipe: Recipe, context: Any, where: str) -> object:
    """Make the live part of a recipe, of whatever kind.

    Raises:
        ConfigurationError: there is no running edge to open it with, or its ``open`` is async.
    """
    if context is None:
        raise ConfigurationError(f"{where} is opened by a running edge: test it with trioedge.testing.open_edge")
    live = recipe.open(context)
    if inspect.iscoroutine(live):
        live.close()
        raise _async_open(where)
    return live


def close_parts(parts: Sequence[object], log: FaultLog) -> None:
    """Close live parts, the last one first, each object once; a fault of one is logged and the others are closed.

    Args:
        parts: stages and endpoints; one object may be there twice.
        log: takes the faults.
    """
    for part in reversed(each_once(parts)):
        if isinstance(part, Closing):
            try:
                part.close()
            except ENDS:
                raise
            except BaseException as fault:
                log.fault("close failed", fault, stage=name_of(part))


def each_once(parts: Sequence[object]) -> tuple[object, ...]:
    """Give the parts in order, those inside of others included, and an object that is there twice only once."""
    found: dict[int, object] = {}
    for part in parts:
        inner = each_once(part.inner_stages) if isinstance(part, Composite) else ()
        found |= {id(each): each for each in (part, *inner)}
    return tuple(found.values())


def check_open(recipe: Recipe, where: str) -> None:
    """Refuse an ``open`` that cannot be called before the edge accepts."""
    if not callable(recipe.open):
        raise ConfigurationError(f"{where}: open={quote(recipe.open)} is no method, and open() makes the live stage")
    if is_async(recipe.open):
        raise _async_open(where)
    _check_arity(recipe.open, 1, f"{where}: open() must take the context and nothing else")


def _async_open(where: str) -> ConfigurationError:
    return ConfigurationError(f"{where}: open() is async; make it a plain def, and wait in run()")


def check_endpoint(endpoint: object) -> None:
    """Refuse an object that is no endpoint; nothing is opened.

    Raises:
        ConfigurationError: the message has the mend.
    """
    if not isinstance(endpoint, Recipe) or isinstance(endpoint, type):
        endpoint_handler(endpoint)
        return
    where = f"endpoint ({name_of(endpoint)})"
    check_open(endpoint, where)
    if (kind := facts_of(endpoint, where).kind) in KINDS:
        raise ConfigurationError(f"{where} is a {kind}: move it into stages and name an endpoint behind it")


def endpoint_handler(endpoint: object) -> Handler:
    """Give the function that carries a session to its end.

    Raises:
        ConfigurationError: `endpoint` is no live endpoint; the message has the mend.
    """
    where = f"endpoint ({name_of(endpoint)})"
    if endpoint is None:
        raise ConfigurationError("no endpoint: say where sessions go, for example endpoint=Forward('tcp://…')")
    if isinstance(endpoint, str):
        raise ConfigurationError(f"endpoint={endpoint!r} is text: write endpoint=Forward({endpoint!r})")
    if inspect.iscoroutine(endpoint):
        endpoint.close()
        raise ConfigurationError(f"{where} is a coroutine, already called: pass the function, without ()")
    if isinstance(endpoint, type):
        raise ConfigurationError(f"{where} is a class, not an endpoint: call it, {endpoint.__name__}(...)")
    handle: Any = endpoint.handle if isinstance(endpoint, Endpoint) else endpoint
    if not callable(handle) or hasattr(endpoint, "decide"):
        raise ConfigurationError(f"{where} cannot end a chain: it needs async handle(session)")
    _check_async(handle, where)
    if _arity_fits(handle, 2) and not _arity_fits(handle, 1):
        raise ConfigurationError(f"{where} is a middleware: move it into stages and name an endpoint behind it")
    _check_arity(handle, 1, f"{where} must take the session and nothing else")
    check_life(endpoint, where)
    begin: Any = getattr(endpoint, "begin", None)
    mend = "begin() carries a plain socket without a task: give it that method's arguments, or rename it"
    if begin is not None and not callable(begin):
        raise ConfigurationError(f"{where}: begin={quote(begin)} is no method, and {mend}")
    if begin is not None and (is_async(begin) or not _arity_fits(begin, 4)):
        raise ConfigurationError(f"{where}: {mend}, as in def begin(self, session, down, prefetched, ended)")
    return handle  # type: ignore[no-any-return]  # just checked, by hand


def check_life(part: object, where: str) -> None:
    """Refuse a live part whose ``run`` the edge cannot start, or whose ``close`` it cannot call."""
    if isinstance(part, Worker):
        run: Any = part.run
        mend = "write async def run(self, *, task_status), or rename it"
        if not callable(run):
            raise ConfigurationError(
                f"{where}: run={quote(run)} is no method, and run() works in the background: {mend}"
            )
        _check_async(run, f"{where}: run()")
        if not binds(run, task_status=None):
            raise ConfigurationError(f"{where}: run() must take task_status and nothing else: {mend}")
    if isinstance(part, Closing):
        close: Any = part.close
        if not callable(close):
            raise ConfigurationError(f"{where}: close={quote(close)} is no method, and close() frees it: rename it")
        if is_async(close):
            raise ConfigurationError(f"{where}: close() is async, and is called without a wait: make it a plain def")
        _check_arity(close, 0, f"{where}: close() must take no arguments")


def _check_async(function: Any, where: str) -> None:
    if (inspect.isfunction(function) or inspect.ismethod(function)) and not inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{where} is not async: write async def")


def _check_arity(function: Callable[..., object], count: int, message: str) -> None:
    if not _arity_fits(function, count):
        raise ConfigurationError(message)


def _arity_fits(function: Any, count: int) -> bool:
    """Whether `function` can be called with `count` positional arguments; True if its signature is not known."""
    return binds(function, *range(count))


def checked(verdict: Any, stage: object) -> Reject:
    """Give the refusal of a decision.

    Raises:
        TypeError: it answered with anything else.
    """
    if type(verdict) is Reject:
        return verdict
    raise TypeError(
        f"decision {name_of(stage)} returned {quote(verdict)}; a decision returns CONTINUE or Reject(reason, detail)"
    )
