"""The models of a comparison: short descriptions, read and completed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smallarea.area_level import AreaLevelSpecification, specify
from smallarea.area_level.specification import EFFECT_NAMES, LINK_NAMES, METHOD_NAMES
from smallarea.errors import JobProblem, SmallareaError, named

# What a description may say; the names are those of the task `fit`.
KEYS = ("name", "random_effect", "link", "order", "iid_part", "intercept", "covariates", "method", "priors")
# The others give no predictive distribution of a direct estimate that could be scored.
COMPARED_METHODS = ("bayes", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl")
_WORDS = {
    **dict.fromkeys(EFFECT_NAMES, "random_effect"),
    **dict.fromkeys(LINK_NAMES, "link"),
    **dict.fromkeys(METHOD_NAMES, "method"),
}
_NOT_COMPARED = ("robust", "ybarra_lohr", "ar1", "har1")
_LISTS = ("order", "covariates")
_YES_NO = ("iid_part", "intercept")
_TRUTH = {"yes": True, "true": True, "no": False, "false": False}
_PRIOR = "priors."


@dataclass(frozen=True)
class Candidate:
    """One model of a comparison.

    Attributes
    ----------
    name : str
        How tables and messages call it.
    specification : AreaLevelSpecification
        What it is.
    """

    name: str
    specification: AreaLevelSpecification


def read_models(
    models: Sequence[str | Mapping[str, Any]],
    *,
    responses: Sequence[str],
    covariates: Sequence[str],
    method: str,
    spatial: bool,
) -> tuple[Candidate, ...]:
    """Read the descriptions, or take the default ladder.

    Parameters
    ----------
    models : sequence of str or mapping
        Descriptions; none for the ladder: iid, car, leroux and bym2 for one response; iid independent, iid separable,
        car independent, car separable and car chain for several.
    responses : sequence of str
        Names of the responses.
    covariates : sequence of str
        Covariates of the models that name none.
    method : str
        Method of the models that name none.
    spatial : bool
        Whether neighbours are known; without them the ladder has independent effects only.

    Returns
    -------
    tuple of Candidate
        With names of their own.

    Raises
    ------
    JobProblem
        If a description cannot be read, or two models have one name.
    ModelProblem, PriorProblem
        If the parts of a model contradict each other.
    """
    told = [_read_one(model) for model in models] or _ladder(len(responses), spatial, method)
    found = []
    for model in told:
        if model.get("method", method) not in COMPARED_METHODS:
            raise JobProblem(
                f"A comparison takes the methods {named(COMPARED_METHODS, len(COMPARED_METHODS))}; got "
                f"{model.get('method', method)!r}."
            )
        name = str(model.get("name") or _name(model, len(responses), method))
        parts = {key: value for key, value in model.items() if key != "name"}
        try:
            specification = specify(
                parts.pop("covariates", covariates),
                responses=responses,
                **{"method": method, **parts},
            )
        except SmallareaError as error:
            raise type(error)(f"Model {name!r}: {error}") from error
        _check_comparable(name, specification)
        found.append(Candidate(name, specification))
    names = [candidate.name for candidate in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise JobProblem(f"Two models are called {named(twice)}. Give them names: name=... in each description.")
    return tuple(found)


def _check_comparable(name: str, specification: AreaLevelSpecification) -> None:
    """Refuse models that give no distribution to predict direct estimates from."""
    for value, what in ((specification.method, "method"), (specification.link, "link")):
        if value in _NOT_COMPARED:
            raise JobProblem(
                f"Model {name!r}: {what} {value!r} can be fitted, but not compared. Choose another {what} for the "
                "comparison."
            )


def _ladder(responses: int, spatial: bool, method: str) -> list[dict[str, Any]]:
    spatial = spatial and method in ("bayes", "reml", "ml")
    if responses == 1:
        return [{"random_effect": effect} for effect in (("iid", "car", "leroux", "bym2") if spatial else ("iid",))]
    pairs = [("iid", "independent"), ("iid", "separable")]
    pairs += [("car", "independent"), ("car", "separable"), ("car", "chain")] if spatial else []
    return [{"random_effect": effect, "link": link} for effect, link in pairs]


def _read_one(model: str | Mapping[str, Any]) -> dict[str, Any]:
    parts = parse_model(model) if isinstance(model, str) else dict(model)
    strangers = [str(key) for key in parts if key not in KEYS]
    if strangers:
        raise JobProblem(f"A model has no {named(strangers)}. It may say {named(KEYS, len(KEYS))}.")
    for key in _LISTS:
        if isinstance(parts.get(key), str):
            parts[key] = [parts[key]]
    if "auto" in parts.get("order", ()):
        raise JobProblem("A comparison takes no order 'auto': describe a model for each order, and they are compared.")
    for key in _YES_NO:
        if key in parts and not isinstance(parts[key], bool):
            raise JobProblem(f"{key} of a model is true or false; got {parts[key]!r}.")
    return parts


def parse_model(text: str) -> dict[str, Any]:
    """Read a description like ``car chain order=a,b covariates=poverty,age priors.rho=Uniform(0,1) name=mine``.

    Parameters
    ----------
    text : str
        Words between blanks; what holds a blank stands in quotes. A single word is a random effect, a link or a
        method; everything else is ``key=value``. Lists have commas between their parts.

    Returns
    -------
    dict
        Keys of ``KEYS``.

    Raises
    ------
    JobProblem
        If a word is unknown or something is said twice.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise JobProblem(f"The model {text!r} cannot be read: {error}. Close every quotation mark.") from error
    if not words:
        raise JobProblem("A model is described by an empty text. Write for example 'car' or 'iid reml'.")
    parts: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            if word not in _WORDS:
                known = f"{named(EFFECT_NAMES, 9)}, {named(LINK_NAMES, 9)}, {named(METHOD_NAMES, 9)}"
                raise JobProblem(
                    f"The model {text!r} has the unknown word {word!r}. Known are {known}; anything else is "
                    "key=value, for example covariates=poverty,age."
                )
            key, value = _WORDS[word], word
        _put(parts, key, value, text)
    return parts


def _put(parts: dict[str, Any], key: str, value: str, text: str) -> None:
    if key.startswith(_PRIOR):
        priors = parts.setdefault("priors", {})
        if key.removeprefix(_PRIOR) in priors:
            raise JobProblem(f"The model {text!r} says {key!r} twice.")
        priors[key.removeprefix(_PRIOR)] = value
        return
    if key in parts:
        raise JobProblem(f"The model {text!r} says {key!r} twice.")
    if key in _YES_NO:
        if value.lower() not in _TRUTH:
            raise JobProblem(f"The model {text!r}: {key} is yes or no; got {value!r}.")
        parts[key] = _TRUTH[value.lower()]
    elif key in _LISTS:
        parts[key] = [part.strip() for part in value.split(",") if part.strip()]
    else:
        parts[key] = value


def _name(model: Mapping[str, Any], responses: int, method: str) -> str:
    """Name a model by what it says of itself."""
    words = [str(model.get("random_effect", "car"))]
    if responses > 1:
        words.append(str(model.get("link", "separable")))
    if model.get("order"):
        words.append(" | ".join(model["order"]))
    if model.get("iid_part") is not None:
        words.append("with iid part" if model["iid_part"] else "without iid part")
    if model.get("method", method) != method:
        words.append(str(model["method"]))
    if "covariates" in model:
        words.append("on " + (" + ".join(model["covariates"]) or "no covariate"))
    if model.get("intercept") is False:
        words.append("without intercept")
    return " ".join(words)
