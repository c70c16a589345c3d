"""Serve several protocols on one port: the client's first bytes choose the stages."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ...arguments import Fixed, check_number, is_async
from ...errors import ConfigurationError, quote
from ...session.handshake import MAX_BYTES, SECONDS, Handshake, Peek, Steps
from ...session.kinds import HANDSHAKE, close_parts
from ...session.session import Session
from ...session.stage import Decision, Recipe
from ...session.verdict import Reason, Reject
from .branch import Branch, LiveBranch, read_branch

if TYPE_CHECKING:
    from ...services.context import EdgeContext

Matches: TypeAlias = Callable[[bytes], bool | None]
"""Tells of a client's first bytes, one at least, whether they are of a protocol; None if that takes more of them."""

Stage: TypeAlias = Decision | Handshake | Recipe
Stages: TypeAlias = str | Stage | Sequence[Stage]
"""The stages of one protocol, or where it leads."""

_UNKNOWN: Final = Reject(Reason.PROTOCOL, "its first bytes are of no protocol of this port")
_METHOD: Final = re.compile(rb"[A-Z][A-Z-]{0,19}")


class Detect(Fixed):
    """One port, several protocols: the first bytes of a client choose the stages that its session has.

    The protocols are asked in their order; the first one that knows the bytes has the session, and reads them itself.
    A client that is silent for `seconds`, because its server speaks first, and one whose bytes no protocol knows, goes
    to `default`. Without a `default` it is refused, with reason ``handshake`` or ``protocol``. Costs some 4 µs over the
    stages that it chooses.
    """

    kind = HANDSHAKE

    def __init__(
        self,
        protocols: Mapping[Literal["tls", "socks", "http"] | bytes | Matches, Stages],
        *,
        default: Stages | None = None,
        seconds: float = 0.5,
    ) -> None:
        """Read the protocols and their stages.

        Args:
            protocols: by ``tls``, ``socks`` (4, 4a and 5) or ``http``; by the first bytes of another protocol, such as
                ``b"SSH-"``; or by a plain function of the first bytes that returns True, False, or None if it needs
                more of them. Each has a handshake, a decision, or a list of them, which may be empty; or a text: a
                destination if it has ``://``, and the name of a service else.
            default: the same for all other clients; None refuses them.
            seconds: how long a silent client is waited for, above 0; only with a `default`.

        Raises:
            ConfigurationError: names the protocol, or the stage, and the mend.
        """
        check_number("Detect", "seconds", seconds, above=0)
        if not isinstance(protocols, Mapping) or not protocols:
            raise ConfigurationError(
                f"Detect({quote(protocols)}) must have stages by protocol, as in {{'tls': te.SniRoute(…)}}"
            )
        self._branches: list[tuple[Matches, Branch]] = []
        for protocol, stages in protocols.items():
            matches = _matches(protocol)
            self._branches.append((matches, read_branch(stages, f"Detect[{_text(protocol)}]")))
        self._default = None if default is None else read_branch(default, "Detect[default]")
        self._silence = seconds
        self._text = ", ".join(map(_text, protocols)) + (", default" if default is not None else "")
        branches = [branch for _, branch in self._branches] + ([self._default] if self._default else [])
        facts = [each for branch in branches for each in branch.facts]
        self.provides = tuple(sorted({fact for branch in branches for fact in branch.provides}))
        self.requires = tuple(sorted({fact for branch in branches for fact in branch.requires}))
        self.inner_once = tuple(sorted(set().union(*(branch.once for branch in branches))))
        self.enforces = tuple(sorted({field for each in facts for field in each.enforces}))
        self.listeners = tuple(sorted({address for each in facts for address in each.listeners}))
        self.descriptors = sum(each.descriptors for each in facts)
        self.source_bits = min((each.source_bits for each in facts if each.source_bits is not None), default=None)
        self.needs_control = any(each.needs_control for each in facts)
        self.needs_destination = any(each.needs_destination for each in facts)
        self.needs_relay = any(each.needs_relay for each in facts)
        self.proceeds = any(each.proceeds for each in facts)
        self.seconds = seconds + max(SECONDS, *map(_seconds, branches))
        self.max_bytes = max(MAX_BYTES, *map(_max_bytes, branches))

    def __repr__(self) -> str:
        return f"Detect({self._text})"

    def open(self, context: "EdgeContext") -> "LiveDetect":
        """Make the handshake of one run of an edge, with the live stages of every protocol."""
        opened: list[object] = []
        try:
            branches = [(matches, branch.open(context, opened)) for matches, branch in self._branches]
            default = None if self._default is None else self._default.open(context, opened)
        except BaseException:
            close_parts(opened, context.log)
            raise
        return LiveDetect(branches, default, self._silence, tuple(opened))


