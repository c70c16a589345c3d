"""What a stage is bound to, as far as stages look: services, and a control plane that names them or none."""

from typing import Any, cast

from trioedge.addresses.rules import SourceRules
from trioedge.services.context import EdgeContext
from trioedge.services.policy import Policy, Settings
from trioedge.services.registry import Registry
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.telemetry.observer import Observer


class Governed:
    """Services whose policies a test changes."""

    def __init__(self, *, governed: bool = True) -> None:
        self.services = Services(Total(), Total(), governed=governed)
        self.registry = Registry(self.services)
        nobody = cast(Any, None)
        self.context = EdgeContext(nobody, nobody, Observer(), nobody, self.services, self.registry)

    def put(self, name: str = "shop", **said: Any) -> Service:
        """Let a service have this policy."""
        before, policy = self.services.find(name), Policy(**said)
        rules = SourceRules(policy.accept, policy.reject) if policy.accept or policy.reject else None
        fields = () if before is None else tuple(said) or ("max_sessions",)
        change = Change(name, None if before is None else before.settings, Settings(policy), fields)
        service = self.services.apply(change, rules)
        for _ in self.services.tell(service, change):
            pass
        return service

    def remove(self, name: str = "shop") -> None:
        """Let it be no more."""
        service = self.services.find(name)
        assert service is not None
        change = Change(name, service.settings, None)
        for _ in self.services.tell(self.services.apply(change, None), change):
            pass
