import trio
import trio.testing

from trioedge.loop.wakeup import Wakeup


async def test_set_twice_before_the_look_is_one_wake_up_and_set_after_it_another(nursery: trio.Nursery) -> None:
    wakeup, looks = Wakeup(), 0

    async def work() -> None:
        nonlocal looks
        while True:
            await wakeup.wait()
            looks += 1

    nursery.start_soon(work)
    for expected in (1, 2):
        wakeup.set()
        wakeup.set()
        await trio.testing.wait_all_tasks_blocked()
        assert looks == expected
    nursery.cancel_scope.cancel()


async def test_a_cancelled_wait_does_not_take_the_level_down() -> None:
    wakeup = Wakeup()
    wakeup.set()
    with trio.CancelScope() as scope:
        scope.cancel()
        await wakeup.wait()
    assert scope.cancelled_caught
    with trio.fail_after(1):
        await wakeup.wait()
