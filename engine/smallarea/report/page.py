"""What all pages have in common: their templates, the time on them, and that a file appears whole or not at all."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from smallarea.io.atomic import atomic_path

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def page_template(name: str) -> Template:
    """Return the template of a page; everything that is put into it is escaped.

    Parameters
    ----------
    name : str
        File among the templates, without its ending.

    Returns
    -------
    jinja2.Template
    """
    return _environment().get_template(f"{name}.html")


def time_words(written: datetime | None) -> str:
    """Say when a page was written: "3 May 2025, 14:05", or nothing."""
    return written.strftime("%d %B %Y, %H:%M").lstrip("0") if written is not None else ""


def write_page(html: str, path: str) -> None:
    """Write an HTML page.

    Parameters
    ----------
    html : str
        The page.
    path : str
        Where to write it.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    with atomic_path(path) as temporary:
        # Ids may hold halves of surrogate pairs, which UTF-8 cannot; they become character references.
        temporary.write_text(html, encoding="utf-8", errors="xmlcharrefreplace", newline="\n")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("smallarea.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
