"""Leading eigenpairs against LAPACK on the whole matrix."""

import numpy as np
import pytest
import scipy.sparse as sp
from graphs import planar_graph
from smallarea.gmrf import spectrum


def scaled_adjacency(graph):
    root = sp.diags_array(1.0 / np.sqrt(graph.degrees))
    return sp.csr_array(root @ graph.adjacency @ root)


@pytest.mark.parametrize("limit", [20, 800], ids=["lanczos", "dense"])
@pytest.mark.parametrize("parts", [1, 3])
def test_all_modes_above_the_cut(monkeypatch, limit, parts):
    monkeypatch.setattr(spectrum, "DENSE_LIMIT", limit)
    matrix = scaled_adjacency(planar_graph(300, seed=3, parts=parts))
    truth = np.linalg.eigvalsh(matrix.toarray())[::-1]
    for cut in (0.6, 0.9, 0.97):
        values, vectors = spectrum.leading_modes(matrix, cut)
        assert len(values) == np.count_nonzero(truth > cut)
        np.testing.assert_allclose(values, truth[: len(values)], atol=1e-12)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-10)
        np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-10)


def test_repeated_eigenvalues_of_a_lattice(monkeypatch):
    monkeypatch.setattr(spectrum, "DENSE_LIMIT", 20)
    ring = sp.diags_array([1.0, 1.0], offsets=[1, -1], shape=(40, 40)).tolil()
    ring[0, 39] = ring[39, 0] = 1.0
    # A torus: every eigenvalue but the ends comes two, four or eight times.
    torus = sp.csr_array(0.25 * (sp.kron(ring, sp.eye_array(40)) + sp.kron(sp.eye_array(40), ring)))
    angles = np.cos(2.0 * np.pi * np.arange(40) / 40)
    truth = np.sort((0.5 * (angles[:, None] + angles)).ravel())[::-1]
    values, vectors = spectrum.leading_modes(torus, 0.93)
    np.testing.assert_allclose(values, truth[truth > 0.93], atol=1e-11)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-9)


def test_the_same_vectors_every_time(monkeypatch):
    monkeypatch.setattr(spectrum, "DENSE_LIMIT", 20)
    matrix = scaled_adjacency(planar_graph(200, seed=5))
    first, second = (spectrum.leading_modes(matrix, 0.9)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)