class LiveDetect:
    """The handshake of one run of an edge.

    Attributes:
        inner_stages: the live stages of all protocols.
    """

    def __init__(
        self, branches: Sequence[tuple[Matches, LiveBranch]], default: LiveBranch | None, silence: float,
        inner_stages: tuple[object, ...],
    ) -> None:  # fmt: skip
        self._branches = tuple(branches)
        self._default = default
        self._silence = silence
        self.inner_stages = inner_stages

    def converse(self, session: Session) -> Steps:
        """Look at the first bytes, then have the stages of their protocol converse."""
        ends_at = session.now + self._silence
        count, undecided = 1, True
        branch = self._default
        while undecided:
            seconds = None if self._default is None else max(ends_at - session.now, 0.0)
            held = yield Peek(count, seconds)
            if len(held) < count:  # silent, or at its end
                break
            branch, undecided = self._branch_of(held)
            count = len(held) + 1
        if branch is None:
            return _UNKNOWN
        return (yield from branch.converse(session))

    def _branch_of(self, held: bytes) -> tuple[LiveBranch | None, bool]:
        """Give the branch that the first bytes choose, and whether that takes more of them."""
        for matches, branch in self._branches:
            found = matches(held)
            if found is None:
                return self._default, True
            if found:
                return branch, False
        return self._default, False


def _is_tls(held: bytes) -> bool | None:
    """Tell whether a record of a handshake begins (RFC 8446 section 5.1)."""
    return _begins(held, b"\x16\x03")


def _is_socks(held: bytes) -> bool | None:
    """Tell whether the first byte is a version of SOCKS: 4, or 5 (RFC 1928 section 3)."""
    return held[0] in (4, 5)


def _is_http(held: bytes) -> bool | None:
    """Tell whether a method begins, of capital letters, and a blank follows (RFC 9112 section 3)."""
    method = _METHOD.match(held)
    if method is None:
        return False
    end = method.end()
    return held[end : end + 1] == b" " if end < len(held) else None


def _begins(held: bytes, prefix: bytes) -> bool | None:
    return True if held.startswith(prefix) else None if prefix.startswith(held) else False


_KNOWN: Final[dict[str, Matches]] = {"tls": _is_tls, "socks": _is_socks, "http": _is_http}


def _matches(protocol: Any) -> Matches:
    """Give the function that knows a protocol."""
    if isinstance(protocol, bytes) and protocol:
        return lambda held: _begins(held, protocol)
    if callable(protocol) and not is_async(protocol) and not isinstance(protocol, type):
        return protocol  # type: ignore[no-any-return]  # of a user, who writes what is called
    if isinstance(protocol, str) and protocol in _KNOWN:
        return _KNOWN[protocol]
    meant = get_close_matches(str(protocol).lower(), _KNOWN, 1) if isinstance(protocol, str) else []
    raise ConfigurationError(
        f"Detect[{_text(protocol)}] is no protocol"
        + (f" (did you mean {meant[0]!r}?)" if meant else "")
        + f": write one of {', '.join(map(repr, _KNOWN))}, its first bytes, as in b'SSH-', or a plain function of them"
    )


def _text(protocol: object) -> str:
    return getattr(protocol, "__name__", None) or quote(protocol)


def _seconds(branch: Branch) -> float:
    return sum(facts.seconds for kind, facts in zip(branch.kinds, branch.facts, strict=True) if kind == HANDSHAKE)


def _max_bytes(branch: Branch) -> int:
    return sum(facts.max_bytes for kind, facts in zip(branch.kinds, branch.facts, strict=True) if kind == HANDSHAKE)
