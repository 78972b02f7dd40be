"""The report: figures in, one HTML page out. A pure function: no clock, host name or path gets into the page.

The page makes no requests and runs no script but its own: its Content-Security-Policy allows only data: pictures and, by
their hashes, its own style sheet and script. Jinja2 escapes every text from outside.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from markupsafe import Markup

from fun.reporting.blocks import block_name, fold, is_wide, states, tally
from fun.reporting.charts import axis_title, chart_svg, chart_table, marker_svg
from fun.reporting.figure import row_of
from fun.reporting.numerals import exponent_text, factor_text, number_text, size_text
from fun.reporting.pictures import Pictures
from fun.reporting.provenance import command_of, made_table, made_with, without_folders
from fun.reporting.rulers import interval_svg, ruler_svg

RESOURCES = Path(__file__).parents[3] / "resources" / "report"
HERO_STATES = 7  # pictures in a strip at the top of the page; fewer of wide ones, which are stacked
HERO_STATES_WIDE = 5
DEEPFLOYD = re.compile("deepfloyd|(^|/)IF-I", re.IGNORECASE)  # a repository of the hub, or a local copy of one


class Heading(NamedTuple):
    """What stands over a section and in the contents."""

    title: str  # in plain words
    term: str  # the field's
    short: str  # as the field calls it in a word or two
    course: str  # which part of the CS180 course it is


# In the order of the page; the text of each is in resources/report/sections/<key>.html.j2.
SECTIONS = {
    "forward_process": Heading(
        "Adding noise", "The forward process", "forward process", "Part A, implementing the forward process"
    ),
    "denoising": Heading(
        "Taking it away again",
        "Denoising: blur, one step, many steps",
        "denoising",
        "Part A, classical, one-step and iterative denoising; in 2026, the predicted update and Euler’s method",
    ),
    "sampling": Heading("Something from nothing", "Sampling", "sampling", "Part A, diffusion model sampling"),
    "guidance": Heading(
        "Listening harder",
        "Classifier-free guidance",
        "CFG",
        "Part A, classifier-free guidance (in 2026 written w = γ − 1)",
    ),
    "image_to_image": Heading(
        "Starting from a picture",
        "SDEdit",
        "SDEdit",
        "Part A, image-to-image translation: web pictures, drawings, text-conditional",
    ),
    "inpainting": Heading("Filling a hole", "Inpainting", "inpainting", "Part A, inpainting"),
    "visual_anagram": Heading("Two pictures in one", "Visual anagrams", "anagrams", "Part A, visual anagrams"),
    "hybrid_image": Heading("Near and far", "Hybrid images", "hybrids", "Part A, hybrid images"),
    "upsample": Heading(
        "From small to large", "Super-resolution", "stage II", "Part A, setup: the model’s second stage"
    ),
    "single_step": Heading(
        "Why one step is not enough",
        "The single-step denoiser",
        "single step",
        "Part B, training a single-step denoising U-Net",
    ),
    "training": Heading(
        "Training one from scratch",
        "The training loop, on MNIST",
        "training",
        "Part B, time- and class-conditioned U-Nets: DDPM in 2024, flow matching since 2025",
    ),
}


@dataclass(frozen=True)
class Section:
    """A section of the page: its figures, under their text."""

    key: str
    heading: Heading
    figures: list


def render_page(figures, config, versions, comparison=None, options="", out_of=None, play=None, scores=None):
    """The whole report as one HTML text.

    figures: `fun.reporting.figure.Figure`s, in their order within a section.
    config: the configuration, as nested dicts and lists; printed without the folders of absolute paths.
    versions: name of a package -> its version.
    comparison: the models side by side: [{name, network, parameters, flops_per_step, steps, image_size, note?}], or None.
    options: of Snakemake, for the commands that the page offers: those that gave the run its configuration.
    out_of: how many figures there will be, for a page of those that are there so far; None for the whole report.
    play: what the page draws with by itself, from `fun.reporting.play.playground`; None for a page that only shows.
    scores: the name of the table of all numbers beside the page; None if there is none.

    Raises ValueError if two figures have the same id, or one belongs to a section that the page does not have.
    """
    ids = [figure.id for figure in figures]
    if len(set(ids)) < len(ids):
        raise ValueError(f"figures with the same id: {sorted({i for i in ids if ids.count(i) > 1})}")
    for figure in figures:
        if figure.section not in SECTIONS:
            raise ValueError(f"figure {figure.id}: no section {figure.section!r}; known: {', '.join(SECTIONS)}")
    heroes = hero_strips(figures)
    style, script = _style_and_script(figures, play)
    environment = _environment(figures, heroes, options)
    environment.globals.update(scores=scores)
    return environment.get_template("report.html.j2").render(
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        play=play,
        sections=story(figures),
        of_miniature=any(figure.id.startswith("miniature_") for figure in figures),
        with_judge=str(config.get("cascades", {}).get("miniature", {}).get("judge")).endswith(".safetensors"),
        of_mnist=any(figure.section == "training" for figure in figures),
        so_far=out_of is not None and f"{len(figures)} of {out_of} figures",
        heroes=heroes,
        comparison=comparison or [],
        ruler=_parameter_ruler(comparison),
        config=yaml.safe_dump(without_folders(config), sort_keys=False, allow_unicode=True, width=100),
        versions=versions,
        deepfloyd=any(DEEPFLOYD.search(str(model)) for model in made_with(figures, "model")),
        unprotected=_switched_off(config),
        upscaler=any("stable-diffusion" in str(model) for model in made_with(figures, "model")),
        licences=made_with(figures, "licence"),
    )


def render_figure(figure):
    """One figure as a page of its own."""
    style, script = _style_and_script([figure])
    environment = _environment([figure], [], "")
    environment.globals.update(scores=None)
    page = {"policy": content_policy(style, script), "style": Markup(style), "script": Markup(script)}
    return environment.get_template("figure.html.j2").render(figure=figure, **page)


def _style_and_script(figures, play=None):
    """The page's style sheet and its script."""
    names = ("report", *(("engine", "play", "number") if play else ()))
    return _resource("report.css") + _column_rules(figures), "".join(_resource(f"{name}.js") for name in names)


