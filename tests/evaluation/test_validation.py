"""Groups are numbered, and what is no group is refused, however a missing one is written."""

import numpy as np
import pandas as pd
import pytest

from breastus.errors import DataError
from breastus.evaluation.validation import check_grouped, group_numbers


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Categorical])
def test_groups_are_numbered_in_their_order(kind):
    assert group_numbers(kind(["b", "a", "b", "nan"]), 4).tolist() == [1, 0, 1, 2]
    assert group_numbers(kind([7, 3, 3, 0]), 4).tolist() == [2, 1, 1, 0]
    assert group_numbers(None, 3).tolist() == [0, 1, 2]


MISSING = [
    ["a", float("nan"), float("nan"), "c"],
    ["a", None, "b", "c"],
    ["a", pd.NA, "b", "c"],
    [1, pd.NA, 2, 3],
    [1.0, np.nan, 2.0, 3.0],
    ["a", "", "", "c"],
    ["a", "  ", "b", "c"],
    np.array(["a", "", "b", "c"]),
    np.array([1.0, np.nan, 2.0, 3.0]),
    np.array(["2020-01-01", "NaT", "2021-01-01", "2021-01-01"], "datetime64[ns]"),
    pd.Series(["a", None, "b", "c"], index=[9, 8, 7, 6]),
    pd.Series([1, None, 2, 3], dtype="Int64"),
    pd.Categorical(["a", None, "b", "c"]),
]


@pytest.mark.parametrize("groups", MISSING, ids=repr)
def test_missing_groups_are_no_group_of_their_own(groups):
    with pytest.raises(DataError, match=r"of its own. Received: .* at position 1$"):
        group_numbers(groups, 4)
    with pytest.raises(DataError, match=r"groups must name .* at position 1$"):
        check_grouped([0, 1, 0, 1], np.full(4, 0.5), groups)


def test_there_is_one_group_an_image():
    with pytest.raises(ValueError, match=r"each of 3 images. Received: shape \(2,\)"):
        group_numbers(["a", "b"], 3)
    with pytest.raises(ValueError, match=r"Received: shape \(2, 1\)"):
        group_numbers([["a"], ["b"]], 2)
