"""What the page remembers: bounded in size and age, and never wrong."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lgg.app.cache import Cache


def recall(cache, key, weight=1, made=None):
    made = [] if made is None else made
    return cache.recall(key, lambda: made.append(key) or f"made {key}", lambda _: weight)


def test_makes_a_thing_once_and_forgets_the_least_recently_used_beyond_its_budget():
    cache, made = Cache(budget=10), []
    assert [recall(cache, key, 4, made) for key in "abac"] == ["made a", "made b", "made a", "made c"]
    recall(cache, "a", 4, made)
    recall(cache, "b", 4, made)
    assert made == ["a", "b", "c", "b"]
    for _ in range(2):
        recall(cache, "huge", 100, made)
    assert made[4:] == ["huge"]
    assert len(cache) == 1, "the latest is kept even where it alone is too large"


def test_hands_out_nothing_that_is_too_old_and_forgets_it_by_itself():
    cache, made = Cache(lifetime=0.1), []
    recall(cache, "a", made=made)
    deadline = time.monotonic() + 10
    while cache.get("a") and time.monotonic() < deadline:
        time.sleep(0.02)
    while len(cache) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(cache) == 0
    assert made == ["a"]


def test_remembers_no_failure():
    cache = Cache()

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.recall("a", fail, lambda _: 1)
    assert recall(cache, "a") == "made a"


def test_threads_get_their_own_answers():
    cache = Cache(budget=5)
    with ThreadPoolExecutor(8) as pool:
        keys = [number % 13 for number in range(400)]
        assert list(pool.map(lambda key: recall(cache, key), keys)) == [f"made {key}" for key in keys]
