"""Work in threads: results in order, items taken as they are needed."""

import time

import pytest

from breastus.utils.threads import map_in_threads


def test_results_come_in_the_order_of_the_items():
    def slow_if_even(number):
        time.sleep(0.003 * (number % 2 == 0))
        return number * number

    assert list(map_in_threads(slow_if_even, range(50))) == [number**2 for number in range(50)]
    assert list(map_in_threads(slow_if_even, [])) == []


def test_items_are_taken_as_results_are_asked_for():
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = map_in_threads(str, items())
    assert [next(results) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert len(taken) < 100
    results.close()


def test_an_error_is_raised_where_its_result_would_be():
    results = map_in_threads(lambda number: 1 / number, [2, 0, 1])
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)
