"""Run by the engine's interpreter, never imported: ``python -I bootstrap.py ENGINE_ROOT smallarea-arguments...``.

An isolated interpreter does not look for modules beside the script or in the working folder, so the folder of the
engine is put first by hand. What keeps the engine from starting is said as an event of the protocol, because the plugin
shows those to the user as they are. Only the standard library, and syntax that old interpreters can read.
"""

import json
import runpy
import sys

OLDEST = (3, 11)
EXIT_CODE = 16


def refuse(text):
    """Say why the engine cannot start, and leave."""
    event = {"type": "error", "family": "EngineUnavailable", "text": text, "exit_code": EXIT_CODE}
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
    raise SystemExit(EXIT_CODE)


def main():
    """Start the engine with the arguments that follow its folder."""
    sys.path.insert(0, sys.argv.pop(1))
    if sys.version_info[:2] < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        refuse("The engine needs Python 3.11 or newer; " + sys.executable + " is Python " + found + ".")
    try:
        runpy.run_module("smallarea", run_name="__main__", alter_sys=True)
    except ImportError as error:
        name = getattr(error, "name", None)
        missing = "the package " + name if name else "a package"
        refuse("The engine cannot start: " + missing + " is missing or broken in " + sys.executable + ": " + str(error))


if __name__ == "__main__":
    main()
