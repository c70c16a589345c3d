"""The check of a plugin: its package, its arguments and their words, its life in an edge, and the check of its kind."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import trio
from trio.testing import MockClock

from ..config.keys import Key, keys_of
from ..config.plain_shapes import SecretText
from ..control.memory import MemoryControl
from ..edge import Edge
from ..endpoints.forward import Forward
from ..errors import ConfigurationError, quote, quote_fault
from ..plugins import PLUGIN_NAME, Kind, Plugin, PluginError, find, installed, is_part, load
from ..plugins.installed import normalised
from ..services.policy import Policy
from ..session.kinds import DECISION, HANDSHAKE, facts_of, kind_of, name_of
from .checks import HOUR, Nowhere, check_decision, check_middleware, naming
from .control_checks import check_control
from .endpoint_checks import WatchedEndpoint, check_endpoint
from .fresh_import import import_alone, open_files, running_threads
from .handshakes import check_handshake
from .observer_checks import check_observer
from .outbound_checks import check_outbound
from .rehearsal import edge_for_check
from .wrong_values import wrong_values

PATIENCE: Final = 1.0
"""Seconds in which a worker has to end after a cancel."""

THREADS_SECONDS: Final = 0.5
"""How long the fake clock waits for a worker's threads before it jumps."""


_ANYWHERE: Final = "tcp://127.0.0.1:0"
_NO_MORE: Final[Mapping[str, Any]] = MappingProxyType({})


def check_plugin(
    name: str, *, kind: str | None = None, kit: Mapping[str, Any] | None = _NO_MORE, **arguments: Any
) -> None:
    r"""Check an installed plugin: whether it keeps the promises that an edge and its operator rely on.

    Its entry point can be loaded. Its import starts no thread, opens nothing, waits for nothing, and takes less
    processor time than that of Trio, both without the libraries that they import. Its class has words for each
    argument, and refuses values of other types, and those beyond the bounds that the words say, with a
    `ConfigurationError`. To make it starts nothing. Its ``repr`` begins with the name of its class. Its worker starts,
    and ends within a second of a cancel. Then comes the check of its kind, such as :func:`check_decision`.

    Call it in a plain ``def``: it runs Trio itself, under a fake clock; for outbounds and control planes under the
    real one.

    Args:
        name: what ``use`` says.
        kind: ``stage``, ``endpoint``, ``outbound``, ``control`` or ``observer``; None if its name is of one kind only.
        kit: arguments of the check of its kind, such as ``{"messages": [b"hello\\n"]}`` of a handshake. An outbound is
            connected to this machine, unless there is an ``address``. None leaves this check out.
        arguments: of the plugin.

    Raises:
        AssertionError: names the promise that it broke, and how to mend it.
        ConfigurationError: no plugin of this name is installed.
    """
    if trio.lowlevel.in_trio_run():
        raise AssertionError("check_plugin runs Trio itself: call it in a plain def test, without async")
    plugin = plugin_named(name, kind)
    maker = check_package(plugin)
    check_words(plugin, maker)
    missing = missing_arguments(plugin, maker, arguments)
    assert not missing, (
        f"{plugin} needs arguments: write check_plugin({name!r}, {', '.join(f'{each}=…' for each in missing)})"
    )
    for key in _keys(plugin, maker):
        given = arguments.get(key.name)
        if key.shape == SecretText() and isinstance(given, str) and "://" not in given:  # a URL may be text
            raise AssertionError(
                f"{plugin}: an edge.toml gives {key.name} as a te.Secret: write {key.name}=te.Secret(file=…) or "
                "te.Secret(env=…) here as well"
            )
    check_part(plugin, maker, arguments, kit)


