"""What INFO says about memory."""

from upkeep.actions.redis.memory import Memory

_INFO = {
    "used_memory": 900,
    "used_memory_peak": 1200,
    "maxmemory": 1000,
    "maxmemory_policy": "allkeys-lru",
    "mem_fragmentation_ratio": 1.25,
    "mem_not_counted_for_evict": 100,
    "evicted_keys": 7,
}


def test_buffers_that_redis_does_not_count_are_not_counted() -> None:
    memory = Memory.of(_INFO)
    assert (memory.used, memory.countable, memory.percent) == (900, 800, 80.0)


def test_no_limit_has_no_percentage() -> None:
    assert Memory.of({**_INFO, "maxmemory": 0}).percent == 0.0


def test_servers_that_say_less_are_understood() -> None:
    memory = Memory.of({"used_memory": 1, "used_memory_peak": 2})
    assert (memory.limit, memory.policy, memory.evicted) == (0, "noeviction", 0)
