import base64
import html
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from smallarea.areas import AreaGraph, Areas
from smallarea.errors import OutputProblem
from smallarea.report import render_report, write_report

VOID = {"meta", "img", "br", "rect", "line", "circle", "path"}
HOSTILE = "</td><script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


class Page(HTMLParser):
    """What the tests need to know about a page; it must be well formed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.words, self.captions = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def mixed_sign(result):
    table = result.estimates.copy()
    table[["direct", "estimate", "lower", "upper"]] -= 50.0
    return replace(result, estimates=table)


def frequentist(result, sd=2.2):
    return replace(
        result,
        model={
            **result.model,
            "method": "reml",
            "random_effect": "iid",
            "iid_part": True,
            "formula": "income ~ poverty",
        },
        hyperparameters=pd.DataFrame(
            {
                "name": ["sd_delta"],
                "description": ["SD of the area effect"],
                "estimate": [sd],
                "se": [np.nan],
                "lower": [np.nan],
                "upper": [np.nan],
                "ess": [np.nan],
                "prior": [""],
            }
        ),
        diagnostics={"iterations": 6, "converged": True},
        fit_statistics={"log_likelihood": -88.1, "aic": 182.2, "bic": float("nan")},
    )


def without_estimates(result, rows):
    table = result.estimates.copy()
    table.loc[rows, ["estimate", "se", "cv", "lower", "upper", "shrinkage"]] = np.nan
    table.loc[rows, "flag"] = "no estimate"
    table.loc[rows, "note"] = "no covariate"
    return replace(result, estimates=table)


def empty(frame):
    return frame.iloc[:0]


VARIANTS = {
    "plain": lambda r: r,
    "no polygons": lambda r: replace(r, areas=None),
    "no polygons and no graph": lambda r: replace(r, areas=None, graph=None),
    "no graph": lambda r: replace(r, graph=None),
    "mixed sign": mixed_sign,
    "frequentist": frequentist,
    "zero variance": lambda r: frequentist(r, 0.0),
    "some without estimate": lambda r: without_estimates(r, [1, 2, 30]),
    "none with estimate": lambda r: without_estimates(r, list(range(36))),
    "bare": lambda r: replace(
        r,
        areas=None,
        graph=None,
        coefficients=empty(r.coefficients),
        hyperparameters=empty(r.hyperparameters),
        area_diagnostics=empty(r.area_diagnostics),
        dropped=empty(r.dropped),
        fit_statistics={},
        diagnostics={},
        model={},
        call={},
        timings={},
        versions={},
        reliability={},
    ),
    "preset without thresholds": lambda r: replace(
        r,
        reliability={
            "name": "x",
            "description": "",
            "classes": [{"label": "acceptable", "meaning": "", "colour": "#004488"}],
        },
    ),
    "missing diagnostics": lambda r: replace(
        r, diagnostics={"ess_min": float("nan"), "moran_i": None, "pareto_k": 0.9}
    ),
    "warnings": lambda r: replace(r, warnings=("Two areas have no neighbour: 'A0001' and 'A0002'.",)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_report_is_a_sound_page(make_result, variant):
    check_sound(render_report(VARIANTS[variant](make_result())))


@pytest.mark.parametrize("names", [("income", "rent"), ("a", "b", "a,b"), ("income", "rent", "poverty", "jobs")])
@pytest.mark.parametrize(
    "variant", ["plain", "no polygons and no graph", "mixed sign", "none with estimate", "warnings"]
)
def test_every_report_of_several_responses_is_a_sound_page(make_several, names, variant):
    check_sound(render_report(VARIANTS[variant](make_several(names))))


def check_sound(text):
    page = Page(text)
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.all("a")]
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert all(a["src"].startswith("data:image/") and len(a["alt"]) > 10 for a in page.all("img"))
    assert all(int(a["width"]) > 50 and int(a["height"]) > 50 for a in page.all("img"))
    # Nothing missing may show as the machine's word for it.
    assert re.search(r"\b(nan|NaN|None|inf|np\.float64|NaT)\b|<NA>|built-in", page.text) is None
    assert "{{" not in text
    assert "{%" not in text
    assert len(page.all("h1")) == 1


def test_no_scripts_no_network(make_result):
    text = render_report(make_result())
    page = Page(text)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy
    assert "connect" not in policy
    for tag in ("script", "link", "iframe", "object", "embed", "form", "base"):
        assert page.all(tag) == []
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    for image in page.all("img"):
        kind, data = image["src"].split(";base64,")
        content = base64.b64decode(data)
        if kind.endswith("svg+xml"):
            assert b"<script" not in content
            # Name spaces and the type of the document are names, not addresses that anything fetches.
            addresses = set(re.findall(rb'(?:href|src)="([^"]*)"', content))
            assert all(a.startswith((b"#", b"data:image/png")) for a in addresses)


def test_markup_in_the_data_stays_text(make_result):
    shapes = shapely.box(np.arange(36.0), 0, np.arange(36.0) + 1, 1)
    frame = gpd.GeoDataFrame({"code": [f"{i}{HOSTILE}" for i in range(36)]}, geometry=shapes, crs=None)
    result = make_result(frame=frame, response=HOSTILE)
    table = result.estimates.copy()
    table["note"] = np.where(table["sampled"], "", f"note {HOSTILE}")
    table.loc[5, "flag"] = f"flag {HOSTILE}"
    edges = np.column_stack([np.arange(30), np.arange(30) + 1])
    graph = AreaGraph.from_edges(
        result.areas.ids,
        edges,
        {"source": HOSTILE, "contiguity": HOSTILE, "own": HOSTILE, "links_added": [[HOSTILE, "b", 3.0]]},
    )
    reliability = dict(result.reliability)
    reliability.update(title=HOSTILE, description=HOSTILE, source=HOSTILE)
    reliability["classes"] = [{**c, "meaning": HOSTILE} for c in reliability["classes"]]
    reliability["classes"].append({"label": f"flag {HOSTILE}", "meaning": "", "colour": '#000"/><script>x</script>'})
    result = replace(
        result,
        estimates=table,
        areas=Areas(result.areas.ids, frame, "code", HOSTILE, (HOSTILE,)),
        graph=graph,
        model={**result.model, "formula": HOSTILE, "covariates": [HOSTILE], "direct": [HOSTILE]},
        coefficients=result.coefficients.assign(term=HOSTILE),
        hyperparameters=result.hyperparameters.assign(name=HOSTILE, description=HOSTILE, prior=HOSTILE),
        dropped=pd.DataFrame({"what": [HOSTILE], "id": [HOSTILE], "reason": [HOSTILE]}),
        warnings=(HOSTILE,),
        reliability=reliability,
        diagnostics={HOSTILE: HOSTILE},
        fit_statistics={HOSTILE: 1.0},
        call={HOSTILE: HOSTILE, "path": f"folder/{HOSTILE}"},
        timings={HOSTILE: 1.0},
        versions={HOSTILE: HOSTILE, "smallarea": HOSTILE},
    )
    text = render_report(result)
    page = Page(text)
    assert page.all("script") == []
    assert all(a["src"].startswith("data:") for a in page.all("img"))
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    escaped = html.escape(HOSTILE)
    assert escaped.replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in text
    # Each place shows the text as it is: unescaping the page gives it back, and no template syntax ran.
    assert page.text.count("<script>alert('x')</script>") > 60
    assert "{{ 7*7 }}" in page.text


def test_summary_has_the_numbers(make_result):
    result = make_result()
    table = result.estimates
    both = table[table["sampled"]]
    page = Page(render_report(result))
    assert "gives an estimate for all 36 areas" in page.text
    assert "sampling variance for 34" in page.text
    assert "The other 2 are predicted from covariates and neighbours alone" in page.text
    drop = 100 * (1 - np.median(both["se"] / both["direct_se"]))
    assert f"{drop:.1f}% smaller" in page.text
    times = np.median((both["direct_se"] / both["se"]) ** 2)
    assert f"{times:.1f} times as large" in page.text
    acceptable = int((both["flag"] == "acceptable").sum())
    before = int((100 * both["direct_se"] / both["direct"] < 16.55).sum())
    assert 0 < before < acceptable == 34
    assert f"{before} ({100 * before / 34:.1f}%) of the direct estimates and 34 (100%) of the model" in page.text


def test_largest_changes_are_the_largest(make_result):
    result = make_result()
    table = result.estimates
    change = ((table["estimate"] - table["direct"]) / table["direct_se"]).abs()
    expected = table["area"][change.sort_values(ascending=False).index[:10]].tolist()
    text = render_report(result)
    start = text.index("<h3>Largest changes</h3>")
    found = re.findall(r'<th scope="row" class="id">(.*?)</th>', text[start : text.index("</table>", start)])
    assert found == expected


def test_sections_that_do_not_apply_are_left_out(make_result):
    bare = Page(render_report(VARIANTS["bare"](make_result())))
    headings = {a.get("id") for a in bare.all("section")}
    assert headings == {"summary", "estimates", "model", "checks", "areas", "provenance", "all"}
    full = Page(render_report(make_result()))
    assert {a.get("id") for a in full.all("section")} == headings | {"maps", "reliability"}
    frequent = Page(render_report(VARIANTS["frequentist"](make_result()))).text
    assert "Prior" not in frequent
    assert "Effective sample size" not in frequent
    assert "credible" not in frequent
    assert "Log-likelihood" in frequent
    assert "BIC" not in frequent
    assert "no neighbour" not in frequent


def test_uncertainty_map_is_the_cv_only_where_it_has_a_meaning(make_result):
    assert "Coefficient of variation" in render_report(make_result())
    text = render_report(mixed_sign(make_result()))
    assert "Standard error of the estimate" in text
    assert ">Coefficient of variation<" not in text


def test_groups_of_what_was_left_out(make_result):
    page = Page(render_report(make_result()))
    assert "table row 2 not on the map X1 , X2" in page.text
    assert "area 2 not in the sample A0003 , A0020" in page.text
    many = pd.DataFrame({"what": "table row", "id": [f"Z{i}" for i in range(40)], "reason": "not on the map"})
    text = Page(render_report(make_result(dropped=many))).text
    assert "Z11 and 28 more" in text
    assert "Z12" not in text
    calm = make_result(unsampled=(), dropped=many.iloc[:0])
    assert "Every area and every table row was used" in Page(render_report(calm)).text


def test_a_reason_is_listed_once(make_result):
    result = make_result()
    table = result.estimates.copy()
    table.loc[3, "note"] = "no direct estimate; covariate 'x' is missing"
    table.loc[20, "note"] = "covariate 'x' is missing"
    dropped = pd.DataFrame({"what": ["area"] * 2, "id": ["A0003", "A0020"], "reason": ["covariate 'x' is missing"] * 2})
    text = Page(render_report(replace(result, estimates=table, dropped=dropped))).text
    assert text.count("covariate 'x' is missing") == 1
    assert "area 1 no direct estimate A0003" in text


def test_cv_on_a_log_scale_is_flagged(make_result):
    warning = "name of the response suggests a transformed scale"
    for name in ("log_income", "LN income", "income.log", "logit(p)"):
        assert warning in render_report(make_result(response=name))
    for name in ("income", "logistics", "catalog", "plng"):
        assert warning not in render_report(make_result(response=name))
    assert warning not in render_report(make_result(response="log_p", preset="samhsa_proportion"))


def test_the_same_fit_gives_the_same_page(make_result):
    assert render_report(make_result()) == render_report(make_result())


def test_reports_may_be_made_in_several_threads(make_result):
    results = [make_result(seed=s) for s in (1, 2)] * 3
    alone = {id(r): render_report(r) for r in results}
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(render_report, results))
    assert [alone[id(r)] for r in results] == together


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_areas(make_result, n):
    Page(render_report(make_result(1, n, unsampled=())))
    Page(render_report(make_result(1, n, unsampled=(0,))))


def test_nothing_sampled(make_result):
    page = Page(render_report(make_result(unsampled=tuple(range(36)))))
    assert "too few areas" in page.text


@pytest.fixture
def strings_of_python():
    """Let strings hold what pyarrow refuses: a surrogate without its other half."""
    with pd.option_context("mode.string_storage", "python"):
        yield


@pytest.mark.usefixtures("strings_of_python")
def test_any_script_in_names_and_ids(make_result):
    frame = gpd.GeoDataFrame(
        {"code": ["東京$x^2$", "Ξάνθη", "القاهرة", "a\ud800b"]},
        geometry=shapely.box(np.arange(4.0), 0, np.arange(4.0) + 1, 1),
    )
    text = render_report(make_result(2, 2, frame=frame, unsampled=(1,), response="доход $\\frac$"))
    assert "東京$x^2$" in text
    assert "القاهرة" in text
    assert "<h1>доход $\\frac$</h1>" in text


@pytest.mark.usefixtures("strings_of_python")
def test_written_file(make_result, tmp_path):
    path = tmp_path / "report.html"
    frame = gpd.GeoDataFrame({"code": ["a\ud800", "b"]}, geometry=shapely.box([0, 1], 0, [1, 2], 1))
    result = make_result(1, 2, frame=frame, unsampled=())
    write_report(result, str(path), written=datetime(2024, 5, 3, 14, 7))
    text = path.read_bytes().decode("utf-8")
    assert "3 May 2024, 14:07" in text
    assert "a&#55296;" in text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OutputProblem, match="does not exist"):
        write_report(result, str(tmp_path / "nowhere" / "report.html"))


def test_a_failure_leaves_the_old_report(make_result, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = make_result(estimates=pd.DataFrame({"area": ["a"], "response": ["y"]}))
    with pytest.raises(KeyError):
        write_report(broken, str(path))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_thousands_of_areas_stay_light(make_result):
    side = 90
    t = np.linspace(0, 1, 12)[:-1]
    wiggle = 60 * np.sin(14 * np.pi * t)
    ring = np.concatenate(
        [
            np.column_stack([1000 * t, wiggle]),
            np.column_stack([1000 + wiggle, 1000 * t]),
            np.column_stack([1000 - 1000 * t, 1000 + wiggle]),
            np.column_stack([wiggle, 1000 - 1000 * t]),
        ]
    )
    x, y = np.meshgrid(np.arange(side) * 1000.0, np.arange(side) * 1000.0)
    shapes = shapely.polygons(ring[None] + np.column_stack([x.ravel(), y.ravel()])[:, None, :])
    frame = gpd.GeoDataFrame({"code": [f"{i:05d}" for i in range(side * side)]}, geometry=shapes, crs="EPSG:32617")
    text = render_report(make_result(side, side, frame=frame, unsampled=tuple(range(0, 8100, 81))))
    assert len(text.encode()) < 3_000_000
    page = Page(text)
    assert "All estimates" not in page.text
    assert len(page.all("img")) == 8


def test_matplotlib_is_loaded_late_and_pyplot_never():
    code = (
        "import sys, smallarea.report, smallarea.report.figures, smallarea.report.maps\n"
        "assert not any(m.split('.')[0] in ('matplotlib', 'PIL', 'jinja2') for m in sys.modules), 'at import'\n"
        "smallarea.report.figures.normal_quantiles([0.1, 0.5, -1.0, 2.0])\n"
        "assert 'matplotlib' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_information_of_imputed_direct_estimates(make_result):
    result = make_result()
    assert "Fraction of missing information" not in render_report(result)
    name = result.call["direct"] if isinstance(result.call.get("direct"), str) else "rate"
    frame = result.areas.frame.assign(**{f"fmi_{name}": np.linspace(0.0, 0.3, len(result.areas.frame))})
    known = replace(result, areas=replace(result.areas, frame=frame), call={**result.call, "direct": name})
    text = Page(render_report(known)).text
    assert f"Fraction of missing information, {name}" in text
    assert "30.0% at most" in text
