import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from smallarea.errors import JobProblem, TableProblem
from smallarea.results.reliability import (
    classify,
    coefficient_of_variation,
    load_preset,
    preset_from_mapping,
    preset_names,
    scale_cautions,
)


def table(estimate, se, level=1.96):
    estimate, se = np.asarray(estimate, float), np.asarray(se, float)
    return pd.DataFrame(
        {"estimate": estimate, "se": se, "lower": estimate - level * se, "upper": estimate + level * se}
    )


def flags(preset, cv_percent):
    cv = np.asarray(cv_percent, float) / 100
    return classify(table(np.full(cv.shape, 1000.0), 1000.0 * cv), load_preset(preset)).tolist()


def test_presets_that_come_with_the_package():
    assert set(preset_names()) >= {"statcan", "bps", "bps_25_50", "acs", "samhsa_proportion"}
    for name in preset_names():
        preset = load_preset(name)
        assert preset.name == name
        assert preset.source
        assert all(c.meaning for c in preset.classes)


@pytest.mark.parametrize(
    ("preset", "cv", "expected"),
    [
        # 16.5 and 33.3 are the ends of classes that are stated to one decimal.
        (
            "statcan",
            [0, 16.5, 16.54, 16.56, 33.3, 33.34, 33.36, 50],
            ["acceptable"] * 3 + ["use with caution"] * 3 + ["too unreliable"] * 2,
        ),
        ("bps", [19.99, 20, 29.99, 30], ["reliable", "use with caution", "use with caution", "unreliable"]),
        ("bps_25_50", [25, 25.01, 50, 50.01], ["accurate", "use with caution", "use with caution", "not accurate"]),
        (
            "acs",
            [14.99, 15, 30, 30.01],
            ["high reliability", "medium reliability", "medium reliability", "low reliability"],
        ),
    ],
)
def test_thresholds(preset, cv, expected):
    assert flags(preset, cv) == expected


def test_what_has_no_meaningful_cv():
    preset = load_preset("statcan")
    rows = table([0.0, 1.0, -1.0, 1e-320, 5.0, np.nan, 5.0, -100.0], [1.0, 2.0, 2.0, 0.1, np.nan, 1.0, np.inf, 1.0])
    meaningless, none = "CV not meaningful", "no estimate"
    assert classify(rows, preset).tolist() == [meaningless] * 5 + [none, meaningless, "acceptable"]


def test_intervals_are_not_needed():
    rows = table([10.0, 10.0, 0.0], [1.0, 9.0, 1.0]).drop(columns=["lower", "upper"])
    assert classify(rows, load_preset("acs")).tolist() == ["high reliability", "low reliability", "CV not meaningful"]


def test_missing_column_is_named():
    with pytest.raises(TableProblem, match="'se'"):
        classify(pd.DataFrame({"estimate": [1.0]}), load_preset("acs"))


def test_cv_is_a_fraction_and_never_warns():
    cv = coefficient_of_variation([2.0, -4.0, 0.0, np.nan, 1.0, 1e-310], [1.0, 1.0, 1.0, 1.0, np.nan, 1e10])
    assert np.array_equal(cv, [0.5, 0.25, np.nan, np.nan, np.nan, np.inf], equal_nan=True)


def test_samhsa_rule_is_the_published_one():
    # NSDUH substate estimates: outside 5.23 to 94.77 percent suppress if RSE(-ln p) > 10 percent, inside if n_eff <=
    # 208.
    rng = np.random.default_rng(5)
    p = rng.uniform(0.001, 0.999, 20_000)
    effective_n = rng.uniform(10, 5000, p.size)
    se = np.sqrt(p * (1 - p) / effective_n)
    q = np.minimum(p, 1 - p)
    rse = se / q / -np.log(q)
    suppress = np.where(q < 0.0523, rse > 0.10, effective_n <= 208)
    clear = (np.abs(rse - 0.10) > 1e-3) | (q > 0.06)
    clear &= np.abs(effective_n - 208) > 0.5
    got = classify(table(p, se), load_preset("samhsa_proportion")) == "suppress"
    assert np.array_equal(got[clear], suppress[clear])
    assert 0.02 < got.mean() < 0.5
    other_side = classify(table(1 - p, se), load_preset("samhsa_proportion")) == "suppress"
    assert np.array_equal(got[clear], other_side[clear])


def test_samhsa_rule_outside_of_proportions():
    rows = table([0.0, 1.0, 1.2, -0.1, np.nan, 0.3, 0.3], [0.1, 0.1, 0.1, 0.1, 0.1, np.nan, 0.0])
    assert classify(rows, load_preset("samhsa_proportion")).tolist() == ["rule not applicable"] * 4 + [
        "no estimate",
        "rule not applicable",
        "publish",
    ]


