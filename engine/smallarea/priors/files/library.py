"""A folder of prior files on this machine, found by geography.

Files are called ``ARCHITECTURE-FAMILY-GEOGRAPHY-PRIOR.safetensors``: sixteen digits of the graph's fingerprint, eight
of the prior's identity. Names are made from what was checked, never from texts inside a file. A file that somebody put
there under another name is listed and found like any other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smallarea.areas.graph import AreaGraph
from smallarea.errors import OutputProblem, PriorProblem, named
from smallarea.priors.decoders import check_geography
from smallarea.priors.files.prior_file import (
    SUFFIX,
    PathLike,
    PriorHeader,
    load_prior,
    prior_identity,
    read_header,
    save_prior,
)
from smallarea.priors.prior import SpatialPrior

FOLDER_VARIABLE = "SMALLAREA_PRIORS"


@dataclass(frozen=True)
class LibraryEntry:
    """One file of a library.

    Attributes
    ----------
    name : str
        Name of the file without its ending.
    path : pathlib.Path
        The file.
    header : PriorHeader or None
        What it says of itself; None if it is damaged.
    problem : str
        What is wrong with it; empty if nothing is.
    """

    name: str
    path: Path
    header: PriorHeader | None
    problem: str = ""


def default_folder(environment: Mapping[str, str] | None = None, platform: str | None = None) -> Path:
    """Say where the library of this user is.

    Parameters
    ----------
    environment : mapping, optional
        Environment variables; those of this process by default.
    platform : str, optional
        As ``sys.platform``; that of this machine by default.

    Returns
    -------
    pathlib.Path
        ``$SMALLAREA_PRIORS`` if that is set. Otherwise ``smallarea/priors`` in the place for the data of programs:
        ``$XDG_DATA_HOME`` or ``~/.local/share``, on Windows ``%APPDATA%``, on macOS ``~/Library/Application Support``.
    """
    variables = os.environ if environment is None else environment
    system = sys.platform if platform is None else platform
    if variables.get(FOLDER_VARIABLE):
        return Path(variables[FOLDER_VARIABLE]).expanduser()
    if system == "win32":
        home = variables.get("APPDATA") or os.path.join("~", "AppData", "Roaming")
    elif system == "darwin":
        home = os.path.join("~", "Library", "Application Support")
    else:
        # The specification wants relative paths ignored.
        named_home = variables.get("XDG_DATA_HOME", "")
        home = named_home if os.path.isabs(named_home) else os.path.join("~", ".local", "share")
    return Path(home).expanduser() / "smallarea" / "priors"


@dataclass(frozen=True)
class PriorLibrary:
    """A folder of prior files; it need not exist before the first prior is added.

    Attributes
    ----------
    folder : pathlib.Path
        The folder.
    """

    folder: Path

    @classmethod
    def at(cls, folder: PathLike | None = None) -> PriorLibrary:
        """Return the library in a folder, by default that of this user."""
        return cls(default_folder() if folder is None else Path(folder))

    def entries(self) -> tuple[LibraryEntry, ...]:
        """List the files by name; damaged ones carry what is wrong with them.

        Only headers are read, so that damage among the weights of a file is not seen here; `load_prior` finds it.

        Raises
        ------
        PriorProblem
            If the folder is a file or cannot be read.
        """
        if not self.folder.exists():
            return ()
        try:
            # Names with a dot in front are files that are being written.
            files = sorted(p for p in self.folder.iterdir() if p.suffix == SUFFIX and not p.name.startswith("."))
        except OSError as error:
            raise PriorProblem(f"Cannot read the library {self.folder}: {error.strerror or error}.") from error
        return tuple(map(_entry, files))

    def path_of(self, prior: SpatialPrior) -> Path:
        """Return the file that a prior has or will have here."""
        parts = (prior.architecture, prior.family.name, prior.fingerprint[:16], prior_identity(prior)[:8])
        return self.folder / ("-".join(parts) + SUFFIX)

    def add(self, prior: SpatialPrior) -> Path:
        """Write a prior into the library; the same prior replaces itself, with its newer records and certificate.

        Parameters
        ----------
        prior : SpatialPrior
            The prior.

        Returns
        -------
        pathlib.Path
            Its file.

        Raises
        ------
        PriorProblem
            If it cannot be saved.
        OutputProblem
            If the folder cannot be made or written to.
        """
        self.make_folder()
        path = self.path_of(prior)
        save_prior(path, prior)
        return path

    def find(self, graph: AreaGraph) -> tuple[LibraryEntry, ...]:
        """List the priors that serve a geography: first those trained for it, then those that transfer."""
        usable = [entry for entry in self.entries() if entry.header is not None]
        own = [entry for entry in usable if entry.header and entry.header.fingerprint == graph.fingerprint]
        others = [entry for entry in usable if entry not in own and entry.header and entry.header.transfers]
        return (*own, *others)

    def choose(self, name: str, graph: AreaGraph | None = None) -> LibraryEntry:
        """Find one prior by name.

        Parameters
        ----------
        name : str
            Name of a file without its ending, or how it begins: an architecture, an architecture and a family, ...
        graph : AreaGraph, optional
            The geography to serve. Priors trained for it go before those that transfer.

        Returns
        -------
        LibraryEntry
            The one that is meant.

        Raises
        ------
        PriorProblem
            If there is none, if there are several, or if the one that is named is damaged.
        """
        name = name.removesuffix(SUFFIX)
        listed = self.entries()
        for entry in listed:
            if entry.name == name:
                if entry.header is None:
                    raise PriorProblem(entry.problem)
                return entry
        serving = [entry for entry in listed if entry.header is not None] if graph is None else self.find(graph)
        found = [entry for entry in serving if entry.name.startswith(f"{name}-")]
        if graph is not None:
            own = [entry for entry in found if entry.header and entry.header.fingerprint == graph.fingerprint]
            found = own or found
        if len(found) > 1:
            raise PriorProblem(
                f"{len(found)} priors in the library {self.folder} are called {name!r}...: "
                f"{named(entry.name for entry in found)}. Give the whole name of one."
            )
        if not found:
            have = f"It has {named(entry.name for entry in listed)}." if listed else "It is empty."
            where = " for this geography" if graph is not None else ""
            raise PriorProblem(
                f"There is no prior {name!r}{where}, neither as a file nor in the library {self.folder}. {have} Train "
                "one ('smallarea prior train'), or give the path of a prior file."
            )
        return found[0]

    def make_folder(self) -> None:
        """Make the folder.

        Raises
        ------
        OutputProblem
            If it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputProblem(f"Cannot make the library {self.folder}: {error.strerror or error}.") from error


