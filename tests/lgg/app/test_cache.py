"""What the page remembers: bounded in size and age, and never wrong."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lgg.app.cache import Cache


def recall(memory, key, weight=1, made=None):
    made = [] if made is None else made
    return memory.recall(key, lambda: made.append(key) or f"made {key}", lambda _: weight)


def test_makes_a_thing_once():
    memory, made = Cache(), []
    assert [recall(memory, "a", made=made) for _ in range(3)] == ["made a"] * 3
    assert made == ["a"]


def test_forgets_the_least_recently_used_beyond_its_budget():
    memory, made = Cache(budget=10), []
    for key in ("a", "b", "a", "c"):
        recall(memory, key, 4, made)
    recall(memory, "a", 4, made)
    recall(memory, "b", 4, made)
    assert made == ["a", "b", "c", "b"]


def test_keeps_the_latest_even_where_it_alone_is_too_large():
    memory, made = Cache(budget=10), []
    recall(memory, "small", 4, made)
    for _ in range(2):
        recall(memory, "huge", 100, made)
    assert made == ["small", "huge"]
    assert len(memory) == 1


def test_forgets_by_itself_in_time():
    memory = Cache(lifetime=0.1)
    recall(memory, "a")
    deadline = time.monotonic() + 10
    while len(memory) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(memory) == 0


def test_does_not_hand_out_what_is_too_old():
    memory, made = Cache(lifetime=0.05), []
    recall(memory, "a", made=made)
    time.sleep(0.06)
    recall(memory, "a", made=made)
    assert made == ["a", "a"]


def test_remembers_no_failure():
    memory = Cache()

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        memory.recall("a", fail, lambda _: 1)
    assert recall(memory, "a") == "made a"


def test_threads_get_their_own_answers():
    memory = Cache(budget=5)
    with ThreadPoolExecutor(8) as pool:
        keys = [number % 13 for number in range(400)]
        assert list(pool.map(lambda key: recall(memory, key), keys)) == [f"made {key}" for key in keys]
