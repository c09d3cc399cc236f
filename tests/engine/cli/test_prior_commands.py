"""Spatial priors from the command line: the same files as from Python and from a job, and exit codes."""

import json

import pytest
import smallarea as package
from smallarea.priors.files.prior_file import load_prior

pytest.importorskip("jax")


def test_three_ways_one_file(smallarea, squares, tmp_path):
    words = ["prior", "train", squares, "--id-field", "code", "--family", "leroux", "--upper", "0.9",
             "--no-certify"]  # fmt: skip
    done, events = smallarea(*words, "--output", tmp_path / "command.safetensors", "--json")
    assert done.exit_code == 0, done.output
    summary = events[-1]["summary"]
    assert (summary["family"], summary["rho"], summary["certificate"]) == ("leroux", "0 to 0.9, uniform", "none")
    assert events[-1]["outputs"] == {"output": str(tmp_path / "command.safetensors")}

    job = tmp_path / "job.json"
    smallarea(*words, "--output", tmp_path / "job.safetensors", "--save-job", job)
    assert json.loads(job.read_text())["parameters"]["upper"] == 0.9
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output

    package.train_prior(
        squares, id_field="code", family="leroux", upper=0.9, certify=False, output=tmp_path / "python.safetensors"
    )
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("command", "job", "python")]
    assert files[0] == files[1] == files[2]


@pytest.fixture
def kept(smallarea, squares, tmp_path):
    """A library with one uncertified prior in it."""
    library = tmp_path / "library"
    words = ["prior", "train", squares, "--id-field", "code", "--no-certify", "--keep", "--library", library]
    done, events = smallarea(*words, "--json")
    assert done.exit_code == 0, done.output
    assert next(event["text"] for event in events if event["type"] == "warning").startswith("The learned prior has no")
    return library


def test_the_library_by_name(smallarea, squares, kept, tmp_path):
    done, events = smallarea("prior", "list", squares, "--id-field", "code", "--library", kept, "--json")
    (name,) = events[-1]["summary"]["priors"]
    assert name.startswith("graph-filter-car-")
    done, _ = smallarea("prior", "list", "--library", kept)
    assert f"{name}: areas 13, certificate none" in done.stdout
    done, events = smallarea("prior", "show", "graph-filter", "--library", kept, "--json")
    assert events[-1]["summary"]["certificate"] == "none"
    done, _ = smallarea("prior", "export", name, "--library", kept, "--output", tmp_path / "out.safetensors")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out.safetensors").read_bytes() == (kept / f"{name}.safetensors").read_bytes()
    job = tmp_path / "job.json"
    smallarea("prior", "verify", "graph-filter", "--library", kept, "--save-job", job)
    assert json.loads(job.read_text())["parameters"] == {"prior": "graph-filter", "library": "library"}


def test_a_missed_gate_is_loud_but_no_failure(smallarea, kept, tmp_path):
    import dataclasses

    import numpy as np
    from smallarea.priors.files.prior_file import save_prior

    (file,) = kept.iterdir()
    prior = load_prior(file)
    table = prior.weights["coefficients"] * np.float32(0.8)
    save_prior(tmp_path / "wrong.safetensors", dataclasses.replace(prior, weights={"coefficients": table}))
    done, events = smallarea("prior", "verify", tmp_path / "wrong.safetensors", "--draws", "300", "--json")
    assert done.exit_code == 0
    assert any(event["type"] == "progress" and "prior at rho = " in event["text"] for event in events)
    assert events[-1]["summary"]["passed"] is False
    warned = [event["text"] for event in events if event["type"] == "warning"]
    assert warned[0].startswith("THIS PRIOR DOES NOT PASS")
    assert len(warned) == 1 + events[-1]["summary"]["n_failures"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["prior", "train", "--output", "p.safetensors"], 2, "trained for a geography"),
        (["prior", "train", "SQUARES", "--output", "p.bin"], 17, "must end in .safetensors"),
        (["prior", "train", "SQUARES", "--upper", "1.5", "--output", "p.safetensors"], 14, "lies in [0, 1)"),
        (["prior", "train", "SQUARES", "--latent", "5", "--output", "p.safetensors"], 2, "has no 'latent'"),
        (["prior", "train", "SQUARES", "--draws", "5", "--output", "p.safetensors"], 2, "--draws"),
        (["prior", "show", "missing.safetensors"], 14, "no prior 'missing'"),
        (["prior", "show", "./missing.safetensors"], 14, "No such file"),
        (["prior", "verify", "SQUARES"], 14, "not a usable prior file"),
        (["prior", "show"], 2, "Missing argument 'PRIOR'"),
    ],
)
def test_each_mistake_has_its_exit_code(smallarea, squares, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMALLAREA_PRIORS", str(tmp_path / "empty"))
    done, _ = smallarea(*(squares if word == "SQUARES" else word for word in words))
    assert done.exit_code == code
    assert said in " ".join((done.output + done.stderr).split())
    assert [path.name for path in tmp_path.iterdir()] == ["squares.gpkg"]
