"""What the tests of several modules draw their examples from."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from trioedge.addresses.address import normalise_source
from trioedge.session.session import Session


def examples(count: int, *, steps: int = 50) -> settings:
    """So many examples, however slow the machine is today."""
    return settings(max_examples=count, stateful_step_count=steps, deadline=None)


def make_session(**changes: Any) -> Session:
    """A session of 192.0.2.1 at 0 seconds, but for the fields that are named; `source` gives `source_bytes` too."""
    source, source_bytes = normalise_source(changes.pop("source", "192.0.2.1"))
    fields: dict[str, Any] = {
        "id": 1,
        "listener": "tcp://127.0.0.1:6380",
        "source": source,
        "source_bytes": source_bytes,
        "source_port": 50_000,
        "started_at": 0.0,
    }
    return Session(**(fields | changes))


keys = st.sampled_from("abc")
"""So few keys that they meet again."""

ip_texts = st.ip_addresses().map(str)
"""Addresses of both families as text."""
