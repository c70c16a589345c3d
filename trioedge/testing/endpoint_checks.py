"""Check that an endpoint keeps the promises that the edge relies on; to call from a test."""

from contextlib import suppress
from typing import Final

import trio
import trio.testing

from ..edge import Edge, admit
from ..services.context import EdgeContext
from ..session.kinds import check_endpoint as refuse_others
from ..session.kinds import endpoint_handler, facts_of, live_endpoint, name_of
from ..session.session import Session
from ..session.stage import Closing, Facts, FunctionDecision, Worker
from ..session.verdict import CONTINUE, Completed, Outcome, Reason, Reject, Verdict
from .cancels import MAX_STEPS, cancel_before, without_cancels
from .checks import HOUR
from .leaks import Baseline, leaving_nothing
from .rehearsal import Client, Rehearsal, open_edge
from .upstream import Script, ScriptedUpstream, echo, memory_pair

DESTINATION: Final = "tcp://192.0.2.9:80"
"""The destination of the sessions, for an endpoint that goes where a stage says."""


async def check_endpoint(
    endpoint: object, *, client_says: bytes = b"", upstream: ScriptedUpstream | Script = echo
) -> None:
    """Check an endpoint in a trio test, behind a whole edge in memory; a fake clock (`autojump_clock`) is needed.

    It returns an outcome, ends within an hour of its client, passes on a fault and a cancel, whenever the cancel
    comes, and leaves no task and nothing open.

    Args:
        endpoint: an object with ``async handle(session)``, an async function of a session, or a recipe of one.
        client_says: what the client sends before it says no more.
        upstream: what its connections reach, for an endpoint that relays or connects with ``context.outbound``.

    Raises:
        AssertionError: says what the endpoint did.
        ConfigurationError: it is no endpoint.
    """
    refuse_others(endpoint)
    watched = WatchedEndpoint(endpoint)
    edge = Edge("tcp://127.0.0.1:0", [watched.naming()], watched)
    async with leaving_nothing(watched.name):
        failed: AssertionError | None = None
        async with open_edge(edge, upstream) as world:
            try:
                await _EndpointCheck(world, watched, client_says).run()
            except AssertionError as error:  # raised below as it is, because a nursery would put it into a group
                failed = error
        if failed is not None:
            raise failed


class WatchedEndpoint:
    """A recipe of the endpoint under test, which notes how the last session left it.

    Attributes:
        name: of the endpoint.
        scope: of the session that is in it, or was the last.
        cancel_step: before which step the next session is cancelled; 0 for none.
        cancelled: whether it came to that step.
        fault: what it raised, but for the cancel.
        returned: what it returned.
    """

    def __init__(self, endpoint: object) -> None:
        self.name = name_of(endpoint)
        self._endpoint = endpoint
        self._facts: Facts = facts_of(endpoint, self.name)
        self.relays = self._facts.relays
        self.requires = self._facts.requires
        self.scope = trio.CancelScope()
        self.cancel_step = 0
        self.cancelled = False
        self.fault: BaseException | None = None
        self.returned: object = None
        self._live: object = None

    def naming(self) -> FunctionDecision:
        """Make the stage that names what the endpoint requires."""

        def name_all(session: Session) -> Verdict:
            session.destination = DESTINATION
            return CONTINUE

        return FunctionDecision(name_all, provides=(*self.requires, "destination"))

    def open(self, context: EdgeContext) -> "WatchedEndpoint":
        """Open the endpoint, and give itself in its place."""
        self._live = live_endpoint(self._endpoint, context)
        return self

    async def handle(self, session: Session) -> Outcome:
        """Have the endpoint carry a session."""
        self.fault = self.returned = None
        handle = endpoint_handler(self._live)
        with trio.CancelScope() as self.scope, cancel_before(self.cancel_step, self.scope) as counter:
            try:
                self.returned = await handle(session)
            except BaseException as fault:
                self.fault = without_cancels(fault)
                raise
            finally:
                self.cancelled = counter.reached
        return self.returned if isinstance(self.returned, (Completed, Reject)) else Completed(Reason.FAULT)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the endpoint's worker, if it has one."""
        if isinstance(self._live, Worker):
            await self._live.run(task_status=task_status)
        else:
            task_status.started()

    def close(self) -> None:
        """Close the endpoint, if it is to be closed."""
        if isinstance(self._live, Closing):
            self._live.close()


