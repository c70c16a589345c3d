"""The functions of an edge that its stages call through their context: relay, resolve, verify."""

from collections.abc import Sequence
from typing import Final

import trio

from ..addresses.address import Address, normalise_source, parse_address
from ..addresses.source_prefix import SourcePrefix
from ..loop.reactor import Reactor
from ..relay.carry import carry
from ..services.context import SocketAddress, Upstream
from ..services.listening.listeners import Listeners
from ..services.passwords import Passwords
from ..services.services import Services
from ..session.session import Session
from ..session.verdict import Completed, Outcome
from ..telemetry.log import EdgeLog
from ..upstreams.connector import Connecting, Target, introduction_of
from ..upstreams.errors import UpstreamError
from ..upstreams.outbound import as_stream, resolved, with_scopes
from ..upstreams.own_listeners import refusal_of
from ..upstreams.resolver import Resolver

CONNECT_SECONDS: Final = 5.0
"""The limit of a connect of ``context.relay``."""


class StageCalls:
    """What the stages of one run may call.

    Attributes:
        way_out: connects for :meth:`relay`; set once it is open.
        listeners: see :attr:`EdgeContext.listeners`.
    """

    way_out: Connecting

    def __init__(
        self, log: EdgeLog, reactor: Reactor, resolver: Resolver, services: Services, listeners: Listeners,
        draining: trio.Event, source_prefix: SourcePrefix = SourcePrefix(),  # noqa: B008 - frozen
    ) -> None:  # fmt: skip
        self._log = log
        self._reactor = reactor
        self._resolver = resolver
        self._services = services
        self.listeners = listeners
        self._draining = draining
        self._source_prefix = source_prefix
        self._passwords = Passwords(lambda: log.notice("password not checked: too many wait"))

    async def wait_draining(self) -> None:
        """See :meth:`EdgeContext.wait_draining`."""
        await self._draining.wait()

    async def relay(self, session: Session, upstream: Upstream) -> Outcome:
        """See :meth:`EdgeContext.relay`."""
        try:
            if isinstance(upstream, str):
                upstream = parse_address(upstream)
            if isinstance(upstream, Address):
                if (refusal := refusal_of(upstream, self.listeners)) is not None:
                    return Completed(refusal.reason, refusal.detail)
                session.lead_to(upstream)
                target = Target(upstream, CONNECT_SECONDS, asker=session.service.name, meter=self._log.meters.connects)
                up = await self.way_out.open_stream(target)
                if (introduction := introduction_of(self.way_out)) is not None:
                    await introduction.send(session, up)
            else:
                up = as_stream(upstream, "context.relay() got")
        except UpstreamError as error:
            self._log.notice(
                "upstream failed", reason=str(error.reason), error=error.detail,
                service=session.service.name, upstream=str(upstream),
            )  # fmt: skip
            return Completed(error.reason, error.detail)
        return await carry(session, up, self._reactor)

    async def resolve(self, address: Address) -> Sequence[SocketAddress]:
        """See :meth:`EdgeContext.resolve`."""
        self._reactor.refresh()
        answer = with_scopes(await resolved(self._resolver, address), address)
        if isinstance(answer, UpstreamError):
            raise answer
        return answer

    async def verify(self, service: str, password: str, source: Session | str | None = None) -> bool:
        """See :meth:`Edge.verify`."""
        before = self._password_hash(service)
        right = await self._passwords.verify(password, before, service, self._key_of(source))
        return right and self._password_hash(service) == before  # a snapshot may have changed it meanwhile

    def recall(self, service: str, password: str) -> bool | None:
        """See :meth:`EdgeContext.recall`."""
        return self._passwords.recall(password, self._password_hash(service), service)

    def _key_of(self, source: Session | str | None) -> bytes:
        if isinstance(source, Session):
            return source.source_key
        return b"" if source is None else self._source_prefix.key(normalise_source(source)[1])

    def _password_hash(self, name: str) -> str | None:
        service = self._services.get(name)
        if service is None or not service.policy.enabled:
            return None
        return service.settings.credentials.password_hash  # also of one that is over: its refusal says why
