"""What INFO says about lookups, the allocator and the append-only file."""

import math

import pytest

from upkeep.actions.redis.hitratio import Lookups
from upkeep.actions.redis.purge import Allocator
from upkeep.actions.redis.rewriteaof import growth_percent
from upkeep.actions.redis.session import cluster_addresses
from upkeep.actions.text import readable


def test_no_lookups_have_no_ratio() -> None:
    assert Lookups(hits=0, misses=0, evicted=0).percent == 0.0


@pytest.mark.parametrize(("allocator", "purges"), [("jemalloc-5.3.0", True), ("libc", False), ("tcmalloc-2.9", False)])
def test_only_jemalloc_purges(allocator: str, purges: bool) -> None:  # noqa: FBT001 - a table of cases
    assert Allocator.of({"mem_allocator": allocator}).purges is purges


def test_what_is_held_without_use_is_idle() -> None:
    assert Allocator.of({"used_memory_rss": 100, "allocator_active": 60}).idle == 40
    assert Allocator.of({"used_memory_rss": 100}).idle == 0


def test_growth_counts_from_the_last_rewrite() -> None:
    assert growth_percent({"aof_base_size": 100, "aof_current_size": 150}) == 50
    assert growth_percent({"aof_base_size": 0, "aof_current_size": 10}) == math.inf


def test_the_nodes_of_a_cluster_are_read_from_any_version() -> None:
    answer = """\
07c3 10.0.0.7:6379@16379,cache-2.cache,shard-id=1 myself,master - 0 0 1 connected 0-5460
67ed fd00::8:6380@16380 master - 0 0 2 connected 5461-10922
292f 10.0.0.9:6379 slave 67ed 0 0 3 connected
aaaa 10.0.0.6:6379@16379 master,fail - 0 0 3 disconnected
bbbb :0@0 master,noaddr - 0 0 3 disconnected
cccc :6379@16379 myself,master - 0 0 3 connected

"""
    assert cluster_addresses(answer) == [("", 6379), ("10.0.0.9", 6379), ("cache-2.cache", 6379), ("fd00::8", 6380)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cart:größe", "cart:größe"),
        (b"\xff\xfe".decode(errors="surrogateescape"), "\\xff\\xfe"),
        ("a\r\nb\x1b[31m", "a\\r\\nb\\x1b[31m"),
        ("\u202egnp", "\\u202egnp"),
    ],
)
def test_any_text_can_be_shown(text: str, shown: str) -> None:
    assert readable(text) == shown