class _EndpointCheck:
    def __init__(self, world: Rehearsal, endpoint: WatchedEndpoint, client_says: bytes) -> None:
        self._world = world
        self._endpoint = endpoint
        self._name = endpoint.name
        self._client_says = client_says

    async def run(self) -> None:
        await self.answers()
        baseline = Baseline()  # what it makes at its first session may stay
        await self.answers()
        await self.ends_with_a_broken_client(trio.BrokenResourceError("reset by the check"))
        await self.ends_with_a_broken_client(_ClientFaultError("raised by the check"))
        await self.passes_on_a_cancel()
        await baseline.assert_nothing_left(self._name)
        for step in range(1, MAX_STEPS):
            if not await self.is_cancelled_before(step):
                break
        await baseline.assert_nothing_left(self._name)

    async def answers(self) -> None:
        """A client speaks, finishes, reads to the end and hangs up."""
        await self._converse()
        fault = self._endpoint.fault
        if fault is None:
            self._check_outcome()
        elif not isinstance(fault, trio.BrokenResourceError):  # that is no fault once the client has hung up
            raise AssertionError(f"{self._name} raised {fault!r}") from fault

    async def ends_with_a_broken_client(self, error: Exception) -> None:
        """The client's stream raises an error at the first read behind what the client says, and at every write."""
        ours, theirs = memory_pair(lockstep=False)
        await ours.send_all(self._client_says)
        stream = _FailingStream(theirs, len(self._client_says), error)
        await self._ended(Client(admit(self._world.edge, stream, "192.0.2.1"), ours))
        if self._endpoint.fault is None:
            self._check_outcome()

    async def passes_on_a_cancel(self) -> None:
        """The session is cancelled while it waits for its client."""
        client = await self._world.connect()
        await client.send(self._client_says)
        await trio.testing.wait_all_tasks_blocked()
        waits = client.outcome is None
        self._endpoint.scope.cancel()
        await self._ended(client)
        self._check_no_other_fault()
        assert not waits or self._endpoint.scope.cancelled_caught, f"{self._name} swallowed the cancel of its session"
        await client.close()

    async def is_cancelled_before(self, step: int) -> bool:
        """Cancel a session before a step; False when it was done before that."""
        endpoint = self._endpoint
        endpoint.cancel_step = step
        await self._converse()
        endpoint.cancel_step = 0
        if endpoint.cancelled:
            self._check_no_other_fault()
        return endpoint.cancelled

    async def _converse(self) -> None:
        client = await self._world.connect()
        with suppress(trio.BrokenResourceError), trio.move_on_after(HOUR):
            await client.send(self._client_says)
            await client.finish()
            await client.receive_all()
        await client.close()
        await self._ended(client)

    async def _ended(self, client: Client) -> None:
        with trio.move_on_after(HOUR) as limit:
            await client.ended()
        if limit.cancelled_caught:
            client.session.cut(Reason.EVICTED)
        assert not limit.cancelled_caught, f"{self._name} went on for an hour after its client had gone"

    def _check_no_other_fault(self) -> None:
        fault = self._endpoint.fault
        if fault is not None:
            raise AssertionError(f"{self._name} made {fault!r} of a cancel") from fault

    def _check_outcome(self) -> None:
        returned = self._endpoint.returned
        assert isinstance(returned, (Completed, Reject)), (
            f"{self._name} returned {returned!r}: return Completed(), Completed(reason) or Reject(reason)"
        )


class _ClientFaultError(Exception):
    """An error that no stream raises."""


class _FailingStream(trio.abc.HalfCloseableStream):
    """A client's stream that gives `count` bytes and then fails."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, count: int, error: Exception) -> None:
        self._stream = stream
        self._left = count
        self._error = error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._left:
            await trio.lowlevel.checkpoint()
            raise self._error
        data = bytes(await self._stream.receive_some(max_bytes))
        self._left -= len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002 - a stream's shape
        await trio.lowlevel.checkpoint()
        raise self._error

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        raise self._error

    async def aclose(self) -> None:
        await self._stream.aclose()
