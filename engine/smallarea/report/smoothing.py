"""The report of smoothed variances: what they depend on, how far raw ones are from it, and which areas stand out."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea._version import __version__
from smallarea.report.formatting import MISSING, fixed, percent, plural, setting, significant
from smallarea.report.page import page_template, time_words, write_page
from smallarea.report.smoothing_figures import raw_chart, residual_chart, size_chart
from smallarea.survey.smoothed import OUTLYING, outliers

if TYPE_CHECKING:
    from smallarea.survey.smoothed import SmoothedVariances
    from smallarea.survey.smoothing import SmoothedResponse

_MOST_OUTLIERS = 10
_METHODS = {
    "log_linear": "a regression of the logarithms of the raw variances",
    "gamma": "a gamma regression of the raw variances with logarithmic link",
    "n_eff": "a pooled value, the same for every area of a group, divided by the sample size",
}
_CORRECTIONS = {
    "ratio": "so that the smoothed variances of these areas add up to the raw ones",
    "lognormal": "exp(s²/2), as residuals are taken to be normal",
    "smearing": "the mean of the residuals' exponentials",
    "none": "nothing makes up for the mean of logarithms, so that smoothed variances are too small on average",
}


def write_smoothing_report(result: SmoothedVariances, path: str, *, written: datetime | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    result : SmoothedVariances
        What was smoothed.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_smoothing(result, written=written or datetime.now().astimezone()), path)


def render_smoothing(result: SmoothedVariances, *, written: datetime | None = None) -> str:
    """Return the report as a self-contained HTML page.

    Parameters
    ----------
    result : SmoothedVariances
        What was smoothed.
    written : datetime, optional
        The time to print in it; none if not given, so that the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    shown = {name: value for name, value in result.settings.items() if value is not None and list(_items(value))}
    return page_template("smoothing").render(
        title=setting(result.settings["direct"]),
        source=str(result.areas.source) if result.areas is not None else "",
        written=time_words(written),
        version=__version__,
        warnings=list(result.warnings),
        notes=list(result.notes),
        responses=[_response(one, str(result.settings["bias_correction"])) for one in result.responses],
        call=[(name, setting(value)) for name, value in shown.items()],
    )


def _response(response: SmoothedResponse, bias_correction: str) -> dict[str, Any]:
    function = response.function
    far = outliers(response)[:_MOST_OUTLIERS]
    size = size_chart(response)
    return {
        "name": response.raw.name,
        "lead": _lead(response, bias_correction),
        "coefficients": [
            {"term": term, "estimate": significant(estimate), "se": significant(se) if np.isfinite(se) else MISSING}
            for term, estimate, se in zip(function.terms, function.coefficients, function.se, strict=True)
        ],
        "pooled": function.method == "n_eff",
        "size": size,
        "raw": raw_chart(response),
        "residual": residual_chart(response, far, OUTLYING),
        "outliers": [_outlier(response, row, number) for number, row in enumerate(far, start=1)],
        "n_outliers": len(outliers(response)),
        "beyond": f"{OUTLYING:g}",
        "lines": response.raw.df is None,
    }


def _outlier(response: SmoothedResponse, row: int, number: int) -> dict[str, str]:
    raw, fitted = float(response.raw.variance[row]), float(response.function.fitted[row])
    size = response.raw.size
    return {
        "number": str(number),
        "area": response.raw.ids[row],
        "direct": significant(response.raw.direct[row], 4),
        "n": significant(size[row], 4) if size is not None else "",
        "raw": significant(raw),
        "function": significant(fitted),
        "smoothed": significant(response.variance[row]),
        "ratio": fixed(raw / fitted, 2),
    }


def _lead(response: SmoothedResponse, bias_correction: str) -> list[str]:
    """Say the whole in a few sentences."""
    function = response.function
    found = [
        f"The function is {_METHODS[function.method]}, fitted to {plural(int(function.used.sum()), 'area')}; it "
        f"explains {percent(function.r_squared)} of the variation of the variances. A raw variance is typically "
        f"within a factor of {fixed(np.exp(function.residual_sd), 2)} of it."
    ]
    if function.method == "log_linear":
        found.append(
            f"Its exponential is multiplied by {significant(function.correction, 4)}: {_CORRECTIONS[bias_correction]}."
        )
    if response.prior_df is not None:
        if np.isinf(response.prior_df):
            found.append(
                "Raw variances differ from the function no more than they must by chance, so that they keep no say."
            )
        else:
            found.append(
                f"Raw variances keep a say: the function counts as {significant(response.prior_df)} degrees of freedom."
            )
    replaced = int(response.replaced.sum())
    if replaced:
        found.append(f"{plural(replaced, 'area')} had no usable raw variance and got the function's (flag 'smoothed').")
    return found


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
