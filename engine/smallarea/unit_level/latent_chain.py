"""One chain for outcomes that are counted: Pólya-Gamma variables turn each sweep into one of normal data.

A sweep draws, each given what stands before it and with what stands after it integrated out,

    r given eta (negative binomial only);  omega given eta and r;  trees, and sd's and range;  field;  normal variables

where all from the trees on see the pseudo-data ``z = (k - b / 2) / omega - offset`` with covariance ``sd^2 R(range) +
diag(1 / omega + sigma_e^2)``. So neither the field nor the variables of clusters are held fixed while trees and
hyperparameters move; they are drawn before they are used again, which is what keeps the posterior (van Dyk and Park
2008, Partially collapsed Gibbs samplers, JASA 103). From omega on it is that of a likelihood for which omega says about
as much as the counts do, and is then accepted or not: see :mod:`smallarea.unit_level.latent_calibration`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.trees import Cuts, ForestTrace
from smallarea.trees.leaves import Spectrum
from smallarea.trees.state import (
    fill_stream,
    leaf_values,
    make_bench,
    make_forest,
    make_rules,
    make_stream,
    tree_numbers,
)
from smallarea.trees.sums import place_all
from smallarea.trees.sweep import sweep_trees
from smallarea.trees.trace import encode
from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.hyper_kernel import ERROR, FIELD
from smallarea.unit_level.latent_calibration import Calibration, augmented
from smallarea.unit_level.latent_field import Factor, LatentField
from smallarea.unit_level.latent_hyper import LatentHyper
from smallarea.unit_level.latent_moves import Counted, move_field, move_own
from smallarea.unit_level.likelihoods import counts_of, link
from smallarea.unit_level.settings import BartsimpSettings, Scales
from smallarea.unit_level.sweep_kernel import Record
from smallarea.unit_level.tuning import BLOCK

Vector = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]

# Share of the proposals of the whole field that must be accepted while warming up for it to go on.
WORTHWHILE = 0.05


class LatentChain:
    """A chain that goes on block by block, with the interface of :class:`smallarea.unit_level.chain.Chain`.

    Parameters
    ----------
    clusters : Clusters
        By :func:`smallarea.unit_level.likelihoods.count_clusters`.
    settings : BartsimpSettings
        Model and sampler.
    scales : Scales
        Prior scales.
    cuts : Cuts
        Cut points.
    field : LatentField
        The field.
    seed : numpy.random.SeedSequence
        Its own seed.
    warmup, draws : int
        Sweeps to warm up and sweeps to keep.
    """

    def __init__(
        self, clusters: Clusters, settings: BartsimpSettings, scales: Scales, cuts: Cuts, field: LatentField,
        seed: np.random.SeedSequence, warmup: int, draws: int,
    ) -> None:  # fmt: skip
        self._random = np.random.default_rng(seed)
        self._tree, self._field = settings.trees, field
        self._is_binomial = settings.likelihood == "binomial"
        self._counts, self._sizes = counts_of(clusters), clusters.sizes
        self._centre = link(clusters.mean, settings.likelihood)
        self.warmup, self.total, self.done = warmup, warmup + draws, 0
        n, rank = clusters.n, field.rank
        self._forest = make_forest(self._tree, np.zeros(n), rank)
        self._bench = make_bench(self._tree, cuts.bins(clusters.covariates), scales.leaf, np.ones(n), rank)
        self._rules = make_rules(self._tree, cuts.counts)
        self._stream = make_stream(*tree_numbers(self._tree))
        self._hyper = LatentHyper(settings, scales.field_prior, field, self._random)
        # Field where it is drawn with the coefficients of a linear part, and the clusters' own variables.
        self._places = field.mesh.n if field.mesh is not None else n
        self._latent = np.zeros(self._places + field.coefficients)
        self._own, self._calibration = np.zeros(n), Calibration(n)
        room = BLOCK * self._tree.trees
        self._record = Record(
            np.zeros((BLOCK, 3)), np.zeros(room * self._tree.slots, np.int16),
            np.zeros(room * self._tree.slots, np.int16), np.zeros(room * self._tree.max_leaves),
            np.zeros((BLOCK, self._tree.trees), np.int64), np.zeros(2, np.int64),
        )  # fmt: skip
        self._field_moves, self._sweeps = np.zeros(2, np.int64), np.zeros(2, np.int64)
        self._hypers: list[Vector] = []
        self._traces: list[ForestTrace] = []
        self._fields: list[Vector] = []

    @property
    def finished(self) -> bool:
        """Whether all sweeps are done."""
        return self.done >= self.total

    def advance(self) -> None:
        """Run one block of sweeps; while warming up, tune the proposals after it."""
        end = self.warmup if self.done < self.warmup else self.total
        count = min(BLOCK, end - self.done)
        if self.done <= self.warmup:
            self._bench.counts[:], self._sweeps[:] = 0, 0
        self._hyper.begin()
        self._calibration.begin()
        r = self._record
        r.ends[:] = 0
        fields = np.empty((count, len(self._latent)))
        for s in range(count):
            self._sweep()
            r.hyper[s] = [*self._hyper.logs, self._hyper.at[0]]
            fields[s] = self._latent
            encode(
                self._forest.nodes, self._forest.values, r.variables, r.cuts, r.values, r.sizes[s], r.ends,
                self._bench.stack,
            )  # fmt: skip
        self._hypers.append(r.hyper[:count].copy())
        if self.done < self.warmup:
            self._hyper.tune(self._hypers)
            self._calibration.tune(len(self._hypers))
        else:
            self._fields.append(fields)
            self._traces.append(ForestTrace.of_block(r.variables, r.cuts, r.values, r.sizes[:count], r.ends))
        self.done += count

    def _sweep(self) -> None:
        rng, hyper = self._random, self._hyper
        trees = leaf_values(self._forest).sum(axis=0)
        if not self._is_binomial:
            hyper.update_size(self._counts, self._sizes, self._eta(trees), rng)
        self._move(trees)
        before = self._eta(trees)
        exact = augmented(Counted(self._counts, self._sizes, hyper.size))
        star = self._calibration.star(exact)
        omega, observed = star.draw(before, rng)
        f = self._forest
        changed: tuple[NDArray[Any], ...] = (f.nodes, f.values, f.place, hyper.logs, hyper.at)
        kept, normal = [array.copy() for array in changed], (self._latent, self._own)
        self._augmented_sweep(trees, observed - self._centre, omega)
        after = self._eta(leaf_values(self._forest).sum(axis=0))
        ratio = exact.log_likelihood(after) - star.log_likelihood(after)
        ratio -= exact.log_likelihood(before) - star.log_likelihood(before)
        is_accepted = bool(np.log(rng.random()) < ratio) if star is not exact else True
        if not is_accepted:
            for array, values in zip(changed, kept, strict=True):
                array[:] = values
            self._latent, self._own = normal
        self._calibration.count(after if is_accepted else before, is_accepted)
        self._sweeps += 1, is_accepted

    def _augmented_sweep(self, trees: Vector, z: Vector, omega: Vector) -> None:
        """Update all but omega given what is observed less the centre (n,).

        Everything in one order or in the opposite one: the sweep is then reversible.
        """
        rng, variances = self._random, 1.0 / omega
        back = bool(rng.random() < 0.5)
        factor = self._hyper.factor(variances)
        if back:
            factor = self._hyper.update(factor, z - trees, variances, rng, back=True)
        if self._tree.trees:
            self._sweep_trees(z - trees, factor.spectrum(), back)
        residual = z - leaf_values(self._forest).sum(axis=0)
        if not back:
            factor = self._hyper.update(factor, residual, variances, rng, back=False)
        self._latent, self._own, _ = self._drawn(factor, residual, omega)

    def _sweep_trees(self, residual: Vector, spectrum: Spectrum, back: bool) -> None:
        """Update the trees given pseudo-data less trees (n,) and the precision."""
        if self._field.has_complement:
            # The kernel's sizes are precisions then: all that they say of a leaf is whether it is empty, up to
            # rounding.
            self._bench.min_leaf[0] = 0.5 * spectrum.sizes.min()
        self._forest.residual[:] = residual
        place_all(self._forest, self._bench, spectrum)
        fill_stream(self._stream, self._random)
        sweep_trees(self._forest, back, self._bench, self._rules, spectrum, self._stream)

    def _eta(self, trees: Vector) -> Vector:
        return self._centre + trees + self._field.at_clusters(self._latent) + self._own

    def _drawn(self, factor: Factor, residual: Vector, information: Vector) -> tuple[Vector, Vector, Vector]:
        """Draw field and normal variables given residuals of the trees and their information (n,); also the sum."""
        latent = factor.draw(residual, self._random)
        at = self._field.at_clusters(latent)
        own = self._hyper.draw_own(residual - at, information, self._random)
        return latent, own, at + own

    def _move(self, trees: Vector) -> None:
        """Move field, normal variables and their standard deviations by the likelihood itself."""
        hyper, rng = self._hyper, self._random
        data = Counted(self._counts, self._sizes, hyper.size)
        base, at = self._centre + trees, self._field.at_clusters(self._latent)
        warming = self.done < self.warmup
        worthwhile = self._field_moves[1] >= WORTHWHILE * self._field_moves[0]
        if self._field.has_field and (warming or worthwhile):
            found = move_field(data, base, at + self._own, hyper.factor, self._drawn, rng)
            if warming:
                self._field_moves += 1, found is not None
            if found is not None:
                self._latent, self._own = found
                at = self._field.at_clusters(self._latent)
        if self._field.has_field:
            of_field, linear = self._field.parts(self._latent)
            factor = hyper.stretch(FIELD, data, base + linear + self._own, of_field, rng)
            self._latent[: self._places] *= factor
            at = factor * of_field + linear
        if self._is_binomial:
            self._own = hyper.stretch(ERROR, data, base + at, self._own, rng) * self._own
            self._own = move_own(data, base + at, self._own, hyper.sigma_e, rng)

    def result(self) -> tuple[Vector, ForestTrace, NDArray[np.int64]]:
        """Kept hyperparameters (S, 3), forests, and proposals made and accepted since the warm-up (kinds + 1, 2).

        The last kind is whole sweeps.
        """
        counts = np.vstack([self._bench.counts, self._sweeps])
        return np.concatenate(self._hypers)[self.warmup :], ForestTrace.joined(self._traces), counts

    def fields(self) -> Vector:
        """Kept draws of the field at the clusters or nodes, shape (S, n), (S, m), or (S, 0) without a field."""
        found = np.concatenate(self._fields)
        return found[:, : self._places if self._field.has_field else 0]

    def coefficients(self) -> Vector:
        """Kept draws of the coefficients of a linear part, shape (S, q)."""
        return np.concatenate(self._fields)[:, self._places :]

    def arrays(self) -> Arrays:
        """Everything that the chain needs to go on, and what it has kept."""
        out: Arrays = {"logs": self._hyper.logs.copy(), "at": self._hyper.at.copy(), "steps": self._hyper.steps.copy()}
        out |= {"nodes": self._forest.nodes.copy(), "values": self._forest.values.copy()}
        out |= {"latent": self._latent.copy(), "own": self._own.copy()}
        out |= {"stretches": self._hyper.stretches.copy(), "field_moves": self._field_moves.copy()}
        out |= {"point": self._calibration.at.copy(), "least": self._calibration.least.copy()}
        out |= {"counts": self._bench.counts.copy(), "sweeps": self._sweeps.copy(), "done": np.array(self.done)}
        out["random"] = np.array(json.dumps(self._random.bit_generator.state))
        out["hypers"] = np.concatenate(self._hypers) if self._hypers else np.zeros((0, 3))
        if self._traces:
            self._traces = [ForestTrace.joined(self._traces)]
            self._fields = [np.concatenate(self._fields)]
            out |= self._traces[0].arrays() | {"fields": self._fields[0]}
        return out

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Go back to where :meth:`arrays` was taken."""
        hyper = self._hyper
        hyper.logs[:], hyper.at[:], hyper.steps[:] = arrays["logs"], arrays["at"], arrays["steps"]
        self._forest.nodes[:] = arrays["nodes"]
        self._forest.values[:] = arrays["values"]
        self._bench.counts[:], self._sweeps[:] = arrays["counts"], arrays["sweeps"]
        self._calibration.at[:], self._calibration.least[:] = arrays["point"], arrays["least"]
        hyper.stretches[:], self._field_moves[:] = arrays["stretches"], arrays["field_moves"]
        self._latent, self._own = np.asarray(arrays["latent"], float), np.asarray(arrays["own"], float)
        self.done = int(arrays["done"])
        self._random.bit_generator.state = json.loads(str(arrays["random"]))
        n = len(self._own)
        # The leaves of the clusters follow from the nodes; nothing else of this is used.
        place_all(
            self._forest, self._bench,
            Spectrum(np.zeros((n, 0)), np.zeros(0), np.ones(1), np.ones(n), np.zeros(0)),
        )  # fmt: skip
        kept = np.asarray(arrays["hypers"], float)
        # In the same pieces as before, since tuning looks back over pieces.
        edges = [*range(0, self.warmup, BLOCK), *range(self.warmup, self.total, BLOCK)]
        self._hypers = [part for part in np.split(kept, [e for e in edges if 0 < e < len(kept)]) if len(part)]
        if "fields" in arrays:
            self._traces = [ForestTrace.from_arrays(arrays)]
            self._fields = [np.asarray(arrays["fields"], float)]
