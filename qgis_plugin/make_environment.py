"""Run by a base interpreter, never imported: ``python -I make_environment.py POINTER PLUGIN_ROOT VERSION``.

Makes a virtual environment beside the pointer file, installs into it the engine that ships with the plugin, and only
when that has worked lets the pointer name it. A failed or cancelled run therefore leaves what was there before.
Standard input is watched: when it ends, because somebody cancelled or QGIS is gone, the installation stops. Only the
standard library.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

LOCK = "installing.lock"
STALE_SECONDS = 3600
PARTS = ("pyproject.toml", "README.md", "LICENSE", "engine")


class Refused(Exception):
    """The installation cannot go on; the message says why."""


def say(text):
    """Print a line at once: somebody is watching."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    """Make the environment; exit with 1 if that fails."""
    pointer, plugin, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    data = pointer.parent
    data.mkdir(parents=True, exist_ok=True)
    lock = take_lock(data / LOCK)
    folder = Path(tempfile.mkdtemp(prefix="env-" + version + "-", dir=data))
    made = False
    try:
        python = make(folder, plugin)
        write_pointer(pointer, folder, python, version)
        made = True
    finally:
        if not made:
            shutil.rmtree(folder, ignore_errors=True)
        lock.unlink()
    remove_others(data, folder)
    say("Done: " + str(python))


def take_lock(path):
    """Keep a second QGIS from installing at the same time; a lock of a killed run is taken over after an hour."""
    if path.exists() and time.time() - path.stat().st_mtime > STALE_SECONDS:
        path.unlink()
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(str(os.getpid()))
    except FileExistsError:
        raise Refused("Another installation is running. If that is not so, delete " + str(path) + ".") from None
    return path


def make(folder, plugin):
    """Make the environment and install the engine; return its interpreter."""
    say("Making a virtual environment in " + str(folder))
    venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(folder)
    python = folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="smallarea_build_") as build:
        # pip leaves files beside what it builds, and the plugin's folder is not ours to write to.
        copy_engine(plugin, Path(build))
        say("Installing the engine and its packages; this downloads them")
        run(
            [
                str(python),
                "-I",
                "-m",
                "pip",
                "install",
                "--no-input",
                "--disable-pip-version-check",
                build + "[posterior,survey,hmc,surface]",
            ]
        )
    return python


def copy_engine(plugin, build):
    """Copy what pip needs to build the engine."""
    for name in PARTS:
        source = plugin / name
        if source.is_dir():
            shutil.copytree(source, build / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.is_file():
            shutil.copy2(source, build / name)


def run(command):
    """Run a command, pass its output on, and stop it when standard input ends."""
    process = subprocess.Popen(  # noqa: S603  # nosec B603 - the interpreter that was just made
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    threading.Thread(target=stop_when_alone, args=(process,), daemon=True).start()
    with process.stdout:
        for line in process.stdout:
            say(line.rstrip())
    if process.wait() != 0:
        raise Refused("pip ended with exit code " + str(process.returncode) + ".")


def stop_when_alone(process):
    """Wait for the end of standard input, then end the process."""
    while os.read(0, 1024):
        continue
    process.terminate()


def write_pointer(pointer, folder, python, version):
    """Point to the new environment, in one step."""
    text = json.dumps({"folder": str(folder), "python": str(python), "engine": version}, indent=1)
    temporary = pointer.with_name(pointer.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(pointer)


def remove_others(data, keep):
    """Remove older environments; one in use stays, on Windows, until the next time."""
    for folder in data.glob("env-*"):
        if folder != keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except Refused as refused:
        say(str(refused))
        raise SystemExit(1) from None
