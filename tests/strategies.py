"""Examples that the tests of several modules draw from."""

from hypothesis import settings
from hypothesis import strategies as st


def examples(count: int, *, steps: int = 50) -> settings:
    """So many examples, without a deadline, because the machine may be slow."""
    return settings(max_examples=count, stateful_step_count=steps, deadline=None)


keys = st.sampled_from("abc")
"""So few keys that they repeat."""

ip_texts = st.ip_addresses().map(str)
"""Addresses of both families as text."""
