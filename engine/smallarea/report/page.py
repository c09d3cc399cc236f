"""Writing a page: the file appears whole or not at all."""

from __future__ import annotations

from smallarea.io.atomic import atomic_path


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
