"""What the command line says about itself, and that it says it at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from smallarea.cli import _COMMANDS, _GROUPS, cli
from smallarea.errors import SmallareaError

COMMANDS = [
    [],
    ["fit"],
    ["compare"],
    ["areas"],
    ["areas", "check"],
    ["areas", "adjacency"],
    ["survey"],
    ["survey", "prepare"],
    ["survey", "match"],
    ["survey", "smooth"],
    ["prior"],
    ["prior", "train"],
    ["prior", "verify"],
    ["prior", "show"],
    ["prior", "list"],
    ["prior", "export"],
    ["run"],
    ["status"],
    ["schema"],
    ["demo"],
]
HEAVY = {
    "numpy",
    "pandas",
    "scipy",
    "geopandas",
    "pydantic",
    "rich",
    "matplotlib",
    "libpysal",
    "pyogrio",
    "shapely",
    "jinja2",
    "numba",
    "torch",
    "jax",
}


def invoke(*arguments):
    return CliRunner().invoke(cli, list(arguments), prog_name="smallarea", terminal_width=100)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command):
    done = invoke(*command, "--help")
    assert done.exit_code == 0
    if command not in (["areas"], ["survey"], ["prior"]):
        assert f"smallarea {' '.join(command)}".strip() in done.output.partition("Usage:")[2].partition("\n")[2]
    assert invoke(*command, "-h").output == done.output


def test_the_help_lists_every_exit_code():
    text = invoke("--help").output
    for family in SmallareaError.__subclasses__():
        assert f"{family.exit_code:>3}  {family.__name__}" in text


@pytest.mark.parametrize(
    ("command", "line"),
    [
        *(([name], line) for name, line in _COMMANDS.items() if name not in _GROUPS),
        *(([group, name], line) for group, (_, listing) in _GROUPS.items() for name, line in listing.items()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_line_in_the_list_is_the_first_line_of_the_commands_help(command, line):
    help_text = " ".join(invoke(*command, "--help").output.split())
    assert line.rstrip(".") in help_text


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments):
    code = (
        "import sys; sys.argv = ['smallarea', *sys.argv[1:]]\n"
        "import atexit, json\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from smallarea.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert not HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


def test_the_help_of_a_task_needs_no_numerical_library():
    code = (
        "import sys; sys.argv = ['smallarea', 'fit', '--help']\n"
        "import atexit, json\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from smallarea.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not (HEAVY - {"pydantic"}) & set(json.loads(done.stderr.splitlines()[-1]))


def test_it_runs_as_a_module_and_from_an_isolated_interpreter(tmp_path):
    import smallarea

    as_module = [sys.executable, "-m", "smallarea", "--version"]
    isolated = [
        sys.executable,
        "-I",
        "-c",
        "import sys, runpy; sys.path.insert(0, sys.argv.pop(1));"
        "runpy.run_module('smallarea', run_name='__main__', alter_sys=True)",
        str(next(iter(smallarea.__path__)).removesuffix("smallarea")),
        "--version",
    ]
    for command in (as_module, isolated):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
        assert done.stdout.strip() == f"smallarea, version {smallarea.__version__}"


def test_an_unknown_command_is_an_error_of_usage():
    done = invoke("fti")
    assert done.exit_code == 2
    assert "fti" in done.output


def test_the_guide_lists_every_exit_code():
    page = Path(__file__).parents[3] / "docs" / "command-line.md"
    if not page.exists():
        pytest.skip("not in a checkout")
    for family in SmallareaError.__subclasses__():
        assert f"| {family.exit_code} | `{family.__name__}` |" in page.read_text(encoding="utf-8")
