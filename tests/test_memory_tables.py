"""Tables of remembered noise say what the records do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nin.companion.memory_tables import fixed_noise_table, fresh_over_own, memory_table
from nin.studies.memorisation import BASE, Memory


@pytest.fixture
def memory() -> Memory:
    w_ni = np.array([[2.0, 1.0, 3.0], [4.0, 1.0, 2.0]])
    ends = {"off": [0.2, 0.4], "own": [0.1, 0.2], "fresh": [1.0, 8.0]}
    hits = {"off": [0.8, 0.9], "own": [1.0, 1.0], "fresh": [0.7, 0.5]}
    losses, shares = ({k: np.array(v) for k, v in d.items()} for d in (ends, hits))
    step = np.arange(3)
    return Memory(step, w_ni, w_ni, step, {}, losses, shares, {})


def test_a_row_holds_the_mean_and_its_error_of_each_quantity_asked_for(memory: Memory) -> None:
    [row] = memory_table("t", {(BASE, 0.2): memory}, "lowest end off own costs hits takes").rows()
    assert row[:2] == ("20%", "anew")
    each = ([0.5, 0.25], [1.5, 0.5], [200, 400], [100, 200], [900, 7800], None, [0.3, 0.5])
    for cell, values in zip(row[2:], each, strict=True):
        expected = 1.0 if values is None else (np.mean(values), stats.sem(values))
        assert cell == pytest.approx(expected)


def test_fresh_noise_costs_a_factor_averaged_over_logarithms(memory: Memory) -> None:
    value, err = fresh_over_own(memory)  # factors of 10 and 40
    assert value == pytest.approx(20)
    assert err == pytest.approx(20 * np.log(2))  # half of ln 4, times the value


def test_noise_is_worth_to_the_linear_model_what_is_predicted() -> None:
    [row] = fixed_noise_table([(1000, 2.0, 5.0)], sets=2000).rows()
    weight, (worth, err) = row[3:]
    assert weight == pytest.approx(1, abs=0.05)  # 1/sqrt(2 sets) by chance, 3/(2 m) by finite m
    assert worth == pytest.approx(1, abs=4 * err)
