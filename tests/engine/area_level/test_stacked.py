"""Several responses side by side: shapes, sampling covariances, what is refused."""

import numpy as np
import pytest
from smallarea.area_level import StandardisedData, stack
from smallarea.errors import VarianceProblem


def response(y: list[float], v: list[float], columns: int = 1) -> StandardisedData:
    y, v = np.array(y), np.array(v)
    x = np.arange(1.0, len(y) * columns + 1.0).reshape(len(y), columns)
    return StandardisedData(y, v, x, np.isfinite(y), 0.0, 1.0, np.zeros(columns), np.ones(columns), False)


NAN = np.nan


@pytest.fixture
def pair() -> list[StandardisedData]:
    return [
        response([1.0, NAN, 3.0, 4.0], [0.25, NAN, 1.0, 4.0]),
        response([5.0, 6.0, NAN, 8.0], [1.0, 1.0, NAN, 9.0], 2),
    ]


def matrices(*off: float) -> np.ndarray:
    return np.array([[[1.0, r], [r, 1.0]] for r in off])


def test_without_covariances(pair):
    data = stack(pair)
    assert data.shape == (4, 2)
    assert not data.coupled
    np.testing.assert_array_equal(data.observed, [[1, 1], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_array_equal(data.y, [[1, 5], [0, 6], [3, 0], [4, 8]])
    np.testing.assert_array_equal(data.covariance[0], np.diag([0.25, 1.0]))
    np.testing.assert_array_equal(data.covariance[1], np.diag([0.0, 1.0]))
    np.testing.assert_array_equal(data.precision[1], np.diag([0.0, 1.0]))
    np.testing.assert_array_equal(data.covariance_root[3], np.diag([2.0, 3.0]))
    assert data.terms == (slice(0, 1), slice(1, 3))
    assert data.design.shape == (4, 2, 3)
    np.testing.assert_array_equal(data.design[1], [[2.0, 0.0, 0.0], [0.0, 3.0, 4.0]])


def test_with_covariances(pair):
    # What is given for a cell that is not observed does not count, whatever it is.
    data = stack(pair, matrices(0.5, NAN, 7.0, -0.9))
    assert data.coupled
    np.testing.assert_allclose(data.covariance[0], [[0.25, 0.25], [0.25, 1.0]])
    np.testing.assert_array_equal(data.covariance[1], np.diag([0.0, 1.0]))
    np.testing.assert_array_equal(data.covariance[2], np.diag([1.0, 0.0]))
    np.testing.assert_allclose(data.covariance[3], [[4.0, -5.4], [-5.4, 9.0]])
    for i in (0, 3):
        np.testing.assert_allclose(data.precision[i], np.linalg.inv(data.covariance[i]))
    np.testing.assert_array_equal(data.precision[2], np.diag([1.0, 0.0]))
    for i in range(4):
        root = data.covariance_root[i]
        np.testing.assert_allclose(root @ root.T, data.covariance[i], atol=1e-15)


def test_correlations_of_zero_couple_nothing(pair):
    assert not stack(pair, matrices(0.0, 0.9, 0.9, 0.0)).coupled
    assert not stack(pair[:1], np.ones((4, 1, 1))).coupled


@pytest.mark.parametrize("bad", [1.0, -1.0, 1.2, NAN, np.inf])
def test_matrices_that_are_not_definite(bad, pair):
    with pytest.raises(VarianceProblem, match=r"of 1 areas do not form.*rows 4\. A covariance must be smaller"):
        stack(pair, matrices(0.5, 0.0, 0.0, bad))
    with pytest.raises(VarianceProblem, match=r"of 2 areas.*rows 1, 4"):
        stack(pair, matrices(bad, 0.0, 0.0, bad))


def test_three_pairs_that_cannot_be_together():
    # Each pair by itself is possible, the three together are not.
    three = [response([1.0, 2.0], [1.0, 1.0]) for _ in range(3)]
    matrix = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    with pytest.raises(VarianceProblem, match="rows 2"):
        stack(three, np.stack([np.eye(3), matrix]))
    # Without the third response in that area there is nothing wrong.
    three[2] = response([1.0, NAN], [1.0, NAN])
    np.testing.assert_allclose(stack(three, np.stack([np.eye(3), matrix])).covariance[1, 0, 1], 0.9)
