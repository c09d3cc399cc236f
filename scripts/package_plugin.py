"""Pack the plugin as the zip that QGIS installs: ``dist/smallarea_qgis-<version>.zip``.

It holds what git tracks of the plugin and the engine under one top folder, nothing else, in a fixed order and with
fixed times, so that the same commit always gives the same bytes.
"""

import argparse
import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = "smallarea_qgis"
PARTS = (
    "__init__.py",
    "metadata.txt",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "engine/smallarea/",
    "qgis_plugin/",
    "processing_algorithms/",
    "resources/",
)
# What the plugin repository refuses or warns about, and what nobody needs in QGIS.
REFUSED = (".pyc", ".so", ".dll", ".exe", ".sh", ".dylib", ".pkl", ".zip", ".gpkg", ".parquet")
MOST_BYTES = 25_000_000
# The earliest time that a zip can hold.
TIME = (1980, 1, 1, 0, 0, 0)


def version(root: Path = ROOT) -> str:
    """Return the version in metadata.txt, which a test holds against the engine's."""
    parser = configparser.ConfigParser()
    parser.read(root / "metadata.txt", encoding="utf-8")
    return parser["general"]["version"]


def packed_files(root: Path = ROOT) -> list[Path]:
    """Return the files that belong into the zip, relative to the root, sorted.

    Raises
    ------
    ValueError
        If one of them may not be there, or something that has to be there is missing.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--", *PARTS]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.decode("utf-8")
    files = sorted(Path(name) for name in listed.split("\0") if name)
    refused = [str(f) for f in files if f.suffix in REFUSED or any(part.startswith(".") for part in f.parts)]
    if refused:
        raise ValueError(f"not allowed in the zip: {', '.join(refused)}")
    names = {f.as_posix() for f in files}
    missing = [part for part in PARTS if not any(n == part or n.startswith(part) for n in names)]
    if missing:
        raise ValueError(f"git tracks no {', '.join(missing)}")
    return files


def pack(target: Path, root: Path = ROOT) -> int:
    """Write the zip and return its size.

    Raises
    ------
    ValueError
        If it is larger than the plugin repository takes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in packed_files(root):
            entry = zipfile.ZipInfo(f"{TOP}/{file.as_posix()}", TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (root / file).read_bytes())
    size = target.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{target} has {size} bytes; the plugin repository takes {MOST_BYTES}")
    return size


def main() -> int:
    """Pack and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="zip to write; by default in dist/")
    target = parser.parse_args().output or ROOT / "dist" / f"{TOP}-{version()}.zip"
    size = pack(target)
    sys.stdout.write(f"{target} ({size / 1000:.0f} kB)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
