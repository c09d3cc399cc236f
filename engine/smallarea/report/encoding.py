"""Figures to pieces of HTML: SVG where it is light, PNG where it is not; the same bytes for the same figure."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI.

    Attributes
    ----------
    uri : str
        ``data:image/...``, for the ``src`` of an image: there, even a hostile SVG could not run anything.
    width, height : int
        Pixels at 96 to the inch.
    """

    uri: str
    width: int
    height: int


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of so many inches, outside pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def as_svg(figure: Figure) -> Picture:
    """Encode a figure as SVG."""
    buffer = io.StringIO()
    # dpi is that of the parts drawn as pixels, such as clouds of thousands of points.
    figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    text = _light(_steady_ids(buffer.getvalue()))
    return _picture(figure, "svg+xml", text.encode())


def as_png(figure: Figure, dpi: int) -> Picture:
    """Encode a figure as PNG of 128 colours on white: enough for a map of a few classes with smooth edges."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_facecolor("white")
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(colors=128, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return _picture(figure, "png", buffer.getvalue())


def _picture(figure: Figure, kind: str, data: bytes) -> Picture:
    width, height = figure.get_size_inches()
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(uri, round(96 * float(width)), round(96 * float(height)))


def _steady_ids(svg: str) -> str:
    # matplotlib salts its ids with a random number unless a global setting says otherwise; numbering them in order of
    # appearance makes the file reproducible without touching that setting.
    numbers: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"{match[1]}{len(numbers)}")

    return re.sub(r"(?<=[\"#])([a-z]|image)[0-9a-f]{10}(?=[\")])", rename, svg)


def _light(svg: str) -> str:
    """Write coordinates of paths with two decimals, a hundredth of a point, and without line breaks."""

    def shorter(match: re.Match[str]) -> str:
        path = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", match[1])
        return f' d="{" ".join(path.split())}"'

    return re.sub(r"\sd=\"([^\"]*)\"", shorter, svg)
