"""Scan what the plugin's zip holds as the plugin repository does before it accepts an upload.

Bandit and detect-secrets block an upload there on any finding, so any finding fails here too. Flake8 only reports
there; it fails here because nothing should be left to report.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from package_plugin import ROOT, packed_files

# The tests that the plugin repository leaves out; the other ones are all on, low severity and confidence included.
BANDIT_OFF = "B404"
FLAKE8 = ("E9", "E7", "F4", "F5", "F6", "F7", "F8", "W6", "E101", "W191", "E501", "C90")
LINE = 120


def main() -> int:
    """Run the three scanners over a copy of the zip's content."""
    with tempfile.TemporaryDirectory(prefix="smallarea_scan_") as folder:
        content = Path(folder)
        for file in packed_files():
            (content / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, content / file)
        findings = [*bandit(content), *secrets(content), *flake8(content)]
    for finding in findings:
        sys.stdout.write(finding + "\n")
    sys.stdout.write(f"{len(findings)} findings\n")
    return int(bool(findings))


def bandit(content: Path) -> list[str]:
    """Return Bandit's findings; those marked with a justified ``# nosec`` are none."""
    report = _json([sys.executable, "-m", "bandit", "-r", ".", "-f", "json", "-q", "--skip", BANDIT_OFF], content)
    errors = [f"bandit could not read {entry['filename']}: {entry['reason']}" for entry in report["errors"]]
    return errors + [
        f"{entry['filename']}:{entry['line_number']}: {entry['test_id']} {entry['issue_text']}"
        for entry in report["results"]
    ]


def secrets(content: Path) -> list[str]:
    """Return what looks like a password or a key."""
    report = _json([sys.executable, "-m", "detect_secrets", "scan", "--all-files", "."], content)
    return [
        f"{file}:{entry['line_number']}: {entry['type']}"
        for file, found in report["results"].items()
        for entry in found
    ]


def flake8(content: Path) -> list[str]:
    """Return the style findings that the repository would list."""
    command = [
        sys.executable, "-m", "flake8", "--isolated", f"--max-line-length={LINE}", f"--select={','.join(FLAKE8)}", ".",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=content, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()


def _json(command: list[str], folder: Path) -> dict:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}") from error


if __name__ == "__main__":
    sys.exit(main())
