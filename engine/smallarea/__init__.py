"""Small area estimation for every polygon of a map."""

from smallarea._version import __version__

__all__ = ["__version__"]
