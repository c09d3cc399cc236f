"""A prior file gives back what was saved, says the same twice, and is refused when anything about it is wrong."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from smallarea.errors import OutputProblem, PriorProblem
from smallarea.priors import SpatialPrior, family
from smallarea.priors.files import prior_file as module
from smallarea.priors.files.prior_file import load_prior, read_header, save_prior

EDGES = np.array([[0, 1], [1, 2], [2, 3]])
IDS = ("Äußere", "b", "c d", "007")


def made(**changes) -> SpatialPrior:
    rng = np.random.default_rng(5)
    weights = {
        "first.weight": rng.normal(size=(6, 4)).astype(np.float32),
        "first.bias": rng.normal(size=6).astype(np.float32),
        "scale": np.float32(1.5).reshape(()),
    }
    parts = {"architecture": "decoder", "family": family("car", upper=0.9), "ids": IDS, "edges": EDGES,
             "settings": {"width": 6, "terms": 3}, "weights": weights, "training": {"seconds": 1.25, "loss": [2, 1]},
             "certificate": None}  # fmt: skip
    return SpatialPrior(**{**parts, **changes})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_prior(path, made(certificate={"passed": True, "rho": [0.1, 0.9]}))
    return path


def parts_of(path: Path) -> tuple[dict, dict, bytes]:
    """Header, metadata and numbers of a file."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["smallarea_prior"]), raw[8 + length :]


def assemble(path: Path, header: dict, document: dict, data: bytes) -> Path:
    """Write a file whose checksums are right, as an attacker would."""
    import hashlib

    places = sorted((e["data_offsets"], name, e) for name, e in header.items() if name != "__metadata__")
    document["numbers"] = hashlib.sha256(data).hexdigest()
    said = {**document, "tensors": [[name, e["dtype"], e["shape"]] for _, name, e in places]}
    said.pop("checksum", None)
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    document["checksum"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    header["__metadata__"] = {"smallarea_prior": json.dumps(document, sort_keys=True)}
    return written(path, json.dumps(header).encode(), data)


def written(path: Path, header: bytes, data: bytes, length: int | None = None) -> Path:
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)
    return path


def test_what_was_saved_comes_back(saved: Path) -> None:
    prior, found = made(certificate={"passed": True, "rho": [0.1, 0.9]}), load_prior(saved)
    for name in ("architecture", "family", "ids", "settings", "training", "certificate", "fingerprint"):
        assert getattr(found, name) == getattr(prior, name)
    np.testing.assert_array_equal(found.edges, prior.edges)
    assert set(found.weights) == set(prior.weights)
    for name, weight in prior.weights.items():
        assert found.weights[name].dtype == np.float32
        assert found.weights[name].shape == weight.shape
        assert found.weights[name].tobytes() == weight.tobytes()


def test_the_same_prior_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_prior(again, load_prior(saved))
    assert again.read_bytes() == saved.read_bytes()


