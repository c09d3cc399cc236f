"""Several responses in the dialog: their order, what goes together, and what is loaded."""

import json
import sqlite3
import subprocess
from contextlib import closing
from itertools import product

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")
SLOPES = {"income": 3.0, "rent": -40.0}


@pytest.fixture
def grid(make_grid):
    """A grid with two responses, their variances and the covariance; every fifth area has no rent."""

    def row(i):
        x = (i * 37 % 101) / 101
        wiggle = ((i * 29) % 13 - 6) / 12
        income = 20.0 + SLOPES["income"] * x + wiggle + ((i * 53) % 17 - 8) / 10
        rent = 500.0 + SLOPES["rent"] * x + 20.0 * wiggle + ((i * 41) % 19 - 9)
        return [income, None if i % 5 == 0 else rent, 0.2, 30.0, 0.5]

    def make(side=6):
        names = ("income", "rent", "income_var", "rent_var", "income_rent")
        return make_grid(side, "".join(f"&field={name}:double" for name in names), values=row)

    return make


def _parameters(layer, **others):
    return {
        "AREAS": layer, "TABLE": layer, "ID_FIELD": "code", "DIRECT": ["income", "rent"],
        "VARIANCE": ["income_var", "rent_var"], "OUTPUT": "TEMPORARY_OUTPUT", **others,
    }  # fmt: skip


def _check(parameters):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:fitfayherriot")
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"VARIANCE": ["income_var"]}, "2 fields with direct estimates ('income', 'rent') and 1 with"),
        ({"DIRECT": "income"}, "1 fields with direct estimates ('income') and 2 with"),
        ({"VARIANCE": ["rent_var", "income_var"]}, "'income' would have the variance 'rent_var'"),
        ({"DIRECT": ["rent", "income"]}, "drag the checked fields into the order"),
        ({"COVARIANCE": ["income_rent", "v"]}, "one for each pair, in this order: income and rent."),
        ({"COVARIANCE": ["income_var"]}, "chosen for 'Sampling variances'"),
        ({"COVARIANCE": ["income_rent"], "SAMPLING_CORRELATION": 0.2}, "not both"),
        ({"SAMPLING_CORRELATION": 1.0}, "between -1 and 1"),
        ({"DIRECT": "income", "VARIANCE": "income_var", "SAMPLING_CORRELATION": 0.2}, "there is only one"),
        ({"DIRECT": "income", "VARIANCE": "income_var", "COVARIANCE": "income_rent"}, "there is only one"),
        ({"LINK": "chain", "RANDOM_EFFECT": "bym2"}, "'car' or 'leroux', not 'bym2'"),
        ({"RANDOM_EFFECT": "sar", "METHOD": "reml"}, "for one response"),
        ({"RANDOM_EFFECT": "iid", "METHOD": "fh"}, "one response with independent effects"),
        ({"RANDOM_EFFECT": "iid", "IID_PART": "no"}, "leave it at 'default'"),
        ({"ORDER": "rent; income"}, "belongs to the link 'chain'"),
        ({"LINK": "chain", "ORDER": "rent; wages"}, "once, separated by semicolons: income; rent. It names 'rent'"),
        ({"LINK": "chain", "ORDER": "rent"}, "must name each response once"),
        ({"METHOD": "reml", "POSTERIOR": "TEMPORARY_OUTPUT"}, "no posterior draws"),
        ({"LINK": "gmcar"}, ""),
    ],
)
def test_checks_before_the_run(grid, change, said):
    ok, message = _check(_parameters(grid(2), **change))
    assert not ok
    assert said in message


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"LINK": "chain", "ORDER": "auto"},
        {"LINK": "chain", "ORDER": " rent ;income; "},
        {"COVARIANCE": ["income_rent"], "METHOD": "reml"},
        {"SAMPLING_CORRELATION": -0.3},
        {"SAMPLING_CORRELATION": 0.0},
        {"DIRECT": "income", "VARIANCE": "income_var", "RANDOM_EFFECT": "sar", "METHOD": "ml"},
        {"DIRECT": "income;rent", "VARIANCE": "income_var;rent_var"},
        {"RANDOM_EFFECT": "icar", "METHOD": "reml"},
    ],
)
def test_sound_values_pass(grid, change):
    assert _check(_parameters(grid(2), **change)) == (True, "")


