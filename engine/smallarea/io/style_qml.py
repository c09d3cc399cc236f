"""QML of polygon renderers, written as text.

Only what QGIS 3.22 needs is written; newer versions read it too. The XML is assembled from escaped text:
nothing is parsed here, so no parser is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from smallarea.io.style_classes import Interval

MISSING_COLOUR = "#d9d9d9"
OUTLINE = "110,110,110,255"
NAME_WIDTH = 30
_NOT_XML = re.compile(r"[^\t\n\r -퟿-�\U00010000-\U0010FFFF]")


@dataclass(frozen=True)
class Style:
    """A named style of a layer.

    Attributes
    ----------
    name : str
        What QGIS lists; at most 30 characters, the width of the column.
    description : str
        One line.
    qml : str
        The style as QGIS reads it.
    """

    name: str
    description: str
    qml: str

    def renamed(self, suffix: str) -> Style:
        """Return the style with a suffix in its name, cut to the width of the column."""
        return replace(self, name=f"{self.name} {suffix.removeprefix('_')}"[:NAME_WIDTH])


def told_apart(styles: Sequence[Style]) -> list[Style]:
    """Give styles whose long names were cut to the same one a number.

    Parameters
    ----------
    styles : sequence of Style
        Styles of one layer.

    Returns
    -------
    list of Style
        In the same order, no two of one name.
    """
    taken: set[str] = set()
    result = []
    for style in styles:
        name, count = style.name, 1
        while name in taken:
            count += 1
            end = f" {count}"
            name = style.name[: NAME_WIDTH - len(end)] + end
        taken.add(name)
        result.append(replace(style, name=name))
    return result


@dataclass(frozen=True)
class Hatch:
    """Areas to hatch: those whose text field holds one of the values.

    Attributes
    ----------
    field : str
        Name of the field.
    values : tuple of str
        Values that are hatched.
    label : str
        Legend text.
    """

    field: str
    values: tuple[str, ...]
    label: str

    @property
    def expression(self) -> str:
        """QGIS expression: true for hatched areas; false, not null, in the legend, without a feature."""
        return f"coalesce({_field(self.field)} IN ({', '.join(_literal(v) for v in self.values)}), false)"


@dataclass(frozen=True)
class Category:
    """One class of a categorized style: a value, which is also its label, and its ``#rrggbb``."""

    value: str
    colour: str


def graduated(
    field: str,
    classes: Sequence[Interval],
    colours: Sequence[str],
    *,
    missing: str | None = None,
    hatch: Hatch | None = None,
) -> str:
    """Return a graduated style.

    QGIS does not draw features whose value is null. So that areas without a value stay on the map, the
    classified expression turns null into a number below all classes, which has a grey class of its own.

    Parameters
    ----------
    field : str
        Numeric field.
    classes : sequence of Interval
        Classes in ascending order.
    colours : sequence of str
        One ``#rrggbb`` for each class.
    missing : str, optional
        Legend text of the class for null; no such class if not given.
    hatch : Hatch, optional
        Areas to hatch over their colour.

    Returns
    -------
    str
    """
    below = _below(classes)
    shown = list(zip(classes, colours, strict=True))
    attribute = _field(field) if missing is None else f"coalesce({_field(field)}, {below!r})"
    if missing is not None:
        shown.append((Interval(below, below, missing), MISSING_COLOUR))
    symbols = [_symbol(str(i), colour, hatch.expression if hatch else None) for i, (_, colour) in enumerate(shown)]
    ranges = [_range(str(i), interval) for i, (interval, _) in enumerate(shown)]
    if hatch is not None:
        # A class that no value can reach: it is there for the legend only.
        key = str(len(shown))
        ranges.append(_range(key, Interval(2 * below, 2 * below, hatch.label)))
        symbols.append(_symbol(key, "#ffffff", "true"))
    body = f"<ranges>{''.join(ranges)}</ranges><symbols>{''.join(symbols)}</symbols>"
    opening = f'type="graduatedSymbol" graduatedMethod="GraduatedColor" attr="{_text(attribute)}"'
    return _document(opening, body)


