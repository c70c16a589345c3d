from types import SimpleNamespace
from typing import Any, cast

from tests.support.shared_memory import make_limits
from trioedge.services.registry import Registry
from trioedge.services.sharing.crowd import Crowd
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog


class Worker:
    """The sessions of one worker, as numbers."""

    def __init__(self, maximum: int, tell_live: Any = None) -> None:
        self.live, self.waiting = SimpleNamespace(count=0), dict[int, None]()
        self.crowd = Crowd(cast(Registry, self.live), self.waiting, EdgeLog(), maximum, tell_live)
        self.come = self.crowd.telling(lambda: setattr(self.live, "count", self.live.count + 1))
        self.go = self.crowd.telling(lambda: setattr(self.live, "count", self.live.count - 1))

    def admit(self) -> bool:
        if (refusal := self.crowd.refusal(more=1)) is not None:
            assert refusal.reason is Reason.OVERLOAD
            return False
        self.come()
        return True


async def test_a_process_alone_admits_as_many_as_its_maximum() -> None:
    worker = Worker(2)
    assert [worker.admit() for _ in range(3)] == [True, True, False]
    worker.go()
    assert worker.admit()


async def test_workers_together_admit_as_many_as_the_maximum() -> None:
    limits = make_limits()
    workers = [Worker(3, limits.of("web", column, 0.0).tell_live) for column in (0, 1)]
    assert [workers[number].admit() for number in (0, 1, 0, 1, 0)] == [True, True, True, False, False]
    workers[0].go()
    assert [workers[number].admit() for number in (1, 0)] == [True, False]
    limits.release(1)
    assert [workers[0].admit() for _ in range(3)] == [True, True, False]


async def test_a_client_in_its_handshake_is_not_counted_and_one_that_is_through_may_be_one_too_many() -> None:
    worker = Worker(1)
    worker.waiting[1] = worker.waiting[2] = None
    worker.come()
    worker.come()
    assert worker.crowd.refusal(more=0) is None
    del worker.waiting[1]
    assert worker.crowd.refusal(more=0) is None
    del worker.waiting[2]
    assert worker.crowd.refusal(more=0) is not None
