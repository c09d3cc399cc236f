"""The numbers that the report talks about, one block for each response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from smallarea.errors import SmallareaError
from smallarea.report.formatting import Scale, scale_for
from smallarea.results.reliability import (
    NO_ESTIMATE,
    ReliabilityPreset,
    classify,
    coefficient_of_variation,
    preset_from_mapping,
)
from smallarea.results.residual_tests import (
    AgreementTest,
    MoranTest,
    NormalityTest,
    agreement,
    morans_i,
    normality,
    spatial_lag,
)

if TYPE_CHECKING:
    import pandas as pd

    from smallarea.results.fit_result import FitResult

PERMUTATIONS = 499
MAX_CHANGES = 10
_DIAGNOSTICS = (
    "std_residual",
    "random_effect",
    "synthetic",
    "plain_estimate",
    "plain_se",
    "model_direct",
    "model_direct_se",
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityRow:
    """How many estimates are in one class.

    Attributes
    ----------
    label, meaning, colour : str
        Of the class.
    direct, model, predicted : int
        Direct estimates; model estimates in the same areas; model estimates where there is no direct estimate.
    """

    label: str
    meaning: str
    colour: str
    direct: int
    model: int
    predicted: int


@dataclass(frozen=True)
class ResponseFacts:
    """What is known about one response.

    Attributes
    ----------
    name : str
        Name of the response.
    table : pandas.DataFrame
        Its rows of the estimates table, index 0, 1, ...
    residual : numpy.ndarray
        Standardised residuals, NaN where there is none.
    scale : Scale
        How to write estimates and standard errors.
    arrays : dict
        Numeric columns of ``table`` as float arrays, with ``cv_direct``, ``plain_se`` and ``cv_plain`` (plain
        shrinkage, NaN where it was not computed) and ``change`` ((estimate - direct) / direct_se).
    has_direct, has_estimate : numpy.ndarray of bool
        Which areas have a direct estimate with its error, and which an estimate.
    relative : bool
        Whether the CV suits the estimates: all of one sign, and their errors mostly smaller than they are.
    reliability : tuple of ReliabilityRow
        Empty if the preset is not known.
    preset : ReliabilityPreset or None
        The rule, if it can be read.
    normality, moran, agreement
        Tests of the standardised residuals; None where they are not defined.
    pattern : MoranTest or None
        Moran's I of direct estimate minus regression part: what there is for a spatial effect to use.
    lag : numpy.ndarray or None
        Mean residual of the neighbours.
    largest : list of int
        Rows of the largest changes, in order.
    """

    name: str
    table: pd.DataFrame
    residual: FloatArray
    scale: Scale
    arrays: dict[str, FloatArray]
    has_direct: npt.NDArray[np.bool_]
    has_estimate: npt.NDArray[np.bool_]
    relative: bool
    reliability: tuple[ReliabilityRow, ...]
    preset: ReliabilityPreset | None
    normality: NormalityTest | None
    moran: MoranTest | None
    pattern: MoranTest | None
    agreement: AgreementTest | None
    lag: FloatArray | None
    largest: list[int] = field(default_factory=list)

    @property
    def both(self) -> npt.NDArray[np.bool_]:
        """Areas with a direct estimate and a model estimate with its error."""
        return self.has_direct & self.has_estimate & np.isfinite(self.arrays["se"])

    def median(self, column: str, where: npt.NDArray[np.bool_]) -> float:
        """Median of a column over some areas, NaN if there is none."""
        values = self.arrays[column][where]
        values = values[np.isfinite(values)]
        return float(np.median(values)) if values.size else float("nan")

    @property
    def se_change(self) -> float:
        """Median of the ratio of the model's to the direct standard error, minus one."""
        both = self.both
        return (
            float(np.median(self.arrays["se"][both] / self.arrays["direct_se"][both])) - 1.0 if both.any() else np.nan
        )


def gather(result: FitResult) -> list[ResponseFacts]:
    """Work out the facts of each response.

    Parameters
    ----------
    result : FitResult
        The fit.

    Returns
    -------
    list of ResponseFacts
        In the order in which the responses appear.
    """
    preset = _preset(result.reliability)
    estimates = result.estimates
    seed = result.call.get("seed", 1)
    seed = seed if isinstance(seed, int) and seed >= 0 else 1
    blocks = []
    for response in dict.fromkeys(estimates["response"]):
        rows = (estimates["response"] == response).to_numpy()
        table = estimates.loc[rows].reset_index(drop=True)
        diagnostics = result.area_diagnostics.loc[rows] if len(result.area_diagnostics) == len(rows) else None
        parts = {
            c: diagnostics[c].to_numpy(np.float64, na_value=np.nan)
            if diagnostics is not None and c in diagnostics
            else np.full(len(table), np.nan)
            for c in _DIAGNOSTICS
        }
        blocks.append(_facts(str(response), table, parts, result, preset, seed))
    return blocks