def _environment(figures, heroes, options):
    """Where templates find what they call."""
    environment = Environment(loader=FileSystemLoader(RESOURCES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(
        pictures=Pictures(figures, heroes),
        chart_svg=chart_svg,
        chart_table=chart_table,
        marker_svg=marker_svg,
        interval_svg=interval_svg,
        axis_title=axis_title,
        made_table=made_table,
        command_of=command_of,
        options=options,
        states=states,
        row_of=row_of,
        tally=tally,
        fold=fold,
        is_wide=is_wide,
    )
    environment.filters.update(
        markdown=_markdown,
        block_name=block_name,
        number=number_text,
        size=size_text,
        exponent=exponent_text,
        factor=factor_text,
    )
    return environment


def _markdown(text):
    """A user's note as HTML: paragraphs, lists, emphasis, links, code. HTML in it is shown as it was typed, links that would run a
    script too; headings would not fit the page's outline, and pictures would be requests."""
    return Markup(MarkdownIt("commonmark", {"html": False}).disable(["heading", "lheading", "image"]).render(text))


def story(figures):
    """The figures as sections, in the page's order; a section without figures is left out."""
    sections = [
        Section(key, heading, [figure for figure in figures if figure.section == key])
        for key, heading in SECTIONS.items()
    ]
    return [section for section in sections if section.figures]


def hero_strips(figures):
    """At most two strips of pictures, from the first scrub marked `hero` of each section: (figure, [panel]), evenly spaced in
    time."""
    strips = []
    for figure in figures:
        for block in figure.blocks:
            taken = figure.section in {shown.section for shown, _ in strips}
            if block["layout"] == "scrub" and block.get("hero") and not taken:
                first = [group[0] for _, group in states(block["panels"])]
                wide = first[0]["width"] > 3 * first[0]["height"]
                count = min(HERO_STATES_WIDE if wide else HERO_STATES, len(first))
                chosen = [first[round(k * (len(first) - 1) / max(1, count - 1))] for k in range(count)]
                strips.append((figure, chosen))
    return strips[:2]


def content_policy(style, script):
    """The page's Content-Security-Policy: only what is in the page itself."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _switched_off(config):
    """Which of IF's own protections were switched off in the cascade that ran."""
    options = {"safety_checker": "the safety checker", "watermark": "the watermark"}
    cascade = config.get("cascades", {}).get(config.get("cascade"), {})
    return [words for option, words in options.items() if not cascade.get(option, True)]


def _parameter_ruler(comparison):
    if not comparison:
        return ""
    points = [(row["parameters"], f"{row['name']}: {size_text(row['parameters'])}") for row in comparison]
    words = "; ".join(text for _, text in points)
    return ruler_svg(points, f"Number of parameters on a logarithmic ruler. {words}.")


def _column_rules(figures):
    """A CSS rule for each width of grid that occurs: the policy forbids styles in elements."""
    widths = {block["columns"] for figure in figures for block in figure.blocks if block["layout"] == "grid"}
    return "".join(
        f".columns-{n}{{--columns:repeat({n},minmax(0,1fr))}}\n"
        # the last row's labels stand for all rows; on a narrow screen, where a row becomes several, each picture has its own
        f"@media print,(min-width:48.01rem){{.columns-{n}.named.dense .panel:nth-last-of-type(n+{n + 1}) .label{{display:none}}}}\n"
        f".columns-{n}.named.tiny .panel:nth-last-of-type(n+{n + 1}) .label{{display:none}}\n"  # a row stays one everywhere
        for n in sorted(widths)
    )


def _resource(name):
    return (RESOURCES / name).read_text(encoding="utf-8")
