"""Who makes the next result: the consumer while it comes back soon, or the faster of both ways."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npdata.loading import turns as module
from npdata.loading.comparison import (
    ALONE,
    CHANGED,
    FEWER,
    KEPT,
    LONG_TURN,
    MOST_KEPT,
    PASSED,
    TRIED,
    Comparison,
)
from npdata.loading.turns import LEAST_JOB, LEAST_LOOP, LONG, SURE, Alone, Turns

SHORT = LEAST_JOB / 4
AWAY = 10 * LEAST_LOOP


class Consumer:
    """A consumer of `turns`, by a clock that it sets itself; threads have nothing under way."""

    def __init__(self, rule: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "perf_counter", lambda: self.now)
        self.rule, self.comparison = rule, Comparison()
        self.threads = False
        self.begin()

    def begin(self) -> None:
        """Begin an epoch."""
        self.turns = Turns(self.rule, self.comparison)

    def turn(self, away: float, job: float = SHORT, by_threads: float = 0.0) -> bool:
        """Be away and get a result, by a job that takes so long, or is there after `by_threads`.

        Tells whether threads have it. They go on with jobs once one was handed over.
        """
        self.now += away
        alone = self.turns.is_alone()
        self.now += job if alone else by_threads
        self.threads = self.turns.ended(by_itself=alone)
        return not alone

    def several(self, number: int, *seconds: float) -> list[bool]:
        return [self.turn(*seconds) for _ in range(number)]


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    return Consumer(Alone(compares=True), monkeypatch)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    return Consumer(Alone(), monkeypatch)


def test_a_consumer_that_comes_back_soon_does_all_jobs(consumer: Consumer) -> None:
    assert not any(consumer.several(1000, LEAST_LOOP / 2))
    assert not any(consumer.several(1000, SHORT / 8.1))


def test_threads_have_jobs_once_it_is_surely_away(plain: Consumer) -> None:
    assert plain.several(1 + SURE, AWAY) == [False] * SURE + [True]
    assert all(plain.several(10, AWAY))


def test_and_none_once_it_is_surely_back(plain: Consumer) -> None:
    plain.several(1 + SURE, AWAY)
    assert plain.several(SURE, 0.0) == [True] * (SURE - 1) + [False]


def test_to_be_away_now_and_then_is_no_reason(plain: Consumer) -> None:
    for _ in range(5):
        assert not any(plain.several(SURE - 1, AWAY))
        assert not plain.turn(0.0)


def test_long_jobs_are_handed_over(plain: Consumer) -> None:
    plain.turn(0.0, LEAST_JOB)
    for count in range(1, LONG):
        assert not plain.turn(0.0, LEAST_JOB)
        assert plain.threads == (count == LONG)
    plain.turn(0.0, LEAST_JOB)
    assert plain.threads
    assert plain.turn(0.0)


@pytest.mark.parametrize("by_threads", [LEAST_JOB, 3 * LEAST_JOB])
def test_or_compared_also_where_the_consumer_comes_back_soon(
    consumer: Consumer, by_threads: float
) -> None:
    job = 2 * LEAST_JOB
    alone = iter(lambda: consumer.turn(0.0, job, by_threads), True)
    assert ALONE < len(list(alone)) <= ALONE + 3 * SURE
    assert all(consumer.several(PASSED + TRIED - 1, 0.0, job, by_threads))
    assert consumer.several(KEPT, 0.0, job, by_threads) == [by_threads < job] * KEPT


@pytest.mark.parametrize("by_threads", [0.9 * LONG_TURN, 1.1 * LONG_TURN])
def test_very_long_jobs_are_compared_at_once_and_in_fewer_turns(
    consumer: Consumer, by_threads: float
) -> None:
    assert not any(consumer.several(1 + ALONE // FEWER, 0.0, LONG_TURN))
    assert all(consumer.several((PASSED + TRIED) // FEWER, 0.0, LONG_TURN, by_threads))
    expected = [by_threads < LONG_TURN] * KEPT
    assert consumer.several(KEPT, 0.0, LONG_TURN, by_threads) == expected


def test_a_first_job_may_take_long(consumer: Consumer) -> None:
    for _ in range(3):
        consumer.begin()
        assert not any(consumer.several(1, AWAY, LONG_TURN / 2))
        assert not consumer.threads
        assert not any(consumer.several(20, 0.0))


@pytest.mark.parametrize("compares", [False, True])
def test_a_long_job_now_and_then_is_no_reason(
    monkeypatch: pytest.MonkeyPatch, compares: bool
) -> None:
    consumer = Consumer(Alone(compares=compares), monkeypatch)
    for _ in range(9):
        assert not any(consumer.several(20, 0.0))
        assert not any(consumer.several(LONG - 1, 0.0, LEAST_JOB))
        assert not consumer.threads


def test_jobs_that_are_long_on_average_are_handed_over_by_who_may_be_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = Consumer(Alone(away=inf, job=1.0), monkeypatch)
    consumer.several(20, 5.0, 0.5)
    assert not any(consumer.several(2, 5.0, 2.0))
    assert not consumer.threads
    assert any(consumer.several(9, 5.0, 2.0))


def tried(consumer: Consumer, away: float, by_threads: float) -> None:
    """Take turns alone, and then those with threads that are compared with them."""
    alone = consumer.several(SURE + ALONE, away, SHORT)
    assert not any(alone)
    assert all(consumer.several(PASSED, away, SHORT, 1.0))
    assert all(consumer.several(TRIED, away, SHORT, by_threads))


def test_where_threads_take_longer_it_does_all_jobs(consumer: Consumer) -> None:
    tried(consumer, AWAY, 1.1 * SHORT)
    assert not any(consumer.several(KEPT, AWAY))


def test_where_threads_take_less_they_have_all_jobs(consumer: Consumer) -> None:
    tried(consumer, AWAY, 0.9 * SHORT)
    assert all(consumer.several(KEPT, AWAY, SHORT, 0.9 * SHORT))


def test_threads_that_become_slower_have_no_more(consumer: Consumer) -> None:
    tried(consumer, AWAY, 0.9 * SHORT)
    assert all(consumer.several(TRIED, AWAY, SHORT, 2 * SHORT))
    assert not any(consumer.several(KEPT, AWAY))


@pytest.mark.parametrize("by_threads", [0.9 * SHORT, 1.1 * SHORT])
def test_after_many_turns_both_are_timed_again(consumer: Consumer, by_threads: float) -> None:
    tried(consumer, AWAY, by_threads)
    consumer.several(KEPT, AWAY)
    alone = consumer.several(ALONE, AWAY)
    assert alone == [False] * ALONE
    assert consumer.turn(AWAY)


@pytest.mark.parametrize("by_threads", [0.9 * SHORT, 1.1 * SHORT])
def test_where_the_same_is_found_it_is_looked_for_less_often(
    consumer: Consumer, by_threads: float
) -> None:
    tried(consumer, AWAY, by_threads)
    for kept in (KEPT, 2 * KEPT, 4 * KEPT, 8 * KEPT, MOST_KEPT, MOST_KEPT):
        by_who = consumer.several(kept, AWAY, SHORT, by_threads)
        assert by_who == [by_threads < SHORT] * kept
        assert not any(consumer.several(ALONE, AWAY))
        assert all(consumer.several(PASSED + TRIED, AWAY, SHORT, by_threads))


def test_turns_of_a_consumer_that_came_back_soon_are_not_compared(consumer: Consumer) -> None:
    consumer.several(100, 0.0)
    consumer.begin()  # of another loop
    tried(consumer, AWAY, 0.9 * SHORT)
    assert all(consumer.several(KEPT, AWAY, SHORT, 0.9 * SHORT))


def test_one_long_job_is_no_reason_not_to_compare(consumer: Consumer) -> None:
    consumer.turn(0.0)
    consumer.turn(0.0, LEAST_JOB)
    consumer.turn(0.0)
    assert not any(consumer.several(SURE - 1 + ALONE, AWAY))
    assert all(consumer.several(PASSED + TRIED, AWAY, SHORT, 1.1 * SHORT))
    assert not any(consumer.several(KEPT, AWAY))


@pytest.mark.parametrize("by_threads", [0.9 * SHORT, 1.1 * SHORT])
def test_both_are_timed_again_for_another_loop(consumer: Consumer, by_threads: float) -> None:
    tried(consumer, AWAY, by_threads)
    found = [by_threads < SHORT] * CHANGED
    assert consumer.several(CHANGED, 3 * AWAY, SHORT, by_threads) == found
    assert consumer.several(CHANGED, 10 * AWAY, SHORT, by_threads) == found
    assert not any(consumer.several(ALONE, 10 * AWAY))
    assert all(consumer.several(PASSED + TRIED, 10 * AWAY, SHORT, by_threads))
    assert consumer.several(KEPT, 10 * AWAY, SHORT, by_threads) == [by_threads < SHORT] * KEPT
    assert not consumer.turn(10 * AWAY)


def test_what_was_found_is_known_in_the_next_epoch(consumer: Consumer) -> None:
    tried(consumer, AWAY, 0.9 * SHORT)
    consumer.begin()
    assert all(consumer.several(9, AWAY))
    consumer.begin()
    assert consumer.several(SURE + 1, 0.0) == [True] * SURE + [False]  # the loop is another


def test_the_first_turns_of_later_epochs_say_nothing_of_turns_alone(consumer: Consumer) -> None:
    tried(consumer, AWAY, 0.9 * SHORT)
    for _ in range(ALONE):
        consumer.begin()
        consumer.several(1 + SURE, 0.0, 2 * SHORT, 0.9 * SHORT)
    consumer.several(SURE + 2 * TRIED, AWAY, SHORT, 2 * SHORT)
    assert not consumer.turn(AWAY)


def test_epochs_that_are_shorter_than_a_comparison_add_up(consumer: Consumer) -> None:
    for _ in range(20):
        consumer.begin()
        consumer.several(ALONE + PASSED, AWAY, SHORT, 1.1 * SHORT)
    assert not any(consumer.several(10, AWAY))


def test_without_comparing_threads_have_all_jobs(plain: Consumer) -> None:
    plain.several(1 + SURE, AWAY)
    assert all(plain.several(KEPT, AWAY, SHORT, 1.0))


SECONDS = st.sampled_from([0.0, 1e-5, 1e-4, 1e-3, 1.0])


@given(
    rule=st.builds(
        Alone,
        away=st.sampled_from([0.0, LEAST_LOOP, inf]),
        job=st.sampled_from([0.0, LEAST_JOB, inf]),
        compares=st.booleans(),
    ),
    epochs=st.lists(
        st.lists(st.tuples(st.integers(1, 99), SECONDS, SECONDS, SECONDS), max_size=9), max_size=5
    ),
)
def test_any_times_give_an_answer(
    rule: Alone, epochs: list[list[tuple[int, float, float, float]]]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        consumer = Consumer(rule, monkeypatch)
        for epoch in epochs:
            consumer.begin()
            for turns in epoch:
                consumer.several(*turns)