def _facts(
    name: str,
    table: pd.DataFrame,
    parts: dict[str, FloatArray],
    result: FitResult,
    preset: ReliabilityPreset | None,
    seed: int,
) -> ResponseFacts:
    columns = ("direct", "direct_se", "estimate", "se", "lower", "upper", "shrinkage")
    arrays = {c: table[c].to_numpy(np.float64, na_value=np.nan) for c in columns}
    arrays["cv"] = coefficient_of_variation(arrays["estimate"], arrays["se"])
    arrays["cv_direct"] = coefficient_of_variation(arrays["direct"], arrays["direct_se"])
    arrays["plain_se"] = parts["plain_se"]
    arrays["cv_plain"] = coefficient_of_variation(parts["plain_estimate"], parts["plain_se"])
    residual, effect, synthetic = (parts[c] for c in ("std_residual", "random_effect", "synthetic"))
    has_direct = np.isfinite(arrays["direct"]) & (arrays["direct_se"] > 0.0)
    has_estimate = np.isfinite(arrays["estimate"])
    change = np.full(len(table), np.nan)
    np.divide(arrays["estimate"] - arrays["direct"], arrays["direct_se"], out=change, where=has_direct & has_estimate)
    arrays["change"] = change

    known = arrays["estimate"][has_estimate]
    cv = arrays["cv"][has_estimate]
    # With an interval around zero a CV is no measure; a few such areas do not spoil the map, many do.
    one_sign = max(np.mean(known > 0.0), np.mean(known < 0.0)) > 0.98 if known.size else False
    relative = bool(one_sign and np.mean(cv < 0.5) > 0.8)

    effects = effect[np.isfinite(effect)]
    spread = np.sqrt(np.mean(effects**2) if effects.size else 0.0)
    # With a transformation the model, and so the regression part, is of the transformed estimates.
    direct, direct_se = (
        np.where(np.isfinite(parts[f"model_{c}"]), parts[f"model_{c}"], arrays[c]) for c in ("direct", "direct_se")
    )
    raw = (direct - synthetic) / np.where(has_direct, np.hypot(direct_se, spread), np.nan)

    graph = result.graph if result.graph is not None and len(result.graph.ids) == len(table) else None
    ranked = np.argsort(-np.where(np.isfinite(change), np.abs(change), -1.0), kind="stable")
    largest = [int(i) for i in ranked[:MAX_CHANGES] if np.isfinite(change[i]) and change[i] != 0.0]
    return ResponseFacts(
        name=name,
        table=table,
        residual=residual,
        scale=scale_for(np.concatenate([arrays["se"], arrays["direct_se"]]), arrays["estimate"]),
        arrays=arrays,
        has_direct=has_direct,
        has_estimate=has_estimate,
        relative=relative,
        reliability=_reliability_rows(table, has_direct, result.reliability, preset, result.model),
        preset=preset,
        normality=normality(residual, seed=seed),
        moran=morans_i(residual, graph, permutations=PERMUTATIONS, seed=seed) if graph is not None else None,
        pattern=morans_i(raw, graph, permutations=0) if graph is not None else None,
        agreement=agreement(table),
        lag=spatial_lag(residual, graph) if graph is not None else None,
        largest=largest,
    )


def _preset(reliability: Mapping[str, Any]) -> ReliabilityPreset | None:
    try:
        return preset_from_mapping(dict(reliability))
    except SmallareaError:
        return None  # a preset without thresholds: the flags are there, the direct estimates cannot be classed


def _reliability_rows(
    table: pd.DataFrame,
    has_direct: npt.NDArray[np.bool_],
    reliability: Mapping[str, Any],
    preset: ReliabilityPreset | None,
    model: Mapping[str, Any],
) -> tuple[ReliabilityRow, ...]:
    flags = table["flag"].to_numpy(dtype=object)
    before = np.full(len(table), None, dtype=object)
    if preset is not None:
        before = classify(_direct_as_estimates(table, model), preset)
    rows = []
    for one in reliability.get("classes", ()):
        label = str(one.get("label", ""))
        row = ReliabilityRow(
            label=label,
            meaning=str(one.get("meaning", "")),
            colour=str(one.get("colour", "")),
            direct=int(np.count_nonzero((before == label) & has_direct)),
            model=int(np.count_nonzero((flags == label) & has_direct)),
            predicted=int(np.count_nonzero((flags == label) & ~has_direct)),
        )
        # The ordinary classes are shown even when empty: that nothing is unreliable is a result.
        if one.get("when") in (None, "otherwise") or row.direct or row.model or row.predicted:
            rows.append(row)
    return tuple(rows)


def _direct_as_estimates(table: pd.DataFrame, model: Mapping[str, Any]) -> pd.DataFrame:
    """Return the direct estimates as if they were the result, with intervals of the same level."""
    import pandas as pd
    from scipy import stats

    level = model.get("level", 0.95)
    half = float(stats.norm.ppf(0.5 + 0.5 * float(level))) * table["direct_se"]
    return pd.DataFrame(
        {
            "estimate": table["direct"],
            "se": table["direct_se"],
            "lower": table["direct"] - half,
            "upper": table["direct"] + half,
        }
    )


def no_estimate_label(facts: ResponseFacts) -> str:
    """Label of the class of areas without an estimate."""
    return facts.preset.label_when(NO_ESTIMATE) if facts.preset is not None else NO_ESTIMATE