def resolve(
    prior: PathLike | SpatialPrior, graph: AreaGraph | None = None, library: PathLike | None = None
) -> SpatialPrior:
    """Load a prior by the path of its file or by its name in the library.

    Parameters
    ----------
    prior : path, str or SpatialPrior
        A file, or a name as `PriorLibrary.choose` takes it. A file goes first. A loaded prior is only checked.
    graph : AreaGraph, optional
        The geography that it has to serve.
    library : path, optional
        Folder of the library; that of this user by default.

    Returns
    -------
    SpatialPrior
        The prior.

    Raises
    ------
    PriorProblem
        If there is no such prior, if it is damaged, or if it was trained for another geography and does not transfer.
    """
    loaded = prior if isinstance(prior, SpatialPrior) else load_prior(locate(prior, graph, library))
    if graph is not None:
        check_geography(loaded, graph)
    return loaded


def locate(prior: PathLike, graph: AreaGraph | None = None, library: PathLike | None = None) -> Path:
    """Return the file of a prior; parameters and errors are those of `resolve`."""
    text = os.fspath(prior)
    if os.path.lexists(text) or os.path.basename(text) != text:
        return Path(text)
    return PriorLibrary.at(library).choose(text, graph).path


def _entry(path: Path) -> LibraryEntry:
    try:
        return LibraryEntry(path.stem, path, read_header(path))
    except PriorProblem as error:
        return LibraryEntry(path.stem, path, None, str(error))