def categorized(field: str, categories: Sequence[Category]) -> str:
    """Return a style with one colour for each value of a text field.

    Parameters
    ----------
    field : str
        Text field.
    categories : sequence of Category
        Values with their legend texts and colours, in the order of the legend.

    Returns
    -------
    str
    """
    entries = "".join(_category(str(i), c.value, c.value) for i, c in enumerate(categories))
    symbols = "".join(_symbol(str(i), c.colour, None) for i, c in enumerate(categories))
    body = f"<categories>{entries}</categories><symbols>{symbols}</symbols>"
    return _document(f'type="categorizedSymbol" attr="{_text(_field(field))}"', body)


def _below(classes: Sequence[Interval]) -> float:
    """Return a negative number below every class, far enough that twice the number is another one."""
    lowest = min((c.lower for c in classes), default=0.0)
    return -(abs(lowest) * 2 + 1e6)


def _document(opening: str, body: str) -> str:
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22.0" styleCategories="Symbology">'
        f'<renderer-v2 {opening} symbollevels="0" forceraster="0" enableorderby="0">{body}</renderer-v2>'
        "<blendMode>0</blendMode><featureBlendMode>0</featureBlendMode><layerGeometryType>2</layerGeometryType></qgis>"
    )


def _range(key: str, interval: Interval) -> str:
    return (
        f'<range symbol="{key}" lower="{interval.lower!r}" upper="{interval.upper!r}" '
        f'label="{_text(interval.label)}" render="true"/>'
    )


def _category(key: str, value: str, label: str) -> str:
    shown = f'value="{_text(value)}" label="{_text(label)}"'
    return f'<category symbol="{key}" {shown} render="true" type="string"/>'


def _symbol(key: str, colour: str, hatched_where: str | None) -> str:
    layers = _layer(
        "SimpleFill",
        {"color": _rgba(colour), "outline_color": OUTLINE, "outline_width": "0.1", "style": "solid"},
    )
    if hatched_where is not None:
        # A dark line on a light one: to be seen on every colour of a ramp.
        line = "".join(
            _layer("SimpleLine", {"line_color": colour, "line_width": width})
            for colour, width in (("255,255,255,255", "0.6"), ("40,40,40,255", "0.22"))
        )
        inner = f'<symbol type="line" alpha="1" clip_to_extent="1" name="@{key}@1">{line}</symbol>'
        layers += _layer("LinePatternFill", {"angle": "45", "distance": "1.8"}, _where(hatched_where) + inner)
    return f'<symbol type="fill" alpha="1" clip_to_extent="1" name="{key}">{layers}</symbol>'


def _layer(kind: str, options: dict[str, str], inner: str = "") -> str:
    entries = "".join(_option("QString", name, value) for name, value in options.items())
    opening = f'<layer class="{kind}" enabled="1" locked="0" pass="0">'
    return f'{opening}<Option type="Map">{entries}</Option>{inner}</layer>'


def _where(expression: str) -> str:
    """Return the data-defined property that switches a symbol layer on."""
    enabled = (
        _option("bool", "active", "true") + _option("QString", "expression", expression) + _option("int", "type", "3")
    )
    return (
        '<data_defined_properties><Option type="Map"><Option type="QString" name="name" value=""/>'
        f'<Option type="Map" name="properties"><Option type="Map" name="enabled">{enabled}</Option></Option>'
        '<Option type="QString" name="type" value="collection"/></Option></data_defined_properties>'
    )


def _option(kind: str, name: str, value: str) -> str:
    return f'<Option type="{kind}" name="{name}" value="{_text(value)}"/>'


def _rgba(colour: str) -> str:
    """Turn ``#rrggbb`` into QGIS's ``r,g,b,a``."""
    return ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5)) + ",255"


def _text(value: str) -> str:
    """Escape for an XML attribute and drop the characters that XML cannot hold."""
    return escape(_NOT_XML.sub("", value), quote=True)


def _field(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
