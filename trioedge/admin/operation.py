"""One operation of the admin API: routing, checks, OpenAPI and the reference are made of these."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..loop.slices import Stepwise
from .asking import Answers, EdgeAsker, Parameters
from .local import Local
from .parameters import Parameter, Schema

Here: TypeAlias = Callable[[Local, Parameters], Stepwise[Any]]
"""Answers in one process, in steps, as JSON has it."""

Merge: TypeAlias = Callable[[Answers, Parameters], Any]
"""Makes one answer of those of all processes."""

Collect: TypeAlias = Callable[[EdgeAsker, Parameters], Awaitable[Any]]
"""Asks several questions, and makes one answer."""

Kind: TypeAlias = Literal["json", "text", "page", "file", "events"]

MAX_BODY: Final = 64 << 10
"""Bytes of a body, but for that of a snapshot."""


@attrs.frozen(kw_only=True)
class Operation:
    """An operation. One of `here` with `merge`, `collect` and `own` answers it.

    Attributes:
        name: of it, by which :meth:`EdgeAsker.ask` asks for it.
        method: of HTTP.
        path: with parameters in braces.
        says: its description, one line.
        answer: the schema of the answer.
        kind: the form of the answer.
        parameters: of it.
        body_needs: the parameters of the body of which one must be there.
        lines: whether the body is a snapshot in lines.
        here: answers in one process.
        merge: makes one answer of several.
        collect: asks several questions.
        own: whether the API itself answers, out of the process that it is in.
        open: whether it needs no token.
        not_found: whether it may name something that is not there.
        refused: further statuses of its errors.
    """

    name: str
    method: str
    path: str
    says: str
    answer: Schema
    kind: Kind = "json"
    parameters: Sequence[Parameter] = ()
    body_needs: Sequence[str] = ()
    lines: bool = False
    here: Here | None = None
    merge: Merge | None = None
    collect: Collect | None = None
    own: bool = False
    open: bool = False
    not_found: bool = False
    refused: Sequence[int] = ()

    def of(self, place: str) -> list[Parameter]:
        """Give the parameters that stand in one place."""
        return [each for each in self.parameters if each.place == place]

    @property
    def has_body(self) -> bool:
        """Whether it reads a body."""
        return self.lines or bool(self.of("body"))

    @property
    def statuses(self) -> list[int]:
        """The statuses of its errors."""
        found = {*self.refused, 405, 422, 500}
        found |= set() if self.open else {401, 403}
        found |= {404} if self.not_found else set()
        found |= {503} if self.not_found and not self.own else set()  # a worker that does not answer may have it
        found |= {408, 413} if self.has_body else set()
        found |= {415} if self.has_body and not self.lines else set()
        return sorted(found)
