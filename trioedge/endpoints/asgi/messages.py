"""The types of the ASGI specification."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]
"""A message, or a scope, of the ASGI specification."""

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
"""An ASGI 3 application."""