def test_the_reference_implementation_reads_it(saved: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = numpy.load_file(saved)
    np.testing.assert_array_equal(tensors["weights.first.weight"], made().weights["first.weight"])
    np.testing.assert_array_equal(tensors["edges"], EDGES)


def test_the_header_comes_without_the_weights(saved: Path) -> None:
    header = read_header(saved)
    assert (header.architecture, header.ids, header.n_edges) == ("decoder", IDS, 3)
    assert header.fingerprint == made().fingerprint
    assert header.shapes == {"first.bias": (6,), "first.weight": (6, 4), "scale": ()}
    assert header.n_weights == 31
    assert header.size == saved.stat().st_size
    assert not header.transfers


def test_the_identity_is_of_the_prior_and_not_of_its_records(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.safetensors"
    identity = read_header(saved).identity
    save_prior(other, made(training={}, certificate=None))
    assert read_header(other).identity == identity
    save_prior(other, made(settings={"width": 6, "terms": 4}))
    assert read_header(other).identity != identity
    save_prior(other, made(weights={**made().weights, "scale": np.float32(2.0).reshape(())}))
    assert read_header(other).identity != identity


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": {"w": np.array([1.0, np.nan], dtype=np.float32)}}, "not finite float32 numbers: 'w'"),
        ({"weights": {"w": np.ones(3)}}, "not finite float32"),
        ({"weights": {"../w": np.ones(3, dtype=np.float32)}}, "cannot be saved"),
        ({"weights": {"w": np.ones((0, 3), dtype=np.float32)}}, "cannot be saved"),
        ({"settings": {"f": print}}, "JSON types only"),
        ({"training": {"loss": float("nan")}}, "JSON types only"),
        ({"ids": ("a", "b", "c", "\ud800")}, "JSON types only"),
    ],
)
def test_what_a_file_cannot_carry_is_refused_and_leaves_nothing(change: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(PriorProblem, match=said):
        save_prior(tmp_path / "x.safetensors", made(**change))
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputProblem, match=r"must end in \.safetensors"):
        save_prior(tmp_path / "x.pkl", made())


def test_every_truncation_and_every_longer_file_is_refused(saved: Path, tmp_path: Path) -> None:
    raw = saved.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [*range(0, len(raw), 7), len(raw) - 1]:
        path.write_bytes(raw[:length])
        with pytest.raises(PriorProblem):
            load_prior(path)
    for more in (b"\0", b"more"):
        path.write_bytes(raw + more)
        with pytest.raises(PriorProblem, match="follow the header"):
            load_prior(path)


def test_flipped_bits_are_found_or_change_nothing(saved: Path, tmp_path: Path) -> None:
    raw = saved.read_bytes()
    rng = np.random.default_rng(11)
    path, again = tmp_path / "flipped.safetensors", tmp_path / "again.safetensors"
    refused = 0
    for bit in rng.choice(8 * len(raw), size=400, replace=False).tolist():
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        try:
            found = load_prior(path)
        except PriorProblem:
            refused += 1
            continue
        save_prior(again, found)  # another way to write the same text, such as \u00C4 for \u00c4
        assert again.read_bytes() == raw
    assert refused >= 395


def test_a_flipped_bit_in_the_numbers_is_found(saved: Path) -> None:
    raw = bytearray(saved.read_bytes())
    raw[-3] ^= 1
    saved.write_bytes(raw)
    read_header(saved)  # the header is whole
    with pytest.raises(PriorProblem, match="numbers were changed"):
        load_prior(saved)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "noise.safetensors"
    for _ in range(200):
        body = rng.bytes(int(rng.integers(0, 300)))
        path.write_bytes(len(body).to_bytes(8, "little") + body if rng.random() < 0.5 else body)
        with pytest.raises(PriorProblem):
            load_prior(path)


HOSTILE_DOCUMENTS = {
    "no format": {"format": None},
    "other format": {"format": "smallarea-graph"},
    "later version": {"format_version": 2},
    "true is not a version": {"format_version": True},
    "architecture": {"architecture": "../../etc/passwd"},
    "architecture of another type": {"architecture": ["decoder"]},
    "family as text": {"family": "car"},
    "family unknown": {"family": {"name": "exec", "hyperparameters": []}},
    "family without rho": {"family": {"name": "car", "hyperparameters": []}},
    "family with numbers as text": {
        "family": {
            "name": "icar",
            "hyperparameters": [{"name": "rho", "lower": "0", "upper": "1", "distribution": "x"}],
        }
    },
    "family twice": {"family": {"name": "car", "hyperparameters": [3, 4]}},
    "rho above one": {
        "family": {
            "name": "car",
            "hyperparameters": [{"name": "rho", "lower": 0.0, "upper": 1.5, "distribution": "uniform"}],
        }
    },
    "ids as text": {"ids": "abcd"},
    "ids as numbers": {"ids": [1, 2, 3, 4]},
    "ids repeated": {"ids": ["a", "a", "b", "c"]},
    "too few ids": {"ids": ["a"]},
    "huge id": {"ids": ["a" * 2000, "b", "c", "d"]},
    "other fingerprint": {"fingerprint": "0" * 64},
    "settings as list": {"settings": []},
    "training as text": {"training": "__import__('os').system('true')"},
    "certificate as number": {"certificate": 7},
    "extra field": {"__reduce__": "os.system"},
    "half a character": {"training": {"note": "\ud800"}},
}


