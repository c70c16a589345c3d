"""The life of one worker process, as the control process sees it over all its connections."""

import attrs
import trio

from .messages.channel import Channel
from .messages.greeting import Hello


@attrs.define(eq=False)
class Life:
    """A worker process; another process with the same column is another life.

    Attributes:
        hello: who it is.
        channel: to it; None while it is not connected.
        scope: of its connection.
    """

    hello: Hello
    channel: Channel | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def number(self) -> int:
        """Its number, from 0."""
        return self.hello.number
