"""The result of a fit: what the writers, the report and the user take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from smallarea.areas import AreaGraph, Areas
    from smallarea.results.posterior import PosteriorDraws


@dataclass(frozen=True)
class FitResult:
    """Estimates of one model with all that is needed to judge them.

    Attributes
    ----------
    estimates : pandas.DataFrame
        The estimates table: one row for each area and response, in the order of the graph's ids, columns ``area``,
        ``response``, ``direct``, ``direct_se``, ``estimate``, ``se``, ``cv``, ``lower``, ``upper``, ``shrinkage``,
        ``sampled`` (bool), ``flag``, ``note`` (text, empty if there is nothing to say). Units are those of the input.
        Missing numbers are NaN.
    area_diagnostics : pandas.DataFrame
        Row for row with ``estimates``: ``area``, ``response``, ``synthetic`` (the regression part x'beta),
        ``random_effect`` (estimate minus synthetic), ``std_residual`` (of leaving the area out: (direct - estimate) /
        sqrt(v - c), c the variance of the area's quantity given the hyperparameters; NaN where not sampled). A
        frequentist fit adds ``mse``, ``g1``, ``g2``, ``g3`` as far as there are such parts; a robust one ``outlying``;
        ``ybarra_lohr`` ``covariate_error`` and ``uncorrected``; a bootstrap of SAR effects ``mse_bias_corrected``. All
        of this is on the scale of the model. After a transformation, ``model_direct``, ``model_direct_se``,
        ``model_estimate`` and ``model_se`` are what the estimates table had on that scale. A
        model with neighbours or several responses adds ``plain_estimate`` and ``plain_se``, those of plain shrinkage
        (each response by itself, independent effects, REML).
    coefficients : pandas.DataFrame
        Columns ``response``, ``term``, ``estimate``, ``se``, ``lower``, ``upper`` on the scale of the input (of the
        model, where the direct estimates were transformed; so are hyperparameters and fit statistics).
    hyperparameters : pandas.DataFrame
        Columns ``name``, ``description``, ``estimate``, ``se``, ``lower``, ``upper``, ``ess``, ``prior`` (text; empty
        when
        frequentist; ``ess`` then NaN). Standard deviations are on the scale of the input, priors on the standardised
        scale.
    fit_statistics : mapping
        Name to number, for example ``log_likelihood``, ``aic``, ``bic`` (frequentist) or ``log_marginal_likelihood``.
    diagnostics : mapping
        Name to number or text: ``ess_min``, ``pareto_k``, ``evaluations``, ``moran_i``, ``moran_p``, ``shapiro_w``,
        ``shapiro_p`` ...; a missing key means that it does not apply.
    model : mapping
        What was fitted, printable: ``formula``, ``method``, ``random_effect``, ``link``, ``order``, ``iid_part``,
        ``direct``, ``variance``, ``covariance``, ``covariates``, ``covariate_variance``, ``n_eff`` (lists),
        ``sampling_correlation``, ``transformation``, ``back_transformation`` (in words, empty if there is none),
        ``level``,
        ``n_areas``, ``n_sampled`` (areas with a direct estimate of any response).
    warnings : tuple of str
        Few and worth reading; each names what it speaks of.
    dropped : pandas.DataFrame
        Columns ``what`` ("area" or "table row"), ``id``, ``reason``: everything that was left out or has no estimate.
    graph : AreaGraph or None
        None for a model without a spatial part that was given no polygons.
    areas : Areas or None
        The polygons (row order of ``estimates``), None if there were none.
    posterior : PosteriorDraws or None
        None for a frequentist method.
    reliability : mapping
        The preset: ``name``, ``description``, ``classes`` (list of dicts with ``label``, ``meaning``, ``colour``).
    call : mapping
        The parameters of the call, as in the job.
    timings : mapping
        Stage to seconds, in order.
    versions : mapping
        Package to version, with ``smallarea`` and ``python``.
    """

    estimates: pd.DataFrame
    area_diagnostics: pd.DataFrame
    coefficients: pd.DataFrame
    hyperparameters: pd.DataFrame
    fit_statistics: Mapping[str, float]
    diagnostics: Mapping[str, Any]
    model: Mapping[str, Any]
    warnings: tuple[str, ...]
    dropped: pd.DataFrame
    graph: AreaGraph | None
    areas: Areas | None
    posterior: PosteriorDraws | None
    reliability: Mapping[str, Any]
    call: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the map on request: repairs, links that an island rule added."""
        from smallarea.areas.changes import change_notes

        return change_notes(self.areas, self.graph)

    def for_report(self) -> FitResult:
        """Return the fit as the report takes it: with a response for each map."""
        return self

    def more_sheets(self) -> dict[str, pd.DataFrame]:
        """Return tables that only this kind of fit has, by the name of their sheet."""
        return {}

    def layer(self) -> gpd.GeoDataFrame:
        """Return the estimates joined to their polygons, in the layer's coordinate reference system.

        Returns
        -------
        geopandas.GeoDataFrame
            The id field in its original type and name, the other columns of the estimates table except ``area``.

        Raises
        ------
        GeometryProblem
            If the fit had no polygons.
        """
        from smallarea.results.layers import estimates_layer

        return estimates_layer(self)
