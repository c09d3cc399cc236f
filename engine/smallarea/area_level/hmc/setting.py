"""From a specification, data, a graph and perhaps a learned prior to the model that chains run on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from smallarea.area_level.build import effect_nodes
from smallarea.area_level.hmc.coordinates import DEPENDENCE, coordinates
from smallarea.area_level.hmc.filter_field import FilterField
from smallarea.area_level.hmc.model import HmcModel, steer
from smallarea.area_level.hmc.observations import Observations
from smallarea.area_level.hmc.projection import Directions
from smallarea.area_level.hmc.start import first_guess
from smallarea.area_level.hmc.unit_fields import DecodedField, UnitField, density_field
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.errors import GraphProblem, JobProblem, ModelProblem, PriorProblem
from smallarea.priors.decoders import bind
from smallarea.priors.families import family

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph
    from smallarea.priors.prior import SpatialPrior

FORMS: Mapping[str, str] = {
    "auto": "density for CAR and Leroux effects, filter for BYM2 and intrinsic ones, the prior if one is given",
    "density": "sparse density of the effect, whose values are the unknowns",
    "filter": "white noise through a filter on the graph that gives the exact prior",
    "prior": "white noise through a learned spatial prior",
}
# Where the filter's range of rho ends; beyond it no data tell one rho from another.
NEAREST_RHO = 1.0 - 1e-6


class Setting:
    """A model with the form of its spatial effect chosen, and what there is to say about it."""

    def __init__(
        self,
        observations: Observations,
        specification: AreaLevelSpecification,
        graph: AreaGraph | None,
        form: str,
        prior: SpatialPrior | None,
    ) -> None:
        self.observations = observations
        self.notes: list[str] = []
        self.form = chosen_form(specification, form, prior)
        layout = specification.layout
        prior = self._prior(specification, graph, prior)
        known = prior.family.hyperparameters if prior is not None and prior.conditional else ()
        if prior is not None and not known:
            layout = tuple(parameter for parameter in layout if parameter.kind not in DEPENDENCE)
        k = len(specification.responses)
        trained = None
        if self.form == "filter":
            trained = (0.0, 1.0)  # the filter's table covers all of it
        elif known:
            trained = (known[0].lower, known[0].upper)
        self.listed = coordinates(layout, specification.priors, k, trained)
        self._say_what_is_cut(specification)
        order = tuple(specification.responses.index(name) for name in specification.order)
        degree = float(np.mean(graph.degrees)) if graph is not None else 1.0
        intrinsic = specification.random_effect == "bym2"
        self.guess = first_guess(
            observations,
            1.0 if intrinsic else degree,
            spatial=specification.spatial,
            iid_part=specification.iid_part,
        )
        self.steering = steer(observations, self.guess.weights)
        self.model = HmcModel(
            observations,
            self.listed,
            order,
            self._field(specification, graph, prior),
            graph,
            iid_part=specification.iid_part,
            steering=self.steering,
        )

    def _prior(
        self, specification: AreaLevelSpecification, graph: AreaGraph | None, prior: SpatialPrior | None
    ) -> SpatialPrior | None:
        """Return the prior that fields are made with, if any: the one given, or the family's graph filter."""
        if self.form not in ("filter", "prior"):
            return None
        if graph is None:
            raise GraphProblem(f"A {specification.random_effect!r} random effect needs a graph of neighbours.")
        effect_nodes(specification, graph)
        if prior is None:
            from smallarea.priors.graph_filter import standard_filter

            ends = (None, None) if specification.random_effect == "icar" else (0.0, NEAREST_RHO)
            return standard_filter(family(specification.random_effect, lower=ends[0], upper=ends[1]), graph)
        if prior.family.name != specification.random_effect:
            raise PriorProblem(
                f"The spatial prior imitates {prior.family.name!r} effects, but the model has "
                f"{specification.random_effect!r} ones. Choose random_effect {prior.family.name!r}, or another prior."
            )
        if not prior.conditional and specification.random_effect != "icar":
            self.notes.append(
                "The spatial prior has rho integrated out over the distribution that it was trained with; the prior of "
                "rho in the model is not used and rho is not estimated."
            )
        return prior

    def _say_what_is_cut(self, specification: AreaLevelSpecification) -> None:
        for coordinate in self.listed:
            low, high = specification.priors[coordinate.parameter.name].support
            cut = max(coordinate.lower - low, min(high, NEAREST_RHO) - coordinate.upper)
            if coordinate.parameter.kind in DEPENDENCE and cut > 0.0:
                self.notes.append(
                    f"The prior of {coordinate.parameter.name} is truncated to {coordinate.lower:g} to "
                    f"{coordinate.upper:g}, the range that the spatial prior knows."
                )

    def _field(
        self, specification: AreaLevelSpecification, graph: AreaGraph | None, prior: SpatialPrior | None
    ) -> UnitField | None:
        k = len(specification.responses)
        if prior is not None and graph is not None:
            if prior.architecture != "graph-filter":
                return DecodedField(bind(prior, graph), k)
            designs = [self.observations.design[:, k, at] for k, at in enumerate(self.observations.terms)]
            return FilterField(prior, graph, designs, self.guess.weights)
        if self.form == "iid":
            return None
        if graph is None:
            raise GraphProblem(f"A {specification.random_effect!r} random effect needs a graph of neighbours.")
        nodes, edges = effect_nodes(specification, graph)
        lowest = min(c.lower for c in self.listed if c.parameter.kind == "rho")
        directions = self._directions(specification)
        return density_field(specification.random_effect, nodes, edges, len(graph.ids), k, lowest, directions)

    def _directions(self, specification: AreaLevelSpecification) -> Directions | None:
        """Designs of which the effect may have columns: its mixing of responses must keep their span."""
        terms, x = self.observations.terms, self.observations.design
        if specification.link in ("chain", "time"):
            return None
        designs = [x[:, k, at] for k, at in enumerate(terms)]
        alike = all(np.array_equal(designs[0], other) for other in designs[1:])
        if not alike and (specification.link == "separable" or len({d.shape[1] for d in designs}) > 1):
            return None
        return Directions(np.stack(designs), self.guess.weights.T)


def chosen_form(specification: AreaLevelSpecification, form: str, prior: SpatialPrior | None) -> str:
    """Return the form that a model is fitted in: 'density', 'filter', 'prior', or 'iid' without a spatial effect.

    Raises
    ------
    JobProblem
        If the form is unknown, or a prior is given to another form or missing.
    ModelProblem
        If the effect has no density with a sparse form here.
    """
    if form not in FORMS:
        raise JobProblem(f"Unknown form {form!r}; there are {', '.join(FORMS)}.")
    if (form == "prior") != (prior is not None) and not (form == "auto" and prior is not None):
        raise JobProblem("Form 'prior' and a learned spatial prior belong together: give both or neither.")
    if not specification.spatial:
        if form not in ("auto",):
            raise JobProblem(f"A model with independent area effects has no spatial effect for form {form!r}.")
        return "iid"
    has_density = specification.random_effect in ("car", "leroux")
    if form == "auto":
        form = "prior" if prior is not None else "density" if has_density else "filter"
    if specification.random_effect == "gp" and form != "prior":
        raise ModelProblem(
            "A 'gp' effect is known through a learned prior only. Train one for this map (architecture 'decoder', "
            "family 'gp') and give it as spatial_prior."
        )
    if form == "density" and not has_density:
        raise ModelProblem(
            f"A {specification.random_effect!r} effect has no sparse density of full rank. Choose form 'filter'."
        )
    return form
