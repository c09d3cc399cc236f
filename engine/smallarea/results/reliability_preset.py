"""Reliability presets: named rules that say which estimates may be published, kept as JSON that can be edited.

The rule ``cv`` judges by the coefficient of variation, the standard error over the absolute estimate; the rule
``log_proportion`` judges a proportion p by the relative standard error of -ln(p), or of -ln(1 - p) above one half, so
that p and 1 - p get the same class. Thresholds are in percent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smallarea.errors import JobProblem, named

RULES = ("cv", "log_proportion")
OTHERWISE, NOT_MEANINGFUL, NO_ESTIMATE = "otherwise", "not meaningful", "no estimate"
_SPECIAL = (OTHERWISE, NOT_MEANINGFUL, NO_ESTIMATE)
_PRESET_KEYS = {"name", "title", "description", "source", "rule", "decimals", "classes"}
_CLASS_KEYS = {"label", "meaning", "colour", "up_to", "below", "effective_n_above", "when"}


@dataclass(frozen=True)
class ReliabilityClass:
    """One class of a preset.

    Attributes
    ----------
    label : str
        What the estimates table says in ``flag``.
    meaning : str
        One sentence for readers: what may be done with such an estimate.
    colour : str
        ``#rrggbb``.
    up_to, below : float or None
        Largest relative error in percent, itself included (``up_to``) or not (``below``); at most one of the two.
    effective_n_above : float or None
        Effective sample size that a proportion must exceed as well; rule ``log_proportion`` only.
    when : str or None
        ``otherwise``, ``not meaningful`` or ``no estimate`` for the classes without a threshold.
    """

    label: str
    meaning: str
    colour: str
    up_to: float | None = None
    below: float | None = None
    effective_n_above: float | None = None
    when: str | None = None

    @property
    def limit(self) -> float | None:
        """Largest relative error in percent, None for a class without a threshold."""
        return self.up_to if self.up_to is not None else self.below

    def admits(self, percent: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Whether relative errors are within the limit of the class."""
        if self.up_to is not None:
            return percent <= self.up_to
        return percent < (self.below if self.below is not None else -np.inf)

    def as_mapping(self) -> dict[str, Any]:
        """Return the class as it stands in a preset file."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class ReliabilityPreset:
    """A named rule that says which estimates may be published.

    Attributes
    ----------
    name, title, description, source : str
        What it is called, in short and in full, what it says and where it comes from.
    rule : {'cv', 'log_proportion'}
        What is compared with the thresholds.
    decimals : int or None
        Decimals of the percentage that is compared; not rounded if None.
    classes : tuple of ReliabilityClass
        From best to worst, then the classes without a relative error.
    """

    name: str
    title: str
    description: str
    source: str
    rule: str
    decimals: int | None
    classes: tuple[ReliabilityClass, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all classes, from best to worst."""
        return tuple(c.label for c in self.classes)

    def label_when(self, when: str) -> str:
        """Label of the class for a case without a threshold: ``otherwise``, ``not meaningful`` or ``no estimate``."""
        return next(c.label for c in self.classes if c.when == when)

    def as_mapping(self) -> dict[str, Any]:
        """Return the preset as plain data: what a preset file holds, and `FitResult.reliability`."""
        plain: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "source": self.source,
            "rule": self.rule,
        }
        if self.decimals is not None:
            plain["decimals"] = self.decimals
        plain["classes"] = [c.as_mapping() for c in self.classes]
        return plain


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with smallarea."""
    folder = resources.files("smallarea.results") / "presets"
    return tuple(sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json")))


def load_preset(name_or_path: str | Path) -> ReliabilityPreset:
    """Load a preset by its name, or from a JSON file of one's own.

    Parameters
    ----------
    name_or_path : str or path-like
        One of `preset_names`, or the path of a JSON file.

    Returns
    -------
    ReliabilityPreset
        Checked.

    Raises
    ------
    JobProblem
        If there is no such preset or file, or if the file is not a preset; the message names what is wrong in it.
    """
    text = str(name_or_path)
    if text in preset_names():
        source = resources.files("smallarea.results") / "presets" / f"{text}.json"
        return preset_from_mapping(json.loads(source.read_text(encoding="utf-8")), where=f"preset {text!r}")
    path = Path(name_or_path)
    if not path.is_file():
        raise JobProblem(
            f"There is no reliability preset {text!r}, nor a file of that name. Presets: {', '.join(preset_names())}."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise JobProblem(f"Cannot read the reliability preset {text!r}: {error.strerror or error}.") from error
    except ValueError as error:
        raise JobProblem(f"The reliability preset {text!r} is not valid JSON: {error}.") from error
    return preset_from_mapping(data, where=f"reliability preset {text!r}")


def preset_from_mapping(data: Any, where: str = "reliability preset") -> ReliabilityPreset:
    """Check plain data and make a preset of it.

    Parameters
    ----------
    data : mapping
        What a preset file holds.
    where : str
        What to call it in messages.

    Returns
    -------
    ReliabilityPreset
        The preset.

    Raises
    ------
    JobProblem
        Naming the first thing that is wrong and how to mend it.
    """
    if not isinstance(data, Mapping):
        raise JobProblem(f"The {where} must be a JSON object with {_listed(_PRESET_KEYS)}.")
    _refuse_unknown(data, _PRESET_KEYS, where)
    rule = data.get("rule", "cv")
    if rule not in RULES:
        raise JobProblem(f"The {where} has the rule {rule!r}; there are {_listed(RULES)}.")
    decimals = data.get("decimals")
    if decimals is not None and (isinstance(decimals, bool) or decimals not in range(6)):
        raise JobProblem(f"'decimals' in the {where} must be a whole number from 0 to 5, got {decimals!r}.")
    entries = data.get("classes")
    if not isinstance(entries, list) or not entries:
        raise JobProblem(f"The {where} needs 'classes': a list of classes from best to worst.")
    classes = tuple(_read_class(entry, number, rule, where) for number, entry in enumerate(entries, start=1))
    _check_classes(classes, where)
    name = _text(data, "name", where)
    return ReliabilityPreset(
        name=name,
        title=_text(data, "title", where, name),
        description=_text(data, "description", where, ""),
        source=_text(data, "source", where, ""),
        rule=rule,
        decimals=decimals,
        classes=classes,
    )


def _read_class(entry: Any, number: int, rule: str, where: str) -> ReliabilityClass:
    place = f"class {number} of the {where}"
    if not isinstance(entry, Mapping):
        raise JobProblem(f"The {place} must be a JSON object with {_listed(_CLASS_KEYS)}.")
    _refuse_unknown(entry, _CLASS_KEYS, place)
    label = _text(entry, "label", place)
    colour = _text(entry, "colour", place)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise JobProblem(f"'colour' in the {place} must look like '#004488', got {colour!r}.")
    when = entry.get("when")
    if when is not None and when not in _SPECIAL:
        raise JobProblem(f"'when' in the {place} must be {_listed(_SPECIAL)}, got {when!r}.")
    numbers = {key: _number(entry, key, place) for key in ("up_to", "below", "effective_n_above")}
    limits = (numbers["up_to"] is not None) + (numbers["below"] is not None)
    if limits + (when is not None) != 1:
        raise JobProblem(
            f"The {place} needs exactly one of 'up_to' (limit included), 'below' (limit not included) and 'when'."
        )
    if numbers["effective_n_above"] is not None and (rule != "log_proportion" or not limits):
        raise JobProblem(f"'effective_n_above' in the {place} goes with the rule 'log_proportion' and a limit only.")
    return ReliabilityClass(
        label=label, meaning=_text(entry, "meaning", place, ""), colour=colour, when=when, **numbers
    )


def _check_classes(classes: tuple[ReliabilityClass, ...], where: str) -> None:
    labels = [c.label for c in classes]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise JobProblem(f"The {where} has more than one class labelled {named(repeated)}; labels must differ.")
    for when in _SPECIAL:
        count = sum(c.when == when for c in classes)
        if count != 1:
            raise JobProblem(f'The {where} needs exactly one class with "when": "{when}", but has {count or "none"}.')
    limits = [c.limit for c in classes if c.limit is not None]
    if not limits:
        raise JobProblem(f"The {where} needs at least one class with a threshold ('up_to' or 'below').")
    if any(later <= earlier for earlier, later in pairwise(limits)):
        raise JobProblem(
            f"The thresholds of the {where} must increase from class to class, got {_listed(f'{x:g}' for x in limits)}."
        )
    if limits[-1] <= 1.0:
        raise JobProblem(
            f"The thresholds of the {where} are percentages, but the largest is {limits[-1]:g}. Write 16.5, not 0.165."
        )


def _refuse_unknown(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = [str(key) for key in data if key not in known]
    if unknown:
        raise JobProblem(f"The {where} has unknown entries {named(unknown)}; known are {_listed(known)}.")


def _text(data: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise JobProblem(f"The {where} needs {key!r}, a text.")
    return value


def _number(data: Mapping[str, Any], key: str, where: str) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value) or value <= 0:
        raise JobProblem(f"{key!r} in the {where} must be a positive number, got {value!r}.")
    return float(value)


def _listed(items: Iterable[str]) -> str:
    return ", ".join(sorted(items) if isinstance(items, set) else items)
