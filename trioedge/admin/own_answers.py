"""The operations that the API answers itself: snapshots, the control plane's state, the drain, and what it keeps."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs
import trio

from ..control.snapshot_lines import KnownLines, SnapshotReader
from ..endpoints.asgi.messages import Receive
from ..errors import ConfigurationError
from ..loop.slices import in_slices
from ..services.control_plane import SnapshotError
from ..services.snapshot import Plan
from .asking import EdgeAsker, Parameters
from .controlling import Controlled, state_of
from .feed import Feed
from .history import History
from .http.api import BODY_SECONDS, Own
from .http.bodies import BodyParts
from .http.encoding import encoded
from .http.openapi import openapi
from .http.responses import Response, SendChunk, Streamed
from .page.answers import page_answer, page_file_answer
from .refusals import FaultyError, RefusedError
from .topics.listeners import with_listeners
from .topics.readiness import merge_drain


@attrs.define(slots=False)
class OwnAnswers:
    """The API's own answers.

    Attributes:
        asker: asks every process that serves the edge.
        controlled: the edge as a whole.
        history: the last 15 minutes.
        feed: the events.
        needs_token: whether the API asks for a token.
    """

    asker: EdgeAsker
    controlled: Controlled
    history: History
    feed: Feed
    needs_token: bool = False

    def table(self) -> Mapping[str, Own]:
        """Give each by the name of its operation."""
        return {
            "health": self._health,
            "state": self._state,
            "plan": self._plan,
            "apply": self._apply,
            "begin-drain": self._drain,
            "history": self._history,
            "restart": self._restarts,
            "begin-restart": self._restart,
            "events": self._events,
            "openapi": self._openapi,
            "page": page_answer,
            "page-file": page_file_answer,
        }

    async def _health(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return await _json({"status": "ok"})

    async def _state(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return await _json(state_of(with_listeners(self.controlled.state(), await self.asker.ask("listeners", {}))))

    async def _events(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        """Begin a stream of events; the first bytes go at once, so that the client knows."""
        self.feed.check_room()

        async def run(send_chunk: SendChunk) -> None:
            with self.feed.reading() as reader:
                await send_chunk(b": events of trioedge\n\n")
                while chunk := await reader.take():
                    await send_chunk(chunk)

        return Streamed(run, b"text/event-stream")

    async def _history(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return await _json(self.history.answer())

    async def _openapi(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return Response(self._description)

    @cached_property
    def _description(self) -> bytes:
        return json.dumps(openapi(needs_token=self.needs_token)).encode()

    async def _plan(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return await self._snapshot(receive, applies=False)

    async def _apply(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return await self._snapshot(receive, applies=True)

    async def _snapshot(self, receive: Receive, *, applies: bool) -> Response:
        """Read the lines of a snapshot, and plan or apply it."""
        act = self.controlled.apply if applies else self.controlled.plan
        known = KnownLines()
        known.applied = True  # so that lines may say only what changes
        try:
            async with SnapshotReader(known, self.controlled.stage_keys) as reader:
                with trio.move_on_after(BODY_SECONDS) as scope:
                    parts = BodyParts(receive)
                    while (part := await parts.take()) is not None:
                        await in_slices(reader.read(part))
                        scope.deadline = trio.current_time() + BODY_SECONDS
                if scope.cancelled_caught:
                    raise RefusedError(408, f"no line came within {BODY_SECONDS:g} s")
                known.applied = not reader.full
                return await _json(_counts(await act(await in_slices(reader.finish()))))
        except SnapshotError as error:
            raise FaultyError(error.faults) from None
        except ConfigurationError as error:
            raise RefusedError(409, str(error)) from None

    async def _restarts(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        return await _json(attrs.asdict(self.controlled.restarts()))

    async def _restart(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        self.controlled.restart()
        return await _json(attrs.asdict(self.controlled.restarts()))

    async def _drain(self, parameters: Parameters, receive: Receive) -> Response | Streamed:
        """Answer, and drain behind the answer: an edge without sessions ends at once."""
        answers = await self.asker.ask("drain", {})
        said, seconds = merge_drain(answers, parameters), parameters["seconds"]
        if said["deadline_seconds"] is None:
            usual = [each["seconds"] for each in answers.values]  # None is no deadline
            latest = None if None in usual else max(usual, default=None)
            said |= {"phase": "draining", "deadline_seconds": latest if seconds is None else seconds}
        return await _json(said, lambda: self.controlled.drain(seconds))


def _counts(plan: Plan) -> dict[str, Any]:
    counts = {"added": len(plan.added), "changed": len(plan.changed), "removed": len(plan.removed)}
    sessions = {"retuned": plan.retuned, "rechecked": plan.rechecked, "evicted": plan.evicted}
    return {"says": str(plan), **counts, **sessions, "missing": plan.missing}


async def _json(value: Any, behind: Any = None) -> Response:
    return Response(await in_slices(encoded(value)), behind=behind)
