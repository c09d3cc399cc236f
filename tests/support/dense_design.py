"""Design variances by loops over strata and units, as the textbooks write them: an oracle for small surveys."""

import numpy as np


def variance(z, stages, lonely="fail"):
    """Covariance matrix of the sums of `z` (n, K); `stages` is a list of (strata, units, populations or None)."""
    return _stage(np.asarray(z, dtype=float), stages, lonely)


def _stage(z, stages, lonely):
    strata, units, populations = stages[0]
    k = z.shape[1]
    total = np.zeros((k, k))
    shares, alone = 0, 0
    names = list(dict.fromkeys(strata))
    for name in names:
        here = np.array([s == name for s in strata])
        inside = [u for u, h in zip(units, here, strict=True) if h]
        labels = list(dict.fromkeys(inside))
        n = len(labels)
        big = np.inf if populations is None else float(np.asarray(populations, dtype=float)[here][0])
        f = 1.0 - n / big
        sums = np.array([z[here][[u == label for u in inside]].sum(axis=0) for label in labels])
        if f <= 1e-7:
            pass
        elif n > 1:
            deviation = sums - sums.mean(axis=0)
            total += f * n / (n - 1) * deviation.T @ deviation
        elif lonely == "adjust":
            total += f * sums.T @ sums
        elif lonely == "average":
            alone += 1
        elif lonely == "fail":
            raise ValueError(name)
        shares += 1
        if len(stages) > 1 and populations is not None:
            for label in labels:
                rows = np.flatnonzero(here)[[u == label for u in inside]]
                later = [
                    (
                        [s[r] for r in rows],
                        [u[r] for r in rows],
                        None if p is None else np.asarray(p, dtype=float)[rows],
                    )
                    for s, u, p in stages[1:]
                ]
                total_later = _stage(z[rows], later, lonely)
                total = total + n / big * total_later if label is not None else total
    return total * (shares / (shares - alone)) if alone else total


def calibrated_influence(z, x, base, calibrated):
    """Residuals of influence values from their regression on the calibration variables, with dense matrices."""
    g = calibrated / base
    slope = np.linalg.pinv(x.T @ np.diag(base) @ x) @ x.T @ (z / g[:, None])
    return z - (calibrated[:, None] * x) @ slope


def hajek_influence(y, weights, inside):
    """Influence values of the mean over some rows."""
    w = np.where(inside, weights, 0.0)
    y = np.where(inside, y, 0.0)
    return w * (y - (w @ y) / w.sum()) / w.sum()
