"""Area means whose strata, such as urban and rural, have the shares that a census says they have.

A raster says which stratum a cell belongs to, a table how many people T_As live in each stratum s of each area A of one
level, the *control*. Weights of cells are multiplied by one factor for each control area and stratum,

    k_As = T_As / sum over predicted cells of w_c share_Ac [stratum of c is s]

so that they add up to the table. All levels use the same factors: their polygons are cut along the control's, so means
of levels whose borders nest stay consistent draw by draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import shapely
from numpy.typing import NDArray

from smallarea.errors import GeometryProblem, TableProblem, named
from smallarea.io.raster_grid import Tile
from smallarea.io.rasters import RasterStack
from smallarea.unit_level.cell_shares import Shapes

Vector = NDArray[np.float64]
Positions = NDArray[np.int64]

# Slivers along borders that should coincide, as a share of the area.
_SLIVER = 1e-9
# Overlaps up to this share of the smaller area are taken for carelessly drawn borders.
_OVERLAP = 0.01


@dataclass(frozen=True)
class StratumTotals:
    """People in the strata of the control's areas.

    Attributes
    ----------
    codes : ndarray, shape (H,)
        Codes of the strata in the raster.
    people : ndarray, shape (A, H)
        Numbers, or shares of each area's people; NaN where nothing is said.
    are_shares : bool
        Whether they are shares, which are turned into numbers by the people of the population raster.
    """

    codes: Vector
    people: Vector
    are_shares: bool = False


@dataclass(frozen=True)
class Pieces:
    """Polygons of a level, cut along those of the control.

    Attributes
    ----------
    shapes : ndarray of shapely geometries, shape (P,)
        The pieces.
    area : ndarray of int, shape (P,)
        Area of the level that each is part of.
    control : ndarray of int, shape (P,)
        Area of the control that it lies in; -1 outside of all.
    """

    shapes: Shapes
    area: Positions
    control: Positions


@dataclass(frozen=True)
class RowSums:
    """Sums over cells, a row for each piece and stratum; the last stratum of a piece holds cells without one.

    Attributes
    ----------
    draws : ndarray, shape (S, P (H + 1))
        Weighted sums of the draws.
    weight, predicted, cells : ndarray, shape (P (H + 1),)
        Weights of all cells and of those with predictions, and how many these are.
    """

    draws: Vector
    weight: Vector
    predicted: Vector
    cells: Vector


@dataclass(frozen=True)
class Combined:
    """Sums over the areas of a level, reweighted.

    Attributes
    ----------
    draws : ndarray, shape (S, A)
        Weighted sums of the draws.
    weight : ndarray, shape (A,)
        Sums of the weights of cells with predictions: people, as the totals have them.
    predicted : ndarray, shape (A,)
        Share of the people of the population raster whose cells count; NaN without any.
    cells : ndarray, shape (A,)
        Cells that count.
    """

    draws: Vector
    weight: Vector
    predicted: Vector
    cells: Vector


@dataclass(frozen=True)
class StratumWeights:
    """What totals did to the weights of the control's areas, and what the strata hold.

    Attributes
    ----------
    codes : ndarray, shape (H,)
        The strata.
    before, after : ndarray, shape (A, H)
        Weights of cells with predictions, as the population raster has them and as they count.
    draws : ndarray, shape (S, H)
        Means of the strata over all areas of the control, NaN for one without a cell that counts.
    """

    codes: Vector
    before: Vector
    after: Vector
    draws: Vector


class Poststrata:
    """Strata of the cells, and the factors that make their weights meet totals.

    Parameters
    ----------
    stack : RasterStack
        One open band of codes on the grid.
    ids : sequence of str
        Areas of the control.
    shapes : ndarray of shapely geometries, shape (A,)
        Their polygons in the grid's reference system.
    totals : StratumTotals
        What their strata add up to.

    Raises
    ------
    GeometryProblem
        If areas of the control overlap: cells would count in both.
    """

    def __init__(self, stack: RasterStack, ids: Sequence[str], shapes: Shapes, totals: StratumTotals) -> None:
        _check_apart(ids, shapes)
        self.stack = stack
        self._ids, self._shapes, self._totals = tuple(ids), shapes, totals
        order = np.argsort(totals.codes)
        self._order, self._sorted = order, totals.codes[order]
        self._unlisted: set[float] = set()

    @property
    def width(self) -> int:
        """Rows of a piece: its strata, and what has none."""
        return len(self._totals.codes) + 1

    def pieces(self, shapes: Shapes) -> Pieces:
        """Cut polygons along those of the control; what lies outside of all of these is a piece too."""
        if shapes is self._shapes:
            every = np.arange(len(shapes))
            return Pieces(shapes, every, every)
        area, control = shapely.STRtree(self._shapes).query(shapes, predicate="intersects")
        inside = _polygons(shapely.intersection(shapes[area], self._shapes[control]))
        covered = [shapely.union_all(self._shapes[control[area == i]]) for i in range(len(shapes))]
        outside = _polygons(shapely.difference(shapes, np.array(covered, dtype=object)))
        cut = np.concatenate([inside, outside])
        of_area = np.concatenate([area, np.arange(len(shapes))])
        of_control = np.concatenate([control, np.full(len(shapes), -1)])
        kept = shapely.area(cut) > _SLIVER * shapely.area(shapes[of_area])
        return Pieces(cut[kept], of_area[kept], of_control[kept])

    def rows_of(self, share: sp.csr_array, tile: Tile, weight: Vector) -> sp.csr_array:
        """Split the shares of pieces in a tile's cells (P, cells) by stratum, shape (P (H + 1), cells)."""
        codes = self.stack.read(tile)[:, 0]
        place = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        known = self._sorted[place] == codes
        stratum = np.where(known, self._order[place], self.width - 1)
        cells = share.tocoo()
        counted = weight[cells.col] > 0.0
        self._unlisted |= set(np.unique(codes[cells.col[counted & ~known[cells.col]]]).tolist())
        rows = cells.row * self.width + stratum[cells.col]
        shape = (share.shape[0] * self.width, share.shape[1])
        return sp.csr_array(sp.coo_array((cells.data, (rows, cells.col)), shape=shape))

    def factors(self, sums: RowSums) -> tuple[Vector, tuple[str, ...]]:
        """Find the factors from the control's own sums.

        Parameters
        ----------
        sums : RowSums
            Of the control's areas.

        Returns
        -------
        factors : ndarray, shape (A + 1, H + 1)
            0 for cells without a stratum, and in the last row, for pieces outside of the control.
        notes : tuple of str
            Strata with people and without cells, and cells without a stratum.

        Raises
        ------
        TableProblem
            If cells with people belong to a stratum for which the table has no total.
        """
        strata = self.width - 1
        weight = sums.weight.reshape(-1, self.width)
        some = sums.predicted.reshape(-1, self.width)[:, :strata]
        unlisted = [f"{code:g}" for code in sorted(self._unlisted) if not np.isnan(code)]
        if unlisted:
            raise TableProblem(
                f"Cells with people have strata for which the totals have no rows: {named(unlisted, 10)}. Add them "
                "to the totals, or mark such cells as without data."
            )
        people = self._totals.people
        silent = (weight[:, :strata] > 0.0) & np.isnan(people)
        if silent.any():
            raise TableProblem(
                f"The totals say nothing of strata in which cells have people: {self._pairs(silent)}. Add rows, with 0 "
                "where nobody lives."
            )
        if self._totals.are_shares:
            people = people * weight.sum(axis=1)[:, None]
        people = np.nan_to_num(people, nan=0.0)
        found = np.zeros((len(people) + 1, self.width))
        np.divide(people, some, out=found[:-1, :strata], where=some > 0.0)
        return found, self._notes(people, some, weight)

    def weights(self, sums: RowSums, factors: Vector) -> StratumWeights:
        """Say what the factors did.

        Parameters
        ----------
        sums : RowSums
            Of the control's areas.
        factors : ndarray, shape (A + 1, H + 1)
            By :meth:`factors`.

        Returns
        -------
        StratumWeights
        """
        strata = self.width - 1
        before = sums.predicted.reshape(-1, self.width)[:, :strata]
        factor = factors[:-1, :strata]
        after = before * factor
        weighted = sums.draws.reshape(len(sums.draws), -1, self.width)[:, :, :strata] * factor
        with np.errstate(invalid="ignore"):
            draws = weighted.sum(axis=1) / after.sum(axis=0)
        return StratumWeights(self._totals.codes, before, after, draws)

    def _notes(self, people: Vector, some: Vector, weight: Vector) -> tuple[str, ...]:
        notes = []
        empty = (people > 0.0) & (some <= 0.0)
        if empty.any():
            notes.append(
                f"Totals count people in strata without a predicted cell: {self._pairs(empty)}. The estimates of these "
                "areas are of their other strata."
            )
        lost = weight[:, -1].sum()
        if lost > 0.0:
            notes.append(
                f"{lost / weight.sum():.1%} of the people of the population raster live in cells without a stratum, "
                "which do not count."
            )
        return tuple(notes)

    def _pairs(self, which: NDArray[np.bool_]) -> str:
        return named([f"{self._ids[a]} (stratum {self._totals.codes[s]:g})" for a, s in np.argwhere(which)])

    def combine(self, pieces: Pieces, areas: int, sums: RowSums, factors: Vector) -> Combined:
        """Add up pieces and strata with their factors.

        Parameters
        ----------
        pieces : Pieces
            Of a level.
        areas : int
            Areas of the level.
        sums : RowSums
            Of the pieces.
        factors : ndarray, shape (A + 1, H + 1)
            Of the control.

        Returns
        -------
        Combined
        """
        area = np.repeat(pieces.area, self.width)
        factor = factors[pieces.control].ravel()
        add = sp.csr_array((factor, (np.arange(len(area)), area)), shape=(len(area), areas))
        # Strata in which nobody lives are no part of an area's people.
        people = np.vstack([np.nan_to_num(self._totals.people, nan=0.0), np.ones((1, self.width - 1))])
        nobody = np.column_stack([people == 0.0, np.zeros(len(people), bool)])[pieces.control].ravel()
        whole = np.bincount(area, np.where(nobody, 0.0, sums.weight), minlength=areas)
        counted = np.bincount(area, np.where(factor > 0.0, sums.predicted, 0.0), minlength=areas)
        with np.errstate(invalid="ignore", divide="ignore"):
            predicted = np.where(whole > 0.0, counted / whole, np.nan)
        return Combined(
            sums.draws @ add,
            add.T @ sums.predicted,
            predicted,
            np.bincount(area, np.where(factor > 0.0, sums.cells, 0.0), minlength=areas).astype(np.float64),
        )


def _check_apart(ids: Sequence[str], shapes: Shapes) -> None:
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    common = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    areas = shapely.area(shapes)
    found = np.flatnonzero(common > _OVERLAP * np.minimum(areas[one], areas[other]))
    if len(found):
        pairs = [f"{ids[one[i]]} and {ids[other[i]]}" for i in found]
        raise GeometryProblem(
            f"Areas with totals of their strata overlap, so cells would count twice: {named(pairs)}. Cut the polygons, "
            "or take another layer first."
        )


def _polygons(shapes: Shapes) -> Shapes:
    """Return what has an area of each geometry: overlays may leave lines and points where borders touch."""
    out = shapes.copy()
    for i in np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION):
        parts = shapely.get_parts(shapes[i])
        out[i] = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return out
