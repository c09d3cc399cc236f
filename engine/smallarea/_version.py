"""The one place where the version is written (metadata.txt is tested against it)."""

__version__ = "0.1.0"
