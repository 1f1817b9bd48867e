import numpy as np
import pytest
from scipy.stats import binomtest

from edge.workshop.chance import Gain, gain


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (5, 7), (12, 2), (40, 60), (9, 9)])
def test_the_p_value_is_that_of_mcnemars_exact_test(won: int, lost: int) -> None:
    expected = binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert Gain(won, lost, 540).p_value == pytest.approx(expected)


def test_the_interval_is_that_of_agresti_and_min() -> None:
    # Approval of the prime minister asked twice of 1600 (A. Agresti, Categorical Data Analysis,
    # 2nd ed., table 10.1): 150 changed one way, 86 the other, Wald's interval 0.021 to 0.058.
    low, high = Gain(86, 150, 1600).interval
    assert (low, high) == pytest.approx((-0.0587, -0.0213), abs=2e-4)
    assert Gain(86, 150, 1600).share == -0.04


def test_few_differing_samples_are_no_more_than_chance_and_many_are() -> None:
    assert Gain(3, 0, 540).by_chance
    assert not Gain(12, 1, 540).by_chance
    assert Gain(0, 0, 540).interval[0] < 0 < Gain(0, 0, 540).interval[1]


def test_samples_are_counted_that_only_one_had_right() -> None:
    one = np.array([True, True, True, False, False])
    other = np.array([True, False, False, True, False])
    assert gain(one, other) == Gain(won=2, lost=1, of=5)
