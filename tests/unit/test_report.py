"""The report as text: a pure function of its inputs, one file that loads nothing, whatever is in a prompt."""

import base64
import hashlib
import html
import json
import re
import shlex
import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from fun.reporting.blocks import fold
from fun.reporting.charts import chart_svg, chart_table, ticks
from fun.reporting.digit_figures import Epoch, Model, denoising_figure, samples_figure, schedules_figure
from fun.reporting.figure import Figure, checksum, read_figure, write_figure
from fun.reporting.notebook import show
from fun.reporting.numerals import exponent_text, factor_text, number_text, size_text
from fun.reporting.page import RESOURCES, SECTIONS, hero_strips, render_page, story
from fun.reporting.provenance import made_table, value_text, without_folders
from fun.reporting.score_table import COLUMNS, score_table
from report_figures import COMPARISON, CONFIG, HOSTILE, VERSIONS, load_figures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = Path("results/miniature")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        load_figures(folder)
        yield folder


@pytest.fixture(scope="module")
def figures(folder):
    return [read_figure(path) for path in sorted(folder.glob("*/figure.json"))]


@pytest.fixture(scope="module")
def page(figures):
    return render_page(figures, CONFIG, VERSIONS, COMPARISON)


class Tags(HTMLParser):
    """Every start tag of a page: [(tag, {attribute: value})]."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_no_picture_waits_until_it_is_looked_at(page):
    assert "loading=" not in page  # all are in the file, and what makes a PDF of it does not scroll


def test_made_in_another_folder_it_is_equal_to_the_byte(folder, page, tmp_path, monkeypatch):
    assert str(Path.cwd()) not in page
    shutil.copytree(folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    again = [read_figure(path) for path in sorted(folder.glob("*/figure.json"))]
    assert render_page(again, CONFIG, VERSIONS, COMPARISON) == page


def test_every_picture_is_in_the_page_once(figures, page):
    stored = set()
    for figure in figures:
        for block in figure.blocks:
            for panel in block["panels"]:
                stored.add(figure.picture_bytes(panel["image"]))
    embedded = [base64.b64decode(data) for data in re.findall(r'"data:image/(?:png|webp);base64,([^"]+)"', page)]
    assert len(embedded) == len(set(embedded)) == len(stored)
    for content in stored - set(embedded):  # the large ones, as WebP
        with Image.open(BytesIO(content)) as picture:
            assert min(picture.size) > 128
    for content in set(embedded) - stored:
        with Image.open(BytesIO(content)) as picture:
            assert picture.format == "WEBP"


def test_a_photo_is_kept_small_in_the_page_and_whole_beside_it(tmp_path):
    noise = np.random.default_rng(0).normal(128, 40, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    photo = Image.fromarray(noise).resize((1024, 1024), Image.Resampling.BICUBIC)
    panels = [{"picture": photo, "label": "a photo", "alt": "a photo", "provenance": {}}]
    blocks = [{"layout": "row", "panels": panels}]
    path = write_figure(tmp_path, id="photo", title="A photo", caption="", section="upsample", blocks=blocks)
    page = render_page([read_figure(path)], {}, {})
    (content,) = [base64.b64decode(data) for data in re.findall(r'"data:image/webp;base64,([^"]+)"', page)]
    with Image.open(BytesIO(content)) as shown, Image.open(tmp_path / "figure/a_photo.png") as whole:
        assert shown.size == (512, 512) and whole.size == (1024, 1024)
        small = np.asarray(whole.resize((512, 512), Image.Resampling.LANCZOS), dtype=float)
        assert np.abs(np.asarray(shown.convert("RGB"), dtype=float) - small).mean() < 4
    assert len(content) < 100_000 and 'width="1024" height="1024"' in page


def test_every_panel_shows_its_picture_without_a_script(figures, page):
    panels = sum(len(block["panels"]) for figure in figures for block in figure.blocks)
    hero = page[page.index('<header class="hero">') : page.index("</header>")].count('class="picture')
    assert page.count('class="picture') == panels + hero
    assert hero == 7 + 5


def test_what_a_prompt_says_stays_text(page):
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    tags = Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 1
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]


def test_nothing_in_the_page_is_fetched_from_outside(page):
    for tag, attributes in Tags(page).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")), (
                    tag,
                    attributes[name][:80],
                )
    assert "@import" not in page and "url(" not in page


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(page):
    policy = next(a["content"] for tag, a in Tags(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    allowed = dict(entry.strip().split(" ", 1) for entry in policy.split(";"))
    for kind in ("script", "style"):
        text = re.search(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[f"{kind}-src"] == f"'sha256-{digest}'"
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"


def test_every_id_is_unique_and_every_reference_is_met(page):
    tags = Tags(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a["href"][1:] for _, a in tags if a.get("href", "").startswith("#")]
    named += [part for _, a in tags for key in ("aria-labelledby", "data-made") for part in a.get(key, "").split()]
    charts = {part for part in named if part.startswith("made-")} - set(ids)
    assert set(named) - set(ids) == charts  # a chart has no picture, so nothing that made one
    assert len(charts) == 3


def test_sections_are_in_the_story_s_order_and_empty_ones_left_out(figures, page):
    sections = re.findall(r'<section id="([^"]+)"', page)
    known = ["forward_process", "denoising", "sampling", "guidance", "visual_anagram", "training"]
    assert sections == [*known, "comparison", "made"]
    alone = render_page(figures[:1], CONFIG, VERSIONS)
    assert len(re.findall("<section ", alone)) == 2 and "comparison" not in re.findall(r'<section id="([^"]+)"', alone)


def test_a_figure_of_an_unknown_section_is_refused(figures):
    with pytest.raises(ValueError, match="figure denoising: no section 'weather'; known: forward_process, "):
        render_page([replace(figures[0], section="weather")], CONFIG, VERSIONS)


def test_every_section_has_its_words(figures):
    environment = Environment(loader=FileSystemLoader(RESOURCES), autoescape=True)
    for key in SECTIONS:
        words = environment.get_template(f"sections/{key}.html.j2").render()
        assert words.count("<p>") >= 1
        assert "&lt;m" not in words  # MathML that was escaped


SPOKEN = {"ε": "epsilon", "α": "alpha", "¯": "bar", "^": "hat", "γ": "gamma", "σ": "sigma", "θ": "theta", "𝒩": "N"}
SPOKEN |= {
    "t′": "t prime",
    "0": "zero",
    "1": "one",
    "2": "two",
    "+": "plus",
    "−": "minus",
    "=": "equals",
    "←": "becomes",
}


@pytest.mark.parametrize("key", SECTIONS)
def test_a_formula_is_spoken_as_it_is_written(key):
    environment = Environment(loader=FileSystemLoader(RESOURCES), autoescape=True)
    words = environment.get_template(f"sections/{key}.html.j2").render()
    for spoken, formula in re.findall(r'aria-label="Formula: (.*?)".*?<math(.*?)</math>', words, re.DOTALL):
        seen = re.findall(r"<(?:mi|mn|mo|mtext)[^>]*>(?:<mi>)?([\w^¯+−=←′]+)</", formula)
        asked = Counter(word for token in seen for word in SPOKEN.get(token, token).split())
        said = Counter(re.findall(r"\w+", spoken))
        assert {word: said[word] for word in asked} == dict(asked)


def test_success_is_counted_over_all_samples(page):
    assert "20 of 24 succeeded, according" in page and "4 of 5 succeeded in all readings" in page


def test_how_an_anagram_came_out_stands_above_its_pictures(figures, page):
    figure = page[page.index('id="figure-six_nine"') :]
    above = figure[: figure.index('class="picture')]
    assert re.search(r"Of 12 samples \(Stage I+\) the judge saw both in 83 %, neither in 17 %\.", above)
    table = figure[figure.index('class="outcomes"') : figure.index('class="metrics"')]
    rows = re.findall('<th scope="row">(.*?)</th>(.*?)</tr>', table, re.DOTALL)
    assert [(name, re.findall("<td>(.*?) <small>(.*?)</small>", cells)) for name, cells in rows] == [
        ("both", [("83 %", "42 – 92 %")] * 2),
        ("neither", [("17 %", "8 – 58 %")] * 2),
    ]
    assert "12 samples in Stage I, 12 samples in Stage II" in table


def test_the_command_and_what_made_a_picture_stand_in_the_page(page):
    assert "<code>snakemake --cores 1 results/miniature/guidance/figure.json</code>" in page
    assert "<dt>revision</dt><dd>0123456789abcdef</dd>" in page


def test_each_command_has_the_options_of_the_run(figures):
    page = render_page(figures, CONFIG, VERSIONS, options="--configfile presets/full.yaml --config 'cascade=a b'")
    commands = [html.unescape(command) for command in re.findall("<code>(.*?)</code>", page)]
    assert len(commands) == len(figures) + 1 and commands[-1].startswith("snakemake --cores all all --configfile ")
    options = ["--configfile", "presets/full.yaml", "--config", "cascade=a b"]
    for figure, command in zip(story_order(figures), commands[:-1], strict=True):
        target = f"results/miniature/{figure.id}/figure.json"
        assert shlex.split(command) == ["snakemake", "--cores", "1", target, *options]


def test_a_report_of_some_figures_says_how_many(figures, page):
    so_far = render_page(figures[:2], CONFIG, VERSIONS, out_of=19)
    assert "The report so far: 2 of 19 figures are there." in so_far[: so_far.index("</header>")]
    assert "The report so far" not in page
    assert "0 of 19 figures" in render_page([], CONFIG, VERSIONS, out_of=19)


def story_order(figures):
    return [figure for section in story(figures) for figure in section.figures]


def test_the_licence_of_deepfloyd_stands_only_beside_its_pictures(figures, folder, tmp_path):
    assert "non-commercial research only" not in render_page(figures, CONFIG, VERSIONS)
    shutil.copytree(folder / "forward", tmp_path / "forward")
    path = tmp_path / "forward" / "figure.json"
    document = json.loads(path.read_text())
    document["provenance"]["model"] = "DeepFloyd/IF-I-XL-v1.0"
    document["sha256"] = checksum(path.parent, document)
    path.write_text(json.dumps(document))
    assert "non-commercial research only" in render_page([read_figure(path)], CONFIG, VERSIONS)
    config = {"cascade": "deepfloyd", "cascades": {"deepfloyd": {"safety_checker": False, "watermark": True}}}
    page = render_page([read_figure(path)], config, VERSIONS)
    assert "Of these protections, the safety checker was switched" in page


def test_two_figures_of_one_name_are_refused(figures):
    with pytest.raises(ValueError, match="same id"):
        render_page([figures[0], figures[0]], CONFIG, VERSIONS)


def test_no_folder_of_this_machine_gets_into_the_page(figures):
    config = {"mnist": {"data": "/home/somebody/mnist"}, "experiments": {"x": {"image": "/srv/a/b.png"}}}
    page = render_page(figures, config, VERSIONS)
    assert "somebody" not in page and "…/mnist" in page and "…/b.png" in page and "/srv" not in page


def test_a_prompt_that_begins_with_a_slash_is_no_path():
    experiment = {"prompts": ["/imagine a dog"], "views": [{"prompt": "/imagine a cat"}], "image": "/srv/a/b.png"}
    assert without_folders(experiment) == experiment | {"image": "…/b.png"}
    model = {"model": "/home/somebody/IF-I-XL", "revision": "0123"}
    assert without_folders(model) == {"model": "…/IF-I-XL", "revision": "0123"}


@pytest.mark.parametrize(
    ("model", "notice"),
    [
        ("DeepFloyd/IF-I-M-v1.0", True),
        ("models/IF-II-L", True),
        ("…/IF-I-XL", True),
        ("resources/miniature/stage_1", False),
    ],
)
def test_a_copy_of_ifs_weights_gets_the_licence_notice(figures, model, notice):
    block = {"layout": "row", "panels": [figures[0].blocks[0]["panels"][0] | {"provenance": {"model": model}}]}
    page = render_page([replace(figures[0], blocks=[block], provenance={})], CONFIG, VERSIONS)
    assert ("DeepFloyd is licensed under the DeepFloyd License" in page) == notice


def test_what_pictures_have_in_common_is_said_once(figures):
    guidance = next(figure for figure in figures if figure.id == "guidance")
    common, columns, rows = made_table(guidance, guidance.blocks[0])
    assert ("sampler", "ddpm", True) in common
    assert columns == ["guidance scale", "seed"]
    assert rows[0] == ["1", "0"] and len(rows) == 24


def test_a_picture_that_nothing_made_has_no_row_of_dashes(figures, page):
    forward = next(figure for figure in figures if figure.id == "forward")
    common, columns, rows = made_table(forward, forward.blocks[0])
    assert (columns, rows) == (["t"], [None, ["250"], ["500"], ["750"]])
    assert ("sampler", "ddpm", True) in common
    made = page[page.index('id="made-forward-0"') : page.index("</details>", page.index('id="made-forward-0"'))]
    assert "–" not in made and made.count("<tr data-panel=") == 3 and '<tr data-panel="1">' in made


def test_what_no_picture_has_is_not_mentioned(figures):
    block = {"panels": [{"provenance": {"seed": seed, "revision": None}} for seed in (1, 2)]}
    assert made_table(replace(figures[0], provenance={}), block) == ([], ["seed"], [["1"], ["2"]])


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 120000, False, [0, 25000, 50000, 75000, 100000]),
        (-1, 1, False, [-1, -0.5, 0, 0.5, 1]),
        (0.15, 1.1, True, [0.2, 0.5, 1]),
        (1e-4, 10, True, [1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, log, expected):
    assert ticks(low, high, log) == pytest.approx(expected)


def line(**entries):
    axes = {"x": {"label": "epoch"}, "y": {"label": "loss", "unit": "nats", "min": 0, "max": 10}}
    return {"kind": "line", **axes, "series": [{"name": "a", **entries}]}


def test_a_curve_s_ends_lie_where_the_axes_say():
    svg = chart_svg(line(x=[0, 10], y=[0, 10]), "words")
    assert '<path class="line" d="M66.0,229.0L388.0,14.0"/>' in svg  # lower left to upper right corner
    assert "loss (nats)" in svg and 'aria-label="words"' in svg


def test_a_missing_point_interrupts_the_curve():
    assert chart_svg(line(x=[0, 1, 2, 3, 4], y=[1, 2, None, 4, 5]), "words").count('class="line"') == 2


def test_a_chart_of_one_point_is_drawn():
    assert chart_svg(line(x=[3], y=[4]), "words").count('class="marker"') == 1


def test_the_table_behind_a_chart_has_every_number():
    chart = line(x=[1, 5], y=[0.5, 0.25], low=[0.4, 0.2], high=[0.6, 0.3])
    chart["series"].append({"name": "b", "x": [5, 10], "y": [1234567, 0.00012]})
    headings, rows = chart_table(chart)
    assert headings == ["epoch", "a", "b"]
    assert rows == [
        ["1", "0.5 (0.4 – 0.6)", ""],
        ["5", "0.25 (0.2 – 0.3)", "1\u202f234\u202f567"],
        ["10", "", "1.20 × 10⁻⁴"],
    ]


def test_names_in_a_chart_are_escaped():
    chart = line(x=[1, 2], y=[1, 2])
    chart["series"][0]["name"] = chart["y"]["label"] = HOSTILE
    assert "<script" not in chart_svg(chart, HOSTILE)


def test_a_note_is_markdown_and_nothing_that_could_run_or_be_fetched(tmp_path):
    note = "# Seen\n\nIt is *sharp*, see [there](https://example.org).\n\n- <b onclick=x>one</b>\n\n![p](https://a.b/c.png) [run](javascript:x)"
    picture = np.zeros((28, 28), np.uint8)
    schedules = schedules_figure(
        {"linear": {1: picture}, "cosine": {1: picture}}, {"linear": [1, 0.1], "cosine": [1, 0.1]}, "cosine", 0
    )
    page = render_page([read_figure(write_figure(tmp_path, **schedules, note=note))], CONFIG, VERSIONS)
    (shown,) = re.findall(r'<div class="users-note">(.*?)</div>', page, re.DOTALL)
    assert "<em>sharp</em>" in shown and '<a href="https://example.org">there</a>' in shown and "<li>" in shown
    assert "&lt;b onclick=x&gt;" in shown and not re.findall(r"<h\d|<img|<b |javascript:[^)]*\"", shown)
    assert (
        "users-note"
        not in render_page([read_figure(write_figure(tmp_path, **schedules))], CONFIG, VERSIONS).split("</style>")[1]
    )


def test_numbers_are_written_alike_in_captions_and_tables():
    picture = np.zeros((28, 28), np.uint8)
    signal = {"linear": [1, 0.0123], "cosine": [1, 1.64e-4]}
    schedules = schedules_figure({"linear": {1: picture}, "cosine": {1: picture}}, signal, "cosine", 0)
    assert "1.64 × 10⁻⁴" in schedules["caption"] and "0.0123" in schedules["caption"]
    rate, distance = {"value": 0.9876, "low": 0.98, "high": 0.99, "n": 2000}, {"value": 1.234567, "n": 2000}
    denoising = [
        {"t": 5, "kind": way, "psnr": 20.0, "class_accuracy": rate} for way in ("noisy", "one_step", "iterative")
    ]
    scores = {"class_accuracy": rate, "frechet_distance": distance, "frechet_floor": distance, "denoising": denoising}
    drawn = {
        "grid": np.zeros((40, 28, 28), np.uint8),
        "clean": np.zeros((10, 28, 28), np.uint8),
        "noised_at": np.array([5]),
    }
    drawn |= {f"{way}_5": drawn["clean"] for way in ("noisy", "one_step", "iterative")}
    epoch = Epoch(20, drawn, scores, {"sampling": {"guidance_scale": 2.0}, "seed": 0})
    model = Model("m", "small", True, 12000, [epoch])
    figures = [schedules, samples_figure(model), denoising_figure(model)]
    texts = [figure["caption"] for figure in figures]
    texts += [panel["label"] for figure in figures for block in figure["blocks"] for panel in block["panels"]]
    assert not [text for text in texts if re.search(r"\de[-+]\d|\d,\d|\d%", text)]
    assert "98.76\u00a0% of 2000 read as asked; Fréchet distance 1.235" in samples_figure(model)["blocks"][0]["panels"][
        0
    ]["label"].replace("\u202f", "")
    assert value_text(1.64e-7) == number_text(1.64e-7) and value_text(0.25) == "0.25"


def test_numbers_are_written_as_one_reads_them():
    assert (number_text(9999.7), size_text(999_600)) == ("10\u202f000", "1 million")
    assert value_text(0.00016) == number_text(0.00016) == "1.60 × 10⁻⁴" and value_text(0.0) == "0"
    assert [number_text(value) for value in (None, -2, 0.98765, 0)] == ["–", "−2", "0.9877", "0"]
    assert [size_text(value) for value in (388_000, 4_304_695_110, 12)] == ["388 thousand", "4.3 billion", "12"]
    assert (factor_text(11107), factor_text(2.296), exponent_text(11107)) == ("11\u202f000", "2.3", "4.0")


def test_the_top_of_the_page_has_a_strip_of_each_half(figures):
    """Of several figures of a section, the first."""
    marked = [figure for figure in figures if any(block.get("hero") for block in figure.blocks)]
    assert [figure.section for figure, _ in hero_strips(marked)] == ["denoising", "training"]
    again = [replace(figure, id=f"{figure.id}_again") for figure in marked]
    assert [figure.id for figure, _ in hero_strips([*marked, *again])] == [figure.id for figure in marked]


def test_every_number_of_the_page_is_in_the_table(figures):
    table = score_table(figures)
    assert tuple(table.columns) == COLUMNS
    for figure in figures:
        rows = table[table.figure == figure.id]
        charts = [block["chart"] for block in figure.blocks if block["layout"] == "chart"]
        points = sum(len(series["x"]) for chart in charts for series in chart["series"])
        assert len(rows) == len(figure.metrics) + points
    row = table[table.what == "Digit read correctly"].iloc[0]
    assert (row.figure, row.value, row.low, row.high, row.n, row.unit) == ("denoising", 93.75, 85, 97.5, 64, "%")
    bars = table[(table.figure == "guidance") & table["at"].notna()]
    assert list(bars[bars.what == "accuracy, digit"].value) == [61, 97, 95]


def test_what_all_pictures_of_a_stage_share_stands_beside_its_numbers(tmp_path):
    picture = Image.new("L", (4, 4))

    def panel(**made):
        return {"picture": picture, "label": "x", "alt": "x", "provenance": made}

    panels = [panel(stage="Stage I", sampler="ddim", steps=20, guidance_scale=scale) for scale in (1, 3)] + [
        panel(stage="Stage II", sampler="ddpm", num_steps=9, guidance_scale=4)
    ]
    numbers = [{"name": f"{stage}: prompt seen", "value": 50.0} for stage in ("Stage I", "Stage II")] + [
        {"name": "all", "value": 1.0}
    ]
    path = write_figure(
        tmp_path,
        id="f",
        title="t",
        caption="",
        section="sampling",
        blocks=[{"layout": "row", "panels": panels}],
        metrics=numbers,
    )
    rows = score_table([read_figure(path)])[["stage", "what", "sampler", "steps", "guidance_scale"]]
    assert [["–" if pd.isna(cell) else cell for cell in row] for row in rows.to_numpy()] == [
        ["Stage I", "prompt seen", "ddim", 20, "–"],
        ["Stage II", "prompt seen", "ddpm", 9, 4],
        ["", "all", "–", "–", "–"],
    ]


def test_the_page_says_where_the_table_is(figures, page):
    assert "scores.csv" not in page
    beside = render_page(figures, CONFIG, VERSIONS, scores="scores.csv")
    assert beside.count('href="scores.csv"') == 1 + sum(
        block["layout"] == "chart" for figure in figures for block in figure.blocks
    )


def test_a_figure_can_be_shown_alone_as_in_a_notebook(figures):
    for figure in figures:
        shown = show(figure.folder / "figure.json", height=300)._repr_html_()
        assert shown.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;') and 'height="300"' in shown
        page = html.unescape(shown.split('"')[1])
        assert (
            page.count('<article class="figure"') == 1 and f'id="figure-{figure.id}"' in page and 'id="details"' in page
        )


def test_a_figure_shows_its_point_on_half_a_screen_and_loses_nothing():
    """A judged grid of ten rows is cut, so are the flips of four seeds, a table that nobody judges is not; what follows is behind a click, sliders are not."""

    def grid(rows, columns, width=16, **panel):
        panel |= {"width": width, "height": 16}
        return {"layout": "grid", "columns": columns, "rows": ["x"] * rows, "panels": [panel] * (rows * columns)}

    judged, table, scrub = (
        grid(10, 4, success=True),
        grid(10, 4, success=None),
        {"layout": "scrub", "panels": [{"state": "1"}]},
    )
    chart = {"layout": "chart", "panels": []}
    flips = {"layout": "flip", "panels": [{"state": f"seed {i // 3}", "success": True} for i in range(12)]}

    def folded(*blocks):
        figure = Figure(Path(), "f", "t", "", "", "sampling", list(blocks), [], {})
        return [[(number, first, end) for number, _, first, end in part] for part in fold(figure)]

    assert folded(judged) == [[(0, 0, 12)], [(0, 12, 40)]]
    assert folded(flips) == [[(0, 0, 6)], [(0, 6, 12)]]
    assert folded(table) == [[(0, 0, 40)], []]
    assert folded(grid(1, 4, success=True), chart) == [[(0, 0, 4), (1, 0, 0)], []]
    strips = grid(3, 3, width=160)  # ten pictures in one, which take little height
    row = {"layout": "row", "panels": strips["panels"][:1]}
    assert folded(row, strips) == [[(0, 0, 1), (1, 0, 9)], []]
    squares = {"layout": "row", "panels": table["panels"][:9]}
    assert folded(squares, grid(3, 3)) == [[(0, 0, 9), (1, 0, 9)], []], "what a row is there for is seen"
    assert folded(squares, grid(3, 3), grid(3, 3)) == [[(0, 0, 9), (1, 0, 9)], [(2, 0, 9)]]
    assert folded(judged, scrub, chart, judged) == [[(0, 0, 12), (1, 0, 1)], [(0, 12, 40), (2, 0, 0), (3, 0, 40)]]
