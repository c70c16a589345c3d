"""Verdicts on a device: the answer to a check, and a judgement that was not asked for.

| a check is | event | the verdict | then |
| --- | --- | --- | --- |
| not in flight | an answer, or a judgement | is stored | not in flight |
| in flight | its answer | is stored | not in flight |
| in flight | a judgement | is stored | overruled |
| overruled | a judgement | is stored | overruled |
| overruled | its answer | is dropped, because it is the older one | not in flight |
| overruled | it is asked only now, or asked again | - | in flight |
"""

from math import inf
from typing import Final

from .answers import DENIED, DeviceChange, DeviceEntry
from .expiry import conclude
from .memory import DeviceMemory
from .records import DeviceRecord

MIN_SECONDS: Final = 1.0
"""The minimum time for which a verdict is fresh, so that a checker that answers 0 is not asked without pause."""


def answer(
    memory: DeviceMemory, device: DeviceRecord, now: float, accept: bool, seconds: float, detail: str
) -> DeviceChange:
    """Store the answer to a check of a remembered device, and apply it to the sessions of the device."""
    waited = device.waits
    overruled = device.overruled
    if device.asked_at is None:  # an answer without a question is as good as a new one
        device.asked_after = device.owner.rechecks
    device.asked_at, device.overruled = None, False
    if not overruled:
        device.set_verdict(_refusal(accept, detail), now + max(seconds, MIN_SECONDS))
    check = waited and device.fresh_until <= now and memory.begin_check(device, now)
    return conclude(memory, device, now, check)


def wanted(memory: DeviceMemory, device: DeviceRecord) -> bool:
    """Return whether a check that is about to begin is still to be made.

    A device that was never checked, and whose sessions have all gone, is forgotten: a client that changes its address
    for each session must not have the checker asked about each.
    """
    if device.unasked:
        memory.forget(device)
        return False
    device.overruled = False
    return True


def unanswered(memory: DeviceMemory, device: DeviceRecord) -> bool:
    """End a check that has failed; or return True to ask again, because a session or a grace waits for the answer."""
    if device.waits:
        device.asked_after, device.overruled = device.owner.rechecks, False
        return True
    memory.end_check(device)
    return False


def judge(
    memory: DeviceMemory, device: DeviceRecord, now: float, accept: bool, seconds: float, detail: str,
    *, provisional: bool = False,
) -> DeviceChange:  # fmt: skip
    """Store a judgement on a remembered device in place of every earlier verdict, and apply it."""
    device.overruled = device.asked_at is not None
    device.asked_after = device.owner.rechecks
    forever = accept and not memory.checked  # as every device without a checker
    until = inf if forever else now + max(seconds, MIN_SECONDS)
    device.set_verdict(_refusal(accept, detail), until, provisional=provisional)
    return conclude(memory, device, now, check=False)


def _refusal(accept: bool, detail: str) -> DeviceEntry | None:
    return None if accept else DeviceEntry(DENIED, detail=detail)