def test_cautions():
    assert scale_cautions(table([1.0, 2.0], [1, 1]), load_preset("acs")) == ()
    assert "1 of 3 are negative" in scale_cautions(table([1.0, 2.0, -1.0], [1, 1, 1]), load_preset("acs"))[0]
    assert scale_cautions(table([np.nan], [1]), load_preset("acs")) == ()
    assert "2 of 3 estimates" in scale_cautions(table([0.5, 50.0, 0.0], [1, 1, 1]), load_preset("samhsa_proportion"))[0]


def test_round_trip_through_a_file(tmp_path):
    for name in preset_names():
        preset = load_preset(name)
        path = tmp_path / f"{name}-mine.json"
        path.write_text(json.dumps(preset.as_mapping()), encoding="utf-8")
        assert load_preset(path) == preset
        assert load_preset(str(path)) == preset


def test_the_preset_in_the_guide_is_one():
    guide = Path(__file__).parents[3] / "docs" / "reliability.md"
    example = re.search(r"```json\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)[1]
    preset = preset_from_mapping(json.loads(example))
    rows = table([100.0, 100.0, 100.0], [10.0, 20.0, 26.0])
    assert classify(rows, preset).tolist() == ["publish", "in brackets", "not shown"]


def changed(**changes):
    data = load_preset("acs").as_mapping()
    data.update(changes)
    return {key: value for key, value in data.items() if value is not ...}


def with_class(number, **changes):
    data = load_preset("acs").as_mapping()
    data["classes"][number].update(changes)
    data["classes"][number] = {k: v for k, v in data["classes"][number].items() if v is not ...}
    return data


def classes(*drop):
    return [c for i, c in enumerate(load_preset("acs").as_mapping()["classes"]) if i not in drop]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "must be a JSON object"),
        (changed(colour="#000000"), "unknown entries 'colour'"),
        (changed(rule="rse"), "rule 'rse'; there are cv, log_proportion"),
        (changed(rule=["cv"]), "rule"),
        (changed(decimals=True), "'decimals'"),
        (changed(name=...), "needs 'name'"),
        (changed(title=3), "needs 'title', a text"),
        (changed(classes=[]), "needs 'classes'"),
        (changed(classes="x"), "needs 'classes'"),
        (changed(classes=["x"]), "class 1 .* must be a JSON object"),
        (changed(classes=classes(2)), '"when": "otherwise", but has none'),
        (changed(classes=classes(3)), '"when": "not meaningful"'),
        (changed(classes=classes(4)), '"when": "no estimate"'),
        (changed(classes=classes(0, 1)), "at least one class with a threshold"),
        (with_class(0, limit=3), "class 1 .* unknown entries 'limit'"),
        (with_class(0, label=" "), "class 1 .* needs 'label'"),
        (with_class(0, label="medium reliability"), "labelled 'medium reliability'"),
        (with_class(0, colour="red"), "colour.*#004488"),
        (with_class(0, colour="#00448\n"), "colour"),
        (with_class(0, up_to=12), "exactly one of"),
        (with_class(0, below=...), "exactly one of"),
        (with_class(0, below="15"), "positive number, got '15'"),
        (with_class(0, below=-1), "positive number"),
        (with_class(0, below=float("nan")), "positive number"),
        (with_class(0, effective_n_above=30), "goes with the rule 'log_proportion'"),
        (with_class(1, up_to=15), "must increase from class to class, got 15, 15"),
        (with_class(2, when="else"), "'when' in the class 3"),
        (changed(classes=[{**classes()[0], "below": 0.15}, *classes(0, 1)]), "Write 16.5, not 0.165"),
    ],
)
def test_malformed_presets_say_what_is_wrong(data, message):
    with pytest.raises(JobProblem, match=message):
        preset_from_mapping(data)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(JobProblem, match=r"no reliability preset 'statscan'.*Presets: acs, bps"):
        load_preset("statscan")
    bad = tmp_path / "bad.json"
    bad.write_text("{", encoding="utf-8")
    with pytest.raises(JobProblem, match="not valid JSON"):
        load_preset(bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobProblem, match="not valid JSON"):
        load_preset(bad)


def _lab(rgb):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("name", preset_names())
def test_colours_can_be_told_apart_by_everybody(name, deficiency):
    seen = []
    for one in load_preset(name).classes:
        rgb = np.array([int(one.colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        simulated = np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1)
        back = np.where(simulated <= 0.0031308, 12.92 * simulated, 1.055 * simulated ** (1 / 2.4) - 0.055)
        seen.append(_lab(back))
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 20.0
