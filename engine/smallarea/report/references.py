"""The literature that a report rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REFERENCES = {
    "fay-herriot": "Fay, R. E. and Herriot, R. A. (1979). Estimates of income for small places: an application of "
    "James-Stein procedures to census data. Journal of the American Statistical Association 74, 269–277.",
    "rao-molina": "Rao, J. N. K. and Molina, I. (2015). Small Area Estimation, 2nd edition. Wiley.",
    "besag": "Besag, J. (1974). Spatial interaction and the statistical analysis of lattice systems. Journal of the "
    "Royal Statistical Society B 36, 192–236.",
    "leroux": "Leroux, B. G., Lei, X. and Breslow, N. (2000). Estimation of disease rates in small areas: a new "
    "mixed model for spatial dependence. In Statistical Models in Epidemiology, the Environment, and Clinical "
    "Trials, 179–191. Springer.",
    "prasad-rao": "Prasad, N. G. N. and Rao, J. N. K. (1990). The estimation of the mean squared error of "
    "small-area estimators. Journal of the American Statistical Association 85, 163–171.",
    "datta-lahiri": "Datta, G. S. and Lahiri, P. (2000). A unified measure of uncertainty of estimated best linear "
    "unbiased predictors in small area estimation problems. Statistica Sinica 10, 613–627.",
    "datta-rao-smith": "Datta, G. S., Rao, J. N. K. and Smith, D. D. (2005). On measuring the variability of small "
    "area estimators under a basic area level model. Biometrika 92, 183–196.",
    "li-lahiri": "Li, H. and Lahiri, P. (2010). An adjusted maximum likelihood method for solving small area "
    "estimation problems. Journal of Multivariate Analysis 101, 882–892.",
    "yoshimori-lahiri": "Yoshimori, M. and Lahiri, P. (2014). A new adjusted maximum likelihood method for the "
    "Fay-Herriot small area model. Journal of Multivariate Analysis 124, 281–294.",
    "brown": "Brown, G., Chambers, R., Heady, P. and Heasman, D. (2001). Evaluation of small area estimation "
    "methods: an application to unemployment estimates from the UK LFS. Proceedings of Statistics Canada Symposium "
    "2001.",
    "cliff-ord": "Cliff, A. D. and Ord, J. K. (1981). Spatial Processes: Models and Applications. Pion.",
    "shapiro-wilk": "Shapiro, S. S. and Wilk, M. B. (1965). An analysis of variance test for normality (complete "
    "samples). Biometrika 52, 591–611.",
    "besag-york-mollie": "Besag, J., York, J. and Mollié, A. (1991). Bayesian image restoration, with two applications "
    "in spatial statistics. Annals of the Institute of Statistical Mathematics 43, 1–59.",
    "riebler": "Riebler, A., Sørbye, S. H., Simpson, D. and Rue, H. (2016). An intuitive Bayesian spatial model for "
    "disease mapping that accounts for scaling. Statistical Methods in Medical Research 25, 1145–1165.",
    "freni-sterrantino": "Freni-Sterrantino, A., Ventrucci, M. and Rue, H. (2018). A note on intrinsic conditional "
    "autoregressive models for disconnected graphs. Spatial and Spatio-temporal Epidemiology 26, 25–34.",
    "petrucci-salvati": "Petrucci, A. and Salvati, N. (2006). Small area estimation for spatial correlation in "
    "watershed erosion assessment. Journal of Agricultural, Biological, and Environmental Statistics 11, 169–182.",
    "singh": "Singh, B. B., Shukla, G. K. and Kundu, D. (2005). Spatio-temporal models in small area estimation. "
    "Survey Methodology 31, 183–195.",
    "mardia": "Mardia, K. V. (1988). Multi-dimensional multivariate Gaussian Markov random fields with application to "
    "image processing. Journal of Multivariate Analysis 24, 265–284.",
    "jin": "Jin, X., Carlin, B. P. and Banerjee, S. (2005). Generalized hierarchical multivariate CAR models for areal "
    "data. Biometrics 61, 950–961.",
    "benavent-morales": "Benavent, R. and Morales, D. (2016). Multivariate Fay–Herriot models for small area "
    "estimation. Computational Statistics & Data Analysis 94, 372–390.",
    "lewandowski": "Lewandowski, D., Kurowicka, D. and Joe, H. (2009). Generating random correlation matrices based on "
    "vines and extended onion method. Journal of Multivariate Analysis 100, 1989–2001.",
    "kackar-harville": "Kackar, R. N. and Harville, D. A. (1984). Approximations for standard errors of estimators of "
    "fixed and random effects in mixed linear models. Journal of the American Statistical Association 79, 853–862.",
    "cornuet": "Cornuet, J.-M., Marin, J.-M., Mira, A. and Robert, C. P. (2012). Adaptive multiple importance "
    "sampling. Scandinavian Journal of Statistics 39, 798–812.",
    "vehtari": "Vehtari, A., Simpson, D., Gelman, A., Yao, Y. and Gabry, J. (2024). Pareto smoothed importance "
    "sampling. Journal of Machine Learning Research 25(72), 1–58.",
    "hoffman-gelman": "Hoffman, M. D. and Gelman, A. (2014). The No-U-Turn Sampler: adaptively setting path lengths "
    "in Hamiltonian Monte Carlo. Journal of Machine Learning Research 15, 1593–1623.",
    "vehtari-r-hat": "Vehtari, A., Gelman, A., Simpson, D., Carpenter, B. and Bürkner, P.-C. (2021). "
    "Rank-normalization, folding, and localization: an improved R-hat for assessing convergence of MCMC. Bayesian "
    "Analysis 16, 667–718.",
    "clayton-kaldor": "Clayton, D. and Kaldor, J. (1987). Empirical Bayes estimates of age-standardized relative risks "
    "for use in disease mapping. Biometrics 43, 671–681.",
    "vgmsfh": "Wang, Z., Parker, P. A. and Holan, S. H. (2025). Variational autoencoded multivariate spatial "
    "Fay-Herriot models. arXiv:2503.14710.",
    "deeprv": "Navott, J., Jenson, D., Flaxman, S. and Semenova, E. (2025). DeepRV: pre-trained spatial priors for "
    "accelerated disease mapping. arXiv:2503.21473.",
    "sinha-rao": "Sinha, S. K. and Rao, J. N. K. (2009). Robust small area estimation. Canadian Journal of Statistics "
    "37, 381–399.",
    "ybarra-lohr": "Ybarra, L. M. R. and Lohr, S. L. (2008). Small area estimation when auxiliary information is "
    "measured with error. Biometrika 95, 919–931.",
    "slud-maiti": "Slud, E. V. and Maiti, T. (2006). Mean-squared error estimation in transformed Fay–Herriot models. "
    "Journal of the Royal Statistical Society B 68, 239–257.",
    "chipman": "Chipman, H. A., George, E. I. and McCulloch, R. E. (2010). BART: Bayesian additive regression trees. "
    "Annals of Applied Statistics 4, 266–298.",
    "vehtari-loo": "Vehtari, A., Gelman, A. and Gabry, J. (2017). Practical Bayesian model evaluation using "
    "leave-one-out cross-validation and WAIC. Statistics and Computing 27, 1413–1432.",
    "garrett-zeger": "Garrett, E. S. and Zeger, S. L. (2000). Latent class model diagnosis. Biometrics 56, 1055–1067.",
}
_BY_METHOD = {
    "trees": ("chipman", "vehtari-r-hat", "vehtari-loo"),
    "bayes": ("cornuet", "vehtari"),
    "hmc": ("hoffman-gelman", "vehtari-r-hat"),
    "reml": ("prasad-rao", "datta-lahiri"),
    "ml": ("datta-lahiri",),
    "fh": ("datta-rao-smith",),
    "amrl": ("li-lahiri",),
    "ampl": ("li-lahiri",),
    "amrl_yl": ("yoshimori-lahiri",),
    "ampl_yl": ("yoshimori-lahiri",),
    "robust": ("sinha-rao",),
    "ybarra_lohr": ("ybarra-lohr",),
}
_BY_EFFECT = {
    "car": ("besag",),
    "leroux": ("leroux",),
    "icar": ("besag-york-mollie", "freni-sterrantino"),
    "bym2": ("besag-york-mollie", "riebler", "freni-sterrantino"),
    "sar": ("petrucci-salvati", "singh"),
}
# Of the learned spatial prior.
_BY_ARCHITECTURE = {"beta-vae": ("vgmsfh",), "decoder": ("vgmsfh", "deeprv"), "graph-filter": ("vgmsfh",)}


def references(
    model: Mapping[str, Any], *, moran: bool, shapiro: bool, brown: bool, overlap: bool = False
) -> list[str]:
    """List the literature that this report rests on.

    Parameters
    ----------
    model : mapping
        `FitResult.model`.
    moran, shapiro, brown, overlap : bool
        Whether the tests were made, and whether priors and posteriors were compared.

    Returns
    -------
    list of str
        In alphabetical order.
    """
    method, effect = str(model.get("method")), str(model.get("random_effect", ""))
    first = "fay-herriot" if model.get("likelihood", "normal") in ("normal", "beta") else "clayton-kaldor"
    keys = {first, "rao-molina", *_BY_METHOD.get(method, ()), *_BY_EFFECT.get(effect, ())}
    responses = model.get("direct") or ()
    if len(responses) > 1:
        keys |= _of_link(model)
    if model.get("transformation") == "log" and effect == "iid" and len(responses) == 1 and method in ("reml", "ml"):
        keys.add("slud-maiti")
    keys |= set(_BY_ARCHITECTURE.get(str(model.get("architecture", "")), ()))
    if method in ("reml", "ml") and (effect not in ("iid", "sar") or len(responses) > 1):
        keys.add("kackar-harville")
    used = (("cliff-ord", moran), ("shapiro-wilk", shapiro), ("brown", brown), ("garrett-zeger", overlap))
    keys |= {key for key, made in used if made}
    return sorted(_REFERENCES[key] for key in keys)


def _of_link(model: Mapping[str, Any]) -> set[str]:
    """List the sources of the link between several responses."""
    link = str(model.get("link", ""))
    if link == "chain":
        return {"jin"}
    if link not in ("separable", "ar1", "har1"):
        return set()
    keys = {"benavent-morales" if str(model.get("random_effect")) == "iid" else "mardia"}
    return keys | ({"lewandowski"} if str(model.get("method")) in ("bayes", "hmc") else set())
