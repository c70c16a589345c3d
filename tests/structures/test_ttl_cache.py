from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.strategies import examples
from trioedge.structures.ttl_cache import TtlCache

CAPACITY, TTL = 3, 4.0

keys = st.sampled_from("abcde")


class TtlCacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cache: TtlCache[str, int] = TtlCache(CAPACITY)
        self.puts: list[tuple[str, int, float]] = []  # newest last, one of a key
        self.now = 0.0

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=keys, value=st.integers(0, 9))
    def put(self, key: str, value: int) -> None:
        self.cache.put(key, value, self.now + TTL)
        held = [each for each in self.puts if each[0] != key][-(CAPACITY - 1) :]
        dropped = [each for each in self.puts if each[0] != key][: -(CAPACITY - 1)]
        if any(until > self.now for _, _, until in dropped):
            assert all(until > self.now for _, _, until in held), "what is stale goes first"
        self.puts = [*held, (key, value, self.now + TTL)]

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        held = {key: (value, until) for key, value, until in self.puts}
        assert len(self.cache) == len(held) <= CAPACITY
        for key in "abcde":
            assert self.cache.look(key) == held.get(key)
            fresh = key in held and self.now < held[key][1]
            assert self.cache.get(key, self.now) == (held[key][0] if fresh else None)


TestTtlCache = TtlCacheMachine.TestCase
TestTtlCache.settings = examples(30, steps=25)


def test_a_value_is_stale_from_the_very_moment_named() -> None:
    cache: TtlCache[str, bool] = TtlCache(1)
    cache.put("no", False, 10.0)
    assert cache.get("no", 9.999) is False
    assert cache.get("no", 10.0) is None
    assert cache.look("no") == (False, 10.0)


def test_looking_keeps_nothing_alive() -> None:
    """Only what is put again is known to be wanted and true: a value that is asked for all the time can still go."""
    cache: TtlCache[int, str] = TtlCache(2)
    cache.put(1, "oldest", 10.0)
    cache.put(2, "older", 10.0)
    cache.get(1, 0.0)
    cache.look(1)
    cache.put(3, "new", 10.0)
    assert [cache.look(key) is None for key in (1, 2, 3)] == [True, False, False]


def test_a_flood_of_keys_takes_no_more_than_the_capacity() -> None:
    cache: TtlCache[int, int] = TtlCache(100)
    for key in range(1000):
        cache.put(key, key, 10.0)
        assert len(cache) == min(key + 1, 100)
    assert [key for key in range(1000) if cache.look(key)] == list(range(900, 1000))