@pytest.mark.parametrize("case", HOSTILE_DOCUMENTS)
def test_hostile_metadata_with_right_checksums_are_refused(saved: Path, tmp_path: Path, case: str) -> None:
    header, document, data = parts_of(saved)
    path = assemble(tmp_path / "hostile.safetensors", header, {**document, **HOSTILE_DOCUMENTS[case]}, data)
    with pytest.raises(PriorProblem):
        load_prior(path)


def test_the_attackers_tools_of_these_tests_work(saved: Path, tmp_path: Path) -> None:
    path = assemble(tmp_path / "b.safetensors", *parts_of(saved))
    assert load_prior(path).settings == {"width": 6, "terms": 3}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("weights.scale", {"dtype": "F64"}),
        ("weights.scale", {"dtype": ["F32"]}),
        ("weights.scale", {"shape": [2]}),
        ("weights.scale", {"shape": [-1, -1]}),
        ("weights.scale", {"shape": [True]}),
        ("weights.scale", {"shape": [1, 1, 1, 1, 1]}),
        ("weights.scale", {"shape": [0, 2**62]}),
        ("weights.scale", {"shape": "1"}),
        ("weights.scale", {"shape": [2**31, 2**31], "data_offsets": [0, 2**64]}),
        ("weights.scale", {"data_offsets": [0, 4]}),
        ("weights.scale", {"data_offsets": [-4, 0]}),
        ("weights.scale", {"data_offsets": [2**62, 2**62 + 4]}),
        ("weights.scale", {"data_offsets": [1.0, 5.0]}),
        ("weights.scale", {"data_offsets": []}),
        ("weights.scale", {"more": 1}),
        ("edges", {"dtype": "F32", "shape": [12]}),
        ("edges", {"shape": [2, 3]}),
        ("edges", {"shape": [6]}),
    ],
)
def test_tables_that_lie_are_refused(saved: Path, tmp_path: Path, name: str, entry: dict) -> None:
    header, document, data = parts_of(saved)
    header[name] = {**header[name], **entry}
    with pytest.raises(PriorProblem):
        load_prior(assemble(tmp_path / "hostile.safetensors", header, document, data))


@pytest.mark.parametrize(
    "name", ["", "weights.", "other", "weights./etc/passwd", "weights.a b", "weights." + "x" * 200]
)
def test_strange_names_are_refused(saved: Path, tmp_path: Path, name: str) -> None:
    header, document, data = parts_of(saved)
    header[name] = header.pop("weights.scale")
    with pytest.raises(PriorProblem):
        load_prior(assemble(tmp_path / "hostile.safetensors", header, document, data))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_refused(saved: Path, tmp_path: Path, value: float) -> None:
    header, document, data = parts_of(saved)
    data = data[:-4] + np.float32(value).tobytes()
    path = assemble(tmp_path / "hostile.safetensors", header, document, data)
    with pytest.raises(PriorProblem, match="'scale' holds values that are not numbers"):
        load_prior(path)


@pytest.mark.parametrize("edge", [[0, 9], [-1, 0], [1, 1], [3, 0], [0, 1]])
def test_impossible_neighbours_are_refused(saved: Path, tmp_path: Path, edge: list[int]) -> None:
    header, document, data = parts_of(saved)
    data = EDGES[:2].astype("<i8").tobytes() + np.array(edge, dtype="<i8").tobytes() + data[48:]
    with pytest.raises(PriorProblem):
        load_prior(assemble(tmp_path / "hostile.safetensors", header, document, data))