def test_only_variances_that_belong_to_each_other_are_taken_for_swapped(provider):
    from smallarea_qgis.processing_algorithms.model_checks import ModelChoice, check_model

    for direct, variance in [
        (("rate", "rate_old"), ("rate_var", "rate_old_var")),
        (("income", "income2"), ("income_v1", "income_v2")),
        (("a", "b"), ("b_var", "a_var")),  # letters occur in every name
        (("y1", "y2"), ("first", "second")),
    ]:
        check_model(ModelChoice(direct, variance))


def test_the_dialog_and_the_engine_refuse_the_same_models(provider, engine_python):
    """Every combination of effect, method, link, iid part, number of responses and order."""
    from smallarea_qgis.processing_algorithms.inputs import InputProblem
    from smallarea_qgis.processing_algorithms.model_checks import ModelChoice, check_model

    effects = ("iid", "car", "leroux", "bym2", "icar", "sar")
    methods = ("bayes", "reml", "ml", "fh", "amrl")
    orders = ([], ["r0"], ["r1", "r0"], ["r1", "q"])
    cases = list(product(effects, methods, ("separable", "independent", "chain"), (None, True, False), (1, 2), orders))
    code = (
        "import json, sys\n"
        "from smallarea.area_level import specify\n"
        "from smallarea.errors import SmallareaError\n"
        "out = []\n"
        "for effect, method, link, iid, k, order in json.load(sys.stdin):\n"
        "    try:\n"
        "        specify(responses=[f'r{i}' for i in range(k)], random_effect=effect, method=method, link=link,\n"
        "                iid_part=iid, order=order)\n"
        "        out.append(True)\n"
        "    except SmallareaError:\n"
        "        out.append(False)\n"
        "json.dump(out, sys.stdout)"
    )
    done = subprocess.run(
        [engine_python, "-c", code], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    for case, accepted in zip(cases, json.loads(done.stdout)):  # noqa: B905 - QGIS may run Python 3.9
        effect, method, link, iid, k, order = case
        names = [f"r{i}" for i in range(k)]
        choice = ModelChoice(names, [f"v{i}" for i in range(k)], (), None, effect, link, order, method, iid)
        try:
            check_model(choice)
            ours = True
        except InputProblem:
            ours = False
        assert ours == accepted, case


def test_the_list_of_fields_keeps_the_order_it_shows(qgis_app):
    """What the help says: the order is that of the list, dragging changes it, and it is shown again when reopened."""
    from qgis.gui import QgsProcessingMultipleSelectionPanelWidget
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtWidgets import QAbstractItemView, QListView, QWidget

    parent = QWidget()
    fields = ["income", "other", "rent"]
    panel = QgsProcessingMultipleSelectionPanelWidget(fields, [], parent)
    view = panel.findChild(QListView)
    model = view.model()
    assert view.dragDropMode() == QAbstractItemView.DragDropMode.InternalMove
    for row in (2, 0):
        model.item(row).setCheckState(Qt.CheckState.Checked)
    assert panel.selectedOptions() == ["income", "rent"]
    model.insertRow(0, model.takeRow(2))
    assert panel.selectedOptions() == ["rent", "income"]
    again = QgsProcessingMultipleSelectionPanelWidget(fields, panel.selectedOptions(), parent)
    assert again.selectedOptions() == ["rent", "income"]


def test_two_responses_from_the_layer_to_the_map(grid, feedback, tmp_path):
    import processing

    output = str(tmp_path / "o.gpkg")
    found = processing.run(
        "smallarea:fitfayherriot",
        _parameters(
            grid(), COVARIATES=["x"], COVARIANCE=["income_rent"], METHOD="reml", RANDOM_EFFECT="iid", OUTPUT=output,
            CSV=str(tmp_path / "t.csv"), REPORT=str(tmp_path / "r.html"),
        ),
        feedback=feedback,
    )  # fmt: skip
    assert found["N_AREAS"] == found["N_SAMPLED"] == found["N_ESTIMATED"] == 36
    with closing(sqlite3.connect(output)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM estimates")]
        styles = connection.execute("SELECT styleName, useAsDefault FROM layer_styles").fetchall()
    assert [tuple(style) for style in styles][:2] == [("Estimate income", 1), ("Estimate rent", 0)]
    assert len(styles) == 6
    assert all(15.0 < row["estimate_income"] < 30.0 and 400.0 < row["estimate_rent"] < 600.0 for row in rows)
    assert rows[0]["direct_rent"] is None
    assert rows[0]["direct_income"] is not None
    said = "income with income_var; rent with rent_var; income and rent with income_rent"
    assert any(said in text for text in feedback.infos)
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").count("\n") == 73


def test_the_order_of_the_fields_is_that_of_the_parameters(grid, feedback, tmp_path):
    import processing

    results = {}
    for name, direct, variance in (
        ("one", ["income", "rent"], ["income_var", "rent_var"]),
        ("other", ["rent", "income"], ["rent_var", "income_var"]),
    ):
        output = str(tmp_path / f"{name}.gpkg")
        processing.run(
            "smallarea:fitfayherriot",
            _parameters(grid(), DIRECT=direct, VARIANCE=variance, METHOD="reml", RANDOM_EFFECT="iid", OUTPUT=output),
            feedback=feedback,
        )
        with closing(sqlite3.connect(output)) as connection:
            query = "SELECT direct_se_income, estimate_income, estimate_rent FROM estimates"
            results[name] = connection.execute(query).fetchall()
            default = connection.execute("SELECT styleName FROM layer_styles WHERE useAsDefault = 1").fetchone()[0]
        assert default == f"Estimate {direct[0]}"
    for one, other in zip(results["one"], results["other"]):  # noqa: B905 - QGIS may run Python 3.9
        assert one == pytest.approx(other, rel=1e-4)


def test_the_order_of_a_chain_arrives_under_the_names_that_the_engine_knows(make_grid, feedback, tmp_path):
    """A GeoPackage cannot hold 'inc' and 'Inc' beside each other, so the second is called otherwise on the way."""
    import processing

    layer = make_grid(
        4, "&field=inc:double&field=Inc:double&field=w:double", values=lambda i: [i % 7 + 0.1 * i, i % 5 - 0.2 * i, 0.3]
    )
    found = processing.run(
        "smallarea:fitfayherriot",
        _parameters(
            layer, DIRECT=["inc", "Inc"], VARIANCE=["v", "w"], LINK="chain", ORDER="Inc; inc", METHOD="ml",
            RANDOM_EFFECT="leroux", OUTPUT=str(tmp_path / "o.gpkg"),
        ),
        feedback=feedback,
    )  # fmt: skip
    assert "phi[Inc_] | phi[inc]" in found["FORMULA"]
    tried = processing.run(
        "smallarea:fitfayherriot",
        _parameters(
            layer, DIRECT=["inc", "Inc"], VARIANCE=["v", "w"], LINK="chain", ORDER="auto", METHOD="ml",
            RANDOM_EFFECT="leroux", OUTPUT=str(tmp_path / "a.gpkg"),
        ),
        feedback=feedback,
    )  # fmt: skip
    assert "phi[" in tried["FORMULA"]


def test_the_layer_offers_the_maps_of_every_response(grid, feedback, tmp_path):
    import processing
    from qgis.core import QgsVectorLayer
    from smallarea_qgis.processing_algorithms.result_layers import offer_styles

    output = str(tmp_path / "o.gpkg")
    processing.run(
        "smallarea:fitfayherriot",
        _parameters(grid(), METHOD="reml", RANDOM_EFFECT="iid", OUTPUT=output),
        feedback=feedback,
    )
    layer = QgsVectorLayer(f"{output}|layername=estimates", "estimates", "ogr")
    layer.loadDefaultStyle()
    offer_styles(layer)
    manager = layer.styleManager()
    assert manager.currentStyle() == "Estimate income"
    assert set(manager.styles()) >= {"Estimate income", "Estimate rent", "Reliability income", "Reliability rent"}
    assert len(manager.styles()) == 6
    assert layer.renderer().legendClassificationAttribute().count("estimate_income")
    assert manager.setCurrentStyle("Estimate rent")
    assert layer.renderer().legendClassificationAttribute().count("estimate_rent")
    # A layer without stored styles stays as it is.
    plain = grid(2)
    offer_styles(plain)
    assert len(plain.styleManager().styles()) == 1


def test_the_layer_is_named_after_its_responses(provider):
    from smallarea_qgis.processing_algorithms.fit_fay_herriot import listed

    assert listed(["income"]) == "income"
    assert listed(["income", "rent"]) == "income and rent"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