def plugin_named(name: str, kind: str | None = None) -> Plugin:
    """Return the installed plugin of a name.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    if kind is not None and kind not in tuple(Kind):
        raise ConfigurationError(f"kind={quote(kind)} must be {' or '.join(repr(str(each)) for each in Kind)}")
    package, _, short = name.rpartition(":")
    found = [each for each in installed(None if kind is None else Kind(kind)) if each.name == short]
    if package:
        found = [each for each in found if normalised(each.package) == normalised(package)]
    if not found:
        raise ConfigurationError(
            f"no plugin {quote(name)} is installed: pip install -e . installs the one of this folder, and trioedge "
            "plugins lists all"
        )
    if len({each.kind for each in found}) > 1:
        kinds = " and ".join(each.kind.noun for each in found)
        raise ConfigurationError(f"plugin {quote(name)} is {kinds}: give kind={str(found[0].kind)!r}")
    if len(found) > 1:
        find(found[0].kind, name)  # raises, and says how to tell them apart
    return found[0]


def check_package(plugin: Plugin) -> Any:
    """Check the name and the import; return what makes the part.

    Raises:
        AssertionError: names the promise that it broke.
    """
    name = f"{plugin}: its name {quote(plugin.name)}"
    assert PLUGIN_NAME.fullmatch(plugin.name), f"{name} must be lower-case letters, digits and hyphens, a letter first"
    try:
        maker = load(plugin)
    except PluginError as error:
        raise AssertionError(str(error)) from error
    _check_import(plugin)
    return maker


def check_words(plugin: Plugin, maker: Any) -> None:
    """Check that each argument has words.

    Raises:
        AssertionError: names one without.
    """
    for each in _keys(plugin, maker):
        assert each.words, (
            f"{plugin}: {_name(maker)} has no words for {each.name!r}: write it below Args: in its docstring, because "
            "operators have no other description"
        )


def missing_arguments(plugin: Plugin, maker: Any, given: Mapping[str, Any]) -> list[str]:
    """Return the names of the arguments without a default that are not given."""
    return [each.name for each in _keys(plugin, maker) if each.required and each.name not in given]


def check_part(plugin: Plugin, maker: Any, arguments: Mapping[str, Any], kit: Mapping[str, Any] | None) -> None:
    """Check the part that a plugin makes with these arguments, as :func:`check_plugin` does.

    Raises:
        AssertionError: names the promise that it broke.
    """
    part = _made(plugin, maker, arguments)
    for each in _keys(plugin, maker):
        _check_refusals(plugin, maker, arguments, each)
    try:
        _check_life(plugin, part)
        if kit is not None:
            _check_kind(plugin, part, kit)
    except ConfigurationError as error:
        raise AssertionError(f"{plugin}: {error}") from error


def _keys(plugin: Plugin, maker: Any) -> Iterable[Key]:
    return () if is_part(plugin.kind, maker) else keys_of(maker).values()


def _name(maker: Any) -> str:
    return maker.__name__ if isinstance(maker, type) else name_of(maker)


def _check_import(plugin: Plugin) -> None:
    module = plugin.value.partition(":")[0].strip()
    try:
        found = import_alone(module)
    except RuntimeError as error:
        raise AssertionError(f"{plugin}: {module} cannot be imported in a process of its own: {error}") from error
    begins = f"{plugin}: to import {module}"
    mend = "do that in open() or run(), because an edge may fork after it has imported"
    assert not found["threads"], f"{begins} starts {found['threads']} threads: {mend}"
    assert not found["opened"], f"{begins} leaves {found['opened'][0]} open: {mend}"
    assert not found["waited"], f"{begins} {found['waited'][0]}: do that in run()"
    assert found["seconds"] <= found["trio_seconds"], (
        f"{begins} takes {found['seconds'] / found['trio_seconds']:.1f} times as long as to import trio, without the "
        "libraries of both: compute later what it computes then"
    )


def _made(plugin: Plugin, maker: Any, arguments: Mapping[str, Any]) -> Any:
    if is_part(plugin.kind, maker):
        assert not arguments, f"{plugin}: {_name(maker)} is a part itself, and takes no arguments"
        return maker
    threads, files = running_threads(), open_files()
    part = maker(**arguments)
    begins = f"{plugin}: to make {_name(maker)}"
    mend = "do that in open() or run(), because an edge may fork after it is made"
    assert running_threads() <= threads, f"{begins} starts a thread: {mend}"
    opened = [text for number, text in open_files().items() if files.get(number) != text]
    assert not opened, f"{begins} leaves {opened[0]} open: {mend}"
    if isinstance(maker, type):
        assert repr(part).startswith(maker.__name__), (
            f"{plugin}: the repr {quote(part)} must begin with {maker.__name__}, as in {maker.__name__}(since=8), "
            "because trioedge check prints it"
        )
    return part


def _check_refusals(plugin: Plugin, maker: Any, arguments: Mapping[str, Any], key: Key) -> None:
    """Give an argument each value that it must refuse."""
    for value, because in wrong_values(key):
        call = f"{_name(maker)}({key.name}={quote(value)})"
        mend = "raise te.ConfigurationError with one line, as te.check_number and te.check_text do"
        try:
            maker(**{**arguments, key.name: value})
        except ConfigurationError as error:
            if "\n" in str(error):
                raise AssertionError(f"{plugin}: the error of {call} has several lines: write one") from error
        except Exception as fault:
            raise AssertionError(f"{plugin}: {call} raises {quote_fault(fault)}: {mend}") from fault
        else:
            raise AssertionError(f"{plugin}: {call} is accepted, and {because}: {mend}")


def _check_life(plugin: Plugin, part: Any) -> None:
    """Check that a part starts in an edge, and ends soon after a cancel."""
    if (edge := _edge_around(plugin.kind, part)) is not None:
        trio.run(_live, plugin, edge, clock=MockClock(autojump_threshold=THREADS_SECONDS))


def _edge_around(kind: Kind, part: Any) -> Edge | None:
    """Make an edge whose only part of a user's is this one."""
    if kind is Kind.STAGE:
        facts = facts_of(part, name_of(part))
        control = MemoryControl({"default": Policy()}) if facts.needs_control else None
        return Edge(facts.listeners or _ANYWHERE, [naming(facts.requires), part], Nowhere(), control=control)
    if kind is Kind.ENDPOINT:
        watched = WatchedEndpoint(part)
        return Edge(_ANYWHERE, [watched.naming()], watched)
    if kind is Kind.OUTBOUND:
        return Edge(_ANYWHERE, [], Forward("tcp://127.0.0.1:9", outbound=part))
    return None