def test_headers_that_are_no_plain_json_are_refused(saved: Path, tmp_path: Path) -> None:
    header, _, data = parts_of(saved)
    good = json.dumps(header)
    edges = json.dumps(header["edges"])
    path = tmp_path / "hostile.safetensors"
    deep = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    cases = [
        good.replace('{"__metadata__"', f'{{"edges": {edges}, "__metadata__"', 1),
        good.replace('{"__metadata__"', '{"__metadata__": {}, "__metadata__"', 1),
        good[:-1],
        "[]",
        "null",
        '{"__metadata__": []}',
        '{"__metadata__": {"smallarea_prior": 3}}',
        '{"__metadata__": {"smallarea_prior": "{"}}',
        '{"__metadata__": {"smallarea_prior": "[1]"}}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": ' + "9" * 400 + "}",
        deep,
        '{"__metadata__": {"smallarea_prior": ' + json.dumps(deep) + "}}",
        '{"a":' * 30 + "1" + "}" * 30,
        good.encode("utf-16").decode("latin-1"),
    ]
    for text in cases:
        assert text != good
        with pytest.raises(PriorProblem):
            load_prior(written(path, text.encode("utf-8"), data))


def test_a_file_of_another_program_is_said_to_be_one(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "other.safetensors"
    numpy.save_file({"w": np.ones(3, dtype=np.float32)}, path)
    with pytest.raises(PriorProblem, match="of another program"):
        load_prior(path)


class Trap:
    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    trap = Trap()
    trap.target = tmp_path / "sprung"
    for suffix, content in (("a", pickle.dumps(trap)), ("b", (50).to_bytes(8, "little") + pickle.dumps(trap))):
        path = tmp_path / f"{suffix}.safetensors"
        path.write_bytes(content)
        with pytest.raises(PriorProblem):
            load_prior(path)
    assert not trap.target.exists()


def test_lies_about_size_take_no_memory(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, document, data = parts_of(saved)
    header["weights.scale"] = {"dtype": "F32", "shape": [2**20, 2**10], "data_offsets": [0, 2**32]}
    path = assemble(tmp_path / "hostile.safetensors", header, document, data)
    long = written(tmp_path / "long.safetensors", b"{}", b"", length=2**40)
    tracemalloc.start()
    try:
        for one in (path, long):
            with pytest.raises(PriorProblem):
                load_prior(one)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.truncate(9 * 2**30)  # sparse: takes no space
    with pytest.raises(PriorProblem, match="more than the"):
        load_prior(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriorProblem, match="No such file"):
        load_prior(tmp_path / "missing.safetensors")
    with pytest.raises(PriorProblem, match="is not a file"):
        load_prior(tmp_path)
    with pytest.raises(PriorProblem, match="null byte"):
        load_prior("a\0b.safetensors")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.safetensors")
        with pytest.raises(PriorProblem, match="is not a file"):
            load_prior(tmp_path / "pipe.safetensors")


def test_a_prior_too_large_for_its_own_limits_is_not_written(tmp_path: Path) -> None:
    prior = made(training={"note": "x" * (9 * 2**20)})
    with pytest.raises(PriorProblem, match="too large to be saved"):
        save_prior(tmp_path / "x.safetensors", prior)
    assert not list(tmp_path.iterdir())


def test_another_order_of_the_same_areas_is_another_file_of_the_same_geography(tmp_path: Path) -> None:
    order = [2, 0, 3, 1]
    place = np.argsort(order)
    edges = np.unique(np.sort(place[EDGES], axis=1), axis=0)
    turned = replace(made(), ids=tuple(IDS[i] for i in order), edges=edges)
    save_prior(tmp_path / "a.safetensors", turned)
    assert load_prior(tmp_path / "a.safetensors").fingerprint == made().fingerprint
    assert module.read_header(tmp_path / "a.safetensors").ids == turned.ids
