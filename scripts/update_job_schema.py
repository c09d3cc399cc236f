"""Write ``resources/job_schema.json`` from the engine's job models.

Run it with the engine's Python after a change of ``smallarea/jobs/schema.py``; with ``--check`` it only says
whether the file is up to date.
"""

import argparse
import json
import sys
from pathlib import Path

from smallarea.jobs.schema import json_schema

TARGET = Path(__file__).resolve().parent.parent / "resources" / "job_schema.json"


def main() -> int:
    """Write or compare the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is old")
    check = parser.parse_args().check
    text = json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
    current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if check:
        if text != current:
            sys.stderr.write(f"{TARGET} is out of date: run {sys.argv[0]}\n")
        return int(text != current)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
