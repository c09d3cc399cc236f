"""What was done to a map on request, in sentences: repairs, and links that an island rule added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smallarea.areas.areas import Areas
    from smallarea.areas.graph import AreaGraph

MOST = 20


def change_notes(areas: Areas | None, graph: AreaGraph | None) -> tuple[str, ...]:
    """Say what was changed, so that nothing is repaired or linked silently.

    Parameters
    ----------
    areas : Areas or None
        Polygons with their repairs.
    graph : AreaGraph or None
        A graph whose provenance names the links that were added.

    Returns
    -------
    tuple of str
        At most twenty sentences and one that counts the rest.
    """
    links = () if graph is None else graph.provenance.get("links_added", ())
    repairs = () if areas is None else areas.repairs
    return first_few((*repairs, *(_link(*link) for link in links)))


def first_few(sentences: Iterable[str]) -> tuple[str, ...]:
    """Keep the first twenty sentences and count the rest."""
    items = tuple(sentences)
    rest = len(items) - MOST
    return items if rest <= 0 else (*items[:MOST], f"And {rest} more like these.")


def _link(island: str, nearest: str, metres: float | None) -> str:
    # A distance that could not be measured is None.
    return f"Linked {island!r} to {nearest!r}" + ("." if metres is None else f", {metres:.0f} m away.")