async def _live(plugin: Plugin, edge: Edge) -> None:
    name = f"{plugin}: the worker of {plugin.name!r}"
    with trio.move_on_after(HOUR) as limit:
        async with edge_for_check(edge):
            limit.deadline = float("inf")
            cancelled = trio.current_time()
    assert not limit.cancelled_caught, f"{name} does not start: call task_status.started() once it is at work"
    seconds = trio.current_time() - cancelled
    assert seconds <= PATIENCE, f"{name} ends {seconds:g} s after a cancel: do not shield what may take so long"


def _check_kind(plugin: Plugin, part: Any, kit: Mapping[str, Any]) -> None:
    """Run the check of a part's kind."""
    match plugin.kind:
        case Kind.STAGE:
            kind = kind_of(part, name_of(part))
            if kind == DECISION:
                check_decision(part, **kit)
            elif kind == HANDSHAKE:
                check_handshake(part, **{"messages": (), **kit})
            else:
                _await(partial(check_middleware, part, **kit))
        case Kind.ENDPOINT:
            _await(partial(check_endpoint, part, **kit))
        case Kind.OUTBOUND:
            _check_outbound(part, kit)
        case Kind.CONTROL:
            trio.run(partial(check_control, part, **kit))
        case Kind.OBSERVER:
            _await(partial(check_observer, part, **kit))


def _await(check: Any) -> None:
    trio.run(check, clock=MockClock(autojump_threshold=0))


def _check_outbound(outbound: Any, kit: Mapping[str, Any]) -> None:
    """Connect to a listener of this process, unless the kit names an address. The kernel accepts for it."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1024)) as listening, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        addresses = {
            key: f"tcp://127.0.0.1:{each.getsockname()[1]}"
            for key, each in (("address", listening), ("refused", closed))
        }
        trio.run(partial(check_outbound, outbound, **(kit if "address" in kit else {**addresses, **kit})))
