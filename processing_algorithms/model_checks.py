"""Which choices in the fit's dialog go together: said here before anything runs, as the engine would say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from .inputs import InputProblem

AUTO = ["auto"]
_CHAINS = ("car", "leroux")
_LIKELIHOOD = ("reml", "ml")
_BAYESIAN = ("bayes", "hmc")
# Orders of a chain are tried up to this many responses, as the engine has it.
_MOST_TO_ORDER = 4
# Shorter names occur in others by chance.
_SHORTEST_NAME = 3


@dataclass(frozen=True)
class ModelChoice:
    """What the dialog says of the model.

    Attributes
    ----------
    direct, variance, covariance : sequence of str
        Fields, in their order.
    correlation : float or None
        Assumed sampling correlation.
    effect, link, method : str
        As in the job.
    order : sequence of str
        Order of a chain, empty for that of ``direct``.
    iid_part : bool or None
        None for the default.
    draws_wanted : bool
        Whether a file for the posterior draws is named.
    """

    direct: Sequence[str]
    variance: Sequence[str]
    covariance: Sequence[str] = ()
    correlation: float | None = None
    effect: str = "car"
    link: str = "separable"
    order: Sequence[str] = ()
    method: str = "bayes"
    iid_part: bool | None = None
    draws_wanted: bool = False


def check_model(choice: ModelChoice) -> None:
    """Refuse choices that contradict each other.

    Parameters
    ----------
    choice : ModelChoice
        What was chosen.

    Raises
    ------
    InputProblem
        Saying what to change.
    """
    _check_fields(choice)
    _check_sampling(choice)
    _check_effect(choice)
    _check_order(choice)
    if choice.draws_wanted and choice.method not in _BAYESIAN:
        raise InputProblem(f"The method '{choice.method}' has no posterior draws to write; 'bayes' has.")


def pairing(direct: Sequence[str], variance: Sequence[str], covariance: Sequence[str]) -> str:
    """Say which field belongs to which, for the log.

    Parameters
    ----------
    direct, variance, covariance : sequence of str
        Fields, in their order.

    Returns
    -------
    str
        One line.
    """
    pairs = list(combinations(direct, 2))
    parts = [f"{name} with {variance[place]}" for place, name in enumerate(direct)]
    parts += [f"{pairs[place][0]} and {pairs[place][1]} with {name}" for place, name in enumerate(covariance)]
    return f"Taken together, estimate with variance and pair with covariance: {'; '.join(parts)}"


def _check_fields(choice: ModelChoice) -> None:
    direct, variance = list(choice.direct), list(choice.variance)
    if len(direct) != len(variance):
        raise InputProblem(
            f"There are {len(direct)} fields with direct estimates ({_listed(direct)}) and {len(variance)} with "
            f"sampling variances ({_listed(variance)}). Choose one variance for each direct estimate, in the same "
            "order."
        )
    for a, b in combinations(range(len(direct)), 2):
        if _swapped(direct[a], direct[b], variance[a], variance[b]):
            raise InputProblem(
                f"The variances seem to be in another order than the direct estimates: '{direct[a]}' would have the "
                f"variance '{variance[a]}', and '{direct[b]}' would have '{variance[b]}'. Open the list of sampling "
                "variances and drag the checked fields into the order of the direct estimates."
            )


def _swapped(one: str, other: str, of_one: str, of_other: str) -> bool:
    """Say whether each variance is called after the other direct estimate."""
    if min(len(one), len(other)) < _SHORTEST_NAME:
        return False
    one, other, of_one, of_other = (name.casefold() for name in (one, other, of_one, of_other))
    return other in of_one and one in of_other and not (one in of_one and other in of_other)


def _check_sampling(choice: ModelChoice) -> None:
    k, covariance = len(choice.direct), list(choice.covariance)
    if k == 1 and (covariance or choice.correlation is not None):
        raise InputProblem(
            "Sampling covariances and a sampling correlation are between several responses; there is only one. Leave "
            "them empty, or choose further direct estimates."
        )
    if covariance and choice.correlation is not None:
        raise InputProblem(
            "Either choose the fields with sampling covariances, or assume a sampling correlation; not both."
        )
    pairs = [f"{a} and {b}" for a, b in combinations(choice.direct, 2)]
    if covariance and len(covariance) != len(pairs):
        raise InputProblem(
            f"{k} responses have {len(pairs)} sampling covariances, {len(covariance)} fields are chosen "
            f"({_listed(covariance)}). Choose one for each pair, in this order: {'; '.join(pairs)}."
        )
    if choice.correlation is not None and not -1.0 / (k - 1) < choice.correlation < 1.0:
        raise InputProblem(
            f"A sampling correlation that {k} responses share lies between {-1.0 / (k - 1):.3g} and 1, both excluded."
        )


def _check_effect(choice: ModelChoice) -> None:
    several, effect, method = len(choice.direct) > 1, choice.effect, choice.method
    if method not in (*_BAYESIAN, *_LIKELIHOOD) and (effect != "iid" or several):
        raise InputProblem(
            f"The method '{method}' fits one response with independent effects only. Choose 'iid' as area random "
            "effect and one direct estimate, or the method 'bayes', 'reml' or 'ml'."
        )
    if effect == "sar" and (method not in _LIKELIHOOD or several or choice.iid_part):
        raise InputProblem(
            "The area random effect 'sar' is fitted by the method 'reml' or 'ml', for one response and without an "
            "independent effect beside it. Choose these, or another random effect."
        )
    if effect == "iid" and choice.iid_part is False:
        raise InputProblem(
            "With the area random effect 'iid' the independent effect is all there is: leave it at 'default'."
        )
    if choice.link == "chain" and several and effect not in _CHAINS:
        raise InputProblem(
            f"A chain of responses needs the area random effect 'car' or 'leroux', not '{effect}'. Choose one of "
            "them, or the link 'separable'."
        )


def _check_order(choice: ModelChoice) -> None:
    order, direct = list(choice.order), list(choice.direct)
    if not order:
        return
    if choice.link != "chain" or len(direct) == 1:
        raise InputProblem("An order of responses belongs to the link 'chain' with two responses or more.")
    if order == AUTO:
        if len(direct) > _MOST_TO_ORDER:
            raise InputProblem(
                f"The order 'auto' tries every order, for up to {_MOST_TO_ORDER} responses; there are {len(direct)}. "
                "Write the order."
            )
        return
    if sorted(order) != sorted(direct):
        raise InputProblem(
            f"The order of the chain must name each response once, separated by semicolons: {'; '.join(direct)}. It "
            f"names {_listed(order)}."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
