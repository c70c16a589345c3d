import trio

from trioedge.testing.cancels import cancel_before, without_cancels


async def steps_of_three() -> list[int]:
    done: list[int] = []
    for number in range(3):
        await trio.lowlevel.checkpoint()
        done.append(number)
    return done


async def test_a_scope_is_cancelled_before_each_step_in_turn() -> None:
    reached: list[bool] = []
    for step in range(1, 6):
        with trio.CancelScope() as scope, cancel_before(step, scope) as counter:
            await steps_of_three()
        reached.append(counter.reached)
        assert scope.cancelled_caught is counter.reached
    assert reached == [True, True, True, False, False]


async def test_step_0_is_never_reached() -> None:
    with trio.CancelScope() as scope, cancel_before(0, scope) as counter:
        assert await steps_of_three() == [0, 1, 2]
    assert not counter.reached


async def test_steps_of_every_task_are_counted() -> None:
    with trio.CancelScope() as scope, cancel_before(6, scope) as counter:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(steps_of_three)
            nursery.start_soon(steps_of_three)
    assert counter.reached


async def test_after_the_block_no_step_is_counted() -> None:
    with trio.CancelScope() as scope:
        with cancel_before(3, scope) as counter:
            await trio.lowlevel.checkpoint()
        await steps_of_three()
    assert not counter.reached


async def a_cancel() -> BaseException:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancel:
            return cancel
    raise AssertionError


async def test_a_cancel_is_told_from_another_fault() -> None:
    bug = LookupError("bug")
    assert without_cancels(await a_cancel()) is None
    assert without_cancels(bug) is bug


async def test_a_group_loses_its_cancels() -> None:
    cancel, bug = await a_cancel(), LookupError("bug")
    assert without_cancels(BaseExceptionGroup("", [cancel])) is None
    rest = without_cancels(BaseExceptionGroup("", [cancel, bug]))
    assert isinstance(rest, ExceptionGroup)
    assert rest.exceptions == (bug,)
