"""In which triangle is a point? Compiled, because a national grid asks it tens of millions of times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.gmrf.kernels import compiled

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

# Squares along each axis of the index, at most.
_SQUARES = 1024
# How far outside a triangle, in barycentric coordinates, a point on its side may seem to lie by rounding.
_ROUNDING = 1e-9


class TriangleSearch:
    """Index of triangles by the squares of a grid that they touch.

    Parameters
    ----------
    corners : ndarray, shape (T, 3, 2)
        Corners of triangles that do not overlap.
    """

    def __init__(self, corners: Vector) -> None:
        self._corners = np.ascontiguousarray(corners)
        low, high = corners.min(axis=1), corners.max(axis=1)
        self._origin = low.min(axis=0)
        size = float(np.median(high - low))
        extent = high.max(axis=0) - self._origin
        self._count = np.clip(np.ceil(extent / size), 1, _SQUARES).astype(np.int64)
        self._scale = self._count / extent
        first = self._square(low)
        last = self._square(high)
        self._pointers, self._members = _index(first, last, self._count)

    def _square(self, points: Vector) -> Index:
        return np.clip(((points - self._origin) * self._scale).astype(np.int64), 0, self._count - 1)

    def find(self, points: Vector) -> tuple[Index, Vector]:
        """Return the triangle of each point (-1 if none), shape (n,), and its barycentric weights, shape (n, 3)."""
        triangle = np.full(len(points), -1, dtype=np.int64)
        weights = np.zeros((len(points), 3))
        _find(
            np.ascontiguousarray(points),
            self._corners,
            self._origin,
            self._scale,
            self._count,
            self._pointers,
            self._members,
            triangle,
            weights,
        )
        return triangle, weights


@compiled
def _index(first: Index, last: Index, count: Index) -> tuple[Index, Index]:
    """List the triangles of each square: pointers (squares + 1) and members."""
    pointers = np.zeros(count[0] * count[1] + 1, dtype=np.int64)
    for t in range(len(first)):
        for i in range(first[t, 0], last[t, 0] + 1):
            for j in range(first[t, 1], last[t, 1] + 1):
                pointers[i * count[1] + j + 1] += 1
    for square in range(len(pointers) - 1):
        pointers[square + 1] += pointers[square]
    members = np.empty(pointers[-1], dtype=np.int64)
    filled = np.zeros(len(pointers) - 1, dtype=np.int64)
    for t in range(len(first)):
        for i in range(first[t, 0], last[t, 0] + 1):
            for j in range(first[t, 1], last[t, 1] + 1):
                square = i * count[1] + j
                members[pointers[square] + filled[square]] = t
                filled[square] += 1
    return pointers, members


@compiled
def _find(
    points: Vector,
    corners: Vector,
    origin: Vector,
    scale: Vector,
    count: Index,
    pointers: Index,
    members: Index,
    triangle: Index,
    weights: Vector,
) -> None:
    """Write the triangle in which each point lies deepest, and its weights, cut at 0 and summing to one."""
    for n in range(len(points)):
        x, y = points[n, 0], points[n, 1]
        u, v = (x - origin[0]) * scale[0], (y - origin[1]) * scale[1]
        # Also false where a coordinate is not a number.
        if not (u >= -_ROUNDING and v >= -_ROUNDING and u <= count[0] + _ROUNDING and v <= count[1] + _ROUNDING):
            continue
        i, j = min(int(max(u, 0.0)), count[0] - 1), min(int(max(v, 0.0)), count[1] - 1)
        square = i * count[1] + j
        deepest = -_ROUNDING
        for p in range(pointers[square], pointers[square + 1]):
            t = members[p]
            ax, ay = corners[t, 0, 0], corners[t, 0, 1]
            bx, by = corners[t, 1, 0] - ax, corners[t, 1, 1] - ay
            cx, cy = corners[t, 2, 0] - ax, corners[t, 2, 1] - ay
            double_area = bx * cy - by * cx
            second = ((x - ax) * cy - (y - ay) * cx) / double_area
            third = (bx * (y - ay) - by * (x - ax)) / double_area
            first = 1.0 - second - third
            depth = min(first, second, third)
            if depth >= deepest:
                deepest = depth
                triangle[n] = t
                first, second, third = max(first, 0.0), max(second, 0.0), max(third, 0.0)
                total = first + second + third
                weights[n, 0], weights[n, 1], weights[n, 2] = first / total, second / total, third / total
