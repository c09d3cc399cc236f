"""Run by a candidate interpreter, never imported: ``python -I probe.py ENGINE_ROOT``.

Prints one JSON object that says which Python this is and whether each package that the engine needs can be imported.
Importing, and not only looking it up, finds libraries that do not load. Only the standard library, and syntax that old
interpreters can read.
"""

import importlib
import json
import sys

NEEDED = (
    "numpy",
    "scipy",
    "pandas",
    "shapely",
    "pyproj",
    "pyogrio",
    "geopandas",
    "libpysal",
    "qdldl",
    "numba",
    "pydantic",
    "click",
    "rich",
    "jinja2",
    "matplotlib",
)
OPTIONAL = ("arviz", "h5netcdf")


def look(name):
    """Return the version of a package and what went wrong."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return None, type(error).__name__ + ": " + str(error)
    return str(getattr(module, "__version__", "") or installed_version(name)), ""


def installed_version(name):
    """Return the version in the package's metadata."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "?"


def main():
    """Print what was found."""
    sys.path.insert(0, sys.argv[1])
    found = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "packages": {},
        "errors": {},
    }
    names = ("smallarea", *NEEDED, *OPTIONAL) if sys.version_info[:2] >= (3, 11) else ()
    for name in names:
        version, problem = look(name)
        if not problem:
            found["packages"][name] = version
        elif name not in OPTIONAL:
            found["errors"][name] = problem
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
