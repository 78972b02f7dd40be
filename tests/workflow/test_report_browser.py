"""The report in a real browser."""

import re
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import Axe, expect
from fun.reporting.charts import chart_svg
from fun.reporting.page import RESOURCES, render_figure, render_page
from report_figures import COMPARISON, CONFIG, HOSTILE, VERSIONS, load_figures


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        page = render_page(load_figures(Path("results/miniature")), CONFIG, VERSIONS, COMPARISON)
    path.write_text(page, encoding="utf-8")
    return path


def test_every_picture_decodes_and_the_prompt_is_text(visit):
    page = visit()
    broken = page.evaluate(
        """async () => {
            const sources = [...document.images].map((image) => image.src)
              .concat([...document.querySelectorAll("svg image")].map((image) => image.getAttribute("href")));
            const decoded = await Promise.all(sources.map(async (source) => {
              const image = new Image();
              image.src = source;
              try { await image.decode(); return image.naturalWidth > 0; } catch { return false; }
            }));
            return [decoded.length, decoded.filter((ok) => !ok).length];
        }"""
    )
    assert broken[0] > 80 and broken[1] == 0
    assert page.get_by_text(HOSTILE).count() > 3


def test_what_stands_in_several_places_is_drawn_there(visit):
    page = visit()
    page.emulate_media(reduced_motion="reduce")
    shot = page.locator("#figure-six_nine .frame").first.screenshot()
    colours = page.evaluate(
        """async (bytes) => {
            const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], {type: "image/png"}));
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, image.width, image.height).data;
            let gold = 0, blue = 0;
            for (let i = 0; i < data.length; i += 4) {
              if (data[i] > 240 && data[i + 1] > 200 && data[i + 2] < 40) gold += 1;
              if (data[i] < 40 && data[i + 1] < 40 && data[i + 2] > 100) blue += 1;
            }
            return [gold / (data.length / 4), blue / (data.length / 4)];
        }""",
        list(shot),
    )
    assert colours[0] > 0.05 and colours[1] > 0.5


def turning(page):
    """The labels of the readings that turn at this moment."""
    return page.locator("#figure-six_nine .panel").evaluate_all(
        """(all) => all.filter((panel) => panel.getAnimations({ subtree: true }).length)
            .map((panel) => panel.closest("li").querySelector(".state").textContent.trim())"""
    )


def end_turns(page):
    page.mouse.move(0, 0)
    page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
    assert turning(page) == []


def test_an_anagram_turns_on_click_on_hover_and_by_keyboard(visit):
    page = visit()
    sample = page.locator("#figure-six_nine li").first
    button = sample.locator("button.frame").nth(1)
    button.scroll_into_view_if_needed()
    end_turns(page)
    expect(button).to_have_accessible_name("Turn: A drawing, a golden nine")
    button.hover()
    assert turning(page) == ["seed 0"]
    end_turns(page)
    button.click()
    assert turning(page) == ["seed 0"]
    expect(page.get_by_role("status")).to_contain_text("a golden nine")
    end_turns(page)
    sample.get_by_role("button").first.focus()
    page.keyboard.press("ArrowRight")
    expect(button).to_be_focused()
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        assert turning(page) == ["seed 0"]
        end_turns(page)


def test_a_turn_begins_with_the_first_picture_and_ends_as_it_lay(visit):
    page = visit()
    page.locator("#figure-six_nine .more > summary").first.click()  # the other samples
    faces = page.locator("#figure-six_nine .panel + .panel button.frame > :last-child")
    style = "face => ['transform', 'filter', 'opacity'].map((key) => getComputedStyle(face)[key]).join()"
    at_rest = [face.evaluate(style) for face in faces.all()]
    assert len(set(at_rest)) == 6, "each view lies in its own way"
    for button in page.get_by_role("button", name="Turn all").all():
        button.click()
    assert turning(page) == [f"seed {k}" for k in (0, 1, 2, 3, 4, 9)]
    page.evaluate("document.getAnimations().forEach((one) => { one.pause(); one.currentTime = 0; })")
    assert [face.evaluate(style) for face in faces.all()] == ["none,none,1"] * 5 + ["none,none,0"]
    page.evaluate("document.getAnimations().forEach((one) => { one.currentTime = 1050; })")
    midway = [face.evaluate(style) for face in faces.all()]
    assert all(one not in (rest, "none,none,1", "none,none,0") for one, rest in zip(midway, at_rest, strict=True))
    end_turns(page)
    assert [face.evaluate(style) for face in faces.all()] == at_rest


def test_without_motion_a_turn_is_a_change_of_pictures(visit):
    page = visit(reduced_motion="reduce")
    face = page.locator("#figure-six_nine .face").first
    looks = "face => String(new DOMMatrix(getComputedStyle(face).transform))"
    upright, lies = "matrix(1, 0, 0, 1, 0, 0)", face.evaluate(looks)
    page.get_by_role("button", name="Turn all").first.click()
    for time in (0, 800, 1400):
        page.evaluate("time => document.getAnimations().forEach((a) => { a.pause(); a.currentTime = time; })", time)
        assert face.evaluate(looks) == upright != lies


@pytest.mark.parametrize("how", ["script", "no script", "paper", "phone"])
def test_every_reading_is_seen_at_rest(visit, how):
    page = visit(390 if how == "phone" else 1280, java_script_enabled=how != "no script")
    page.emulate_media(media="print" if how == "paper" else "screen")
    if how != "paper":
        page.locator("#figure-six_nine .more > summary").first.click()  # the other samples
    for sample in page.locator("#figure-six_nine li").all():
        boxes = [picture.bounding_box() for picture in sample.locator(".panel > .frame").all()]
        assert len(boxes) == 2 and boxes[0]["y"] == boxes[1]["y"], "side by side"
        assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] and min(box["width"] for box in boxes) > 80
        for label in sample.locator(".label").all():
            expect(label).to_be_visible()
    expect(page.locator("#figure-six_nine .state").first).to_have_text("seed 0")


def test_the_slider_between_two_pictures_follows_keys_and_pointer(visit):
    page = visit()
    compare = page.locator(".compare")
    slider = compare.get_by_role("slider")
    clip = compare.locator(".panel").nth(1).locator(".frame")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert clip.evaluate("frame => frame.style.clipPath") == "inset(0px 0px 0px 51%)"
    expect(slider).to_have_attribute("aria-valuetext", "51 % one step, 49 % many steps")
    compare.scroll_into_view_if_needed()
    box = compare.locator(".compare-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40, steps=4)
    page.mouse.up()
    assert slider.input_value() == "25"
    assert clip.evaluate("frame => frame.style.clipPath") == "inset(0px 0px 0px 25%)"


def test_the_slider_through_time_shows_one_state_and_names_it(visit):
    page = visit()
    scrub = page.locator("#figure-denoising .scrub")
    slider = scrub.get_by_role("slider")
    expect(scrub.locator("li:visible")).to_have_count(1)
    expect(scrub.locator("output")).to_have_text("t = 60")
    slider.focus()
    page.keyboard.press("Home")
    expect(scrub.locator("output")).to_have_text("t = 690")
    expect(slider).to_have_attribute("aria-valuetext", "t = 690")
    page.keyboard.press("ArrowRight")
    expect(scrub.locator("output")).to_have_text("t = 600")
    expect(scrub.locator("li:visible .picture")).to_have_count(2)
    scrub.get_by_role("button", name="Play").click()
    expect(scrub.locator("output")).to_have_text("t = 60", timeout=6000)
    expect(scrub.get_by_role("button", name="Play")).to_be_visible()


def test_a_single_state_has_no_slider(browser, tmp_path):
    (figure,) = [one for one in load_figures(tmp_path) if one.id == "denoising"]
    (scrub,) = [block for block in figure.blocks if block["layout"] == "scrub"]
    first = [panel for panel in scrub["panels"] if panel["state"] == scrub["panels"][0]["state"]]
    (tmp_path / "figure.html").write_text(render_figure(replace(figure, blocks=[scrub | {"panels": first}])))
    page = browser.new_page()
    page.goto((tmp_path / "figure.html").as_uri())
    expect(page.locator(".scrub .picture").first).to_be_visible()
    expect(page.get_by_role("slider")).to_have_count(0)
    expect(page.get_by_role("button", name="Play")).to_have_count(0)
    page.close()


def test_a_picture_opens_with_what_made_it(visit):
    page = visit()
    buttons = page.locator("#figure-guidance .tiles button")
    buttons.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(buttons.nth(9)).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("guidance 3, seed 1")
    for entry in ("seed: 1", "guidance scale: 3", "sampler: ddpm", "model: resources/miniature"):
        key, value = entry.split(": ")
        row = dialog.locator("dl div").filter(has=page.locator("dt", has_text=key))
        expect(row.locator("dd").first).to_have_text(value)
    expect(dialog.locator("code")).to_have_text("snakemake --cores 1 results/miniature/guidance/figure.json")
    expect(dialog.locator(".picture")).to_have_css("image-rendering", "pixelated")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(buttons.nth(9)).to_be_focused()


def test_what_made_a_picture_is_not_said_of_one_that_nothing_made(visit):
    page = visit()
    dialog = page.get_by_role("dialog")
    for picture, entries in ((0, 0), (2, 1)):
        page.locator("#figure-forward .tiles button").nth(picture).click()
        expect(dialog.locator("dt", has_text="sampler")).to_have_count(1)  # said of the whole figure
        expect(dialog.locator("dt").get_by_text("t", exact=True)).to_have_count(entries)
        page.keyboard.press("Escape")


def test_the_command_can_be_copied(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator("#figure-guidance .made summary").click()
    page.locator("#figure-guidance .copy").click()
    expect(page.locator("#figure-guidance .copy")).to_have_text("Copied")
    assert (
        page.evaluate("navigator.clipboard.readText()") == "snakemake --cores 1 results/miniature/guidance/figure.json"
    )


def test_without_a_script_every_picture_is_visible(visit):
    page = visit(java_script_enabled=False)
    for more in page.locator("details.more > summary").all():
        more.click()
    for picture in page.locator("main .picture").all():
        expect(picture).to_be_visible()
    expect(page.locator(".control:visible")).to_have_count(0)


def test_on_a_narrow_screen_every_picture_of_a_grid_has_its_label(visit):
    page = visit(360)
    page.evaluate("document.querySelectorAll('details.more').forEach((more) => { more.open = true; })")
    labels = page.locator(".grid .label").all()
    assert len(labels) == 24 + 8 + 40
    for label in labels:
        assert label.bounding_box()["width"] > 5 and label.bounding_box()["height"] > 5
    assert page.locator("#figure-guidance .grid .frame").first.bounding_box()["width"] > 60


@pytest.mark.parametrize("count", range(2, 7))
def test_lines_that_coincide_are_all_seen(browser, count):
    axes = {"x": {"label": "epoch"}, "y": {"label": "loss"}}
    series = [{"name": str(number), "x": list(range(20)), "y": [k % 7 for k in range(20)]} for number in range(count)]
    page = browser.new_page(viewport={"width": 500, "height": 400}, color_scheme="light")
    style = (RESOURCES / "report.css").read_text()
    page.set_content(f"<style>{style}</style>{chart_svg({'kind': 'line', 'series': series} | axes, 'words')}")
    pixels = np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB"), dtype=int)
    page.close()
    inks = [re.search(f"--s{number}: #(......)", style)[1] for number in range(count)]
    inks = [[int(ink[k : k + 2], 16) for k in (0, 2, 4)] for ink in inks]
    seen = [(np.abs(pixels - ink).max(-1) < 12).sum() for ink in inks]
    assert min(seen) / sum(seen) > {2: 0.2, 3: 0.1}.get(count, 0.02)


@pytest.mark.parametrize("width", [360, 1280])
def test_in_forced_colours_no_line_of_a_heading_covers_the_one_above(visit, width):
    page = visit(width, forced_colors="active")
    lines = page.locator("h1, h2, h3").evaluate_all(
        """(all) => all.map((heading) => {
            const range = document.createRange(), boxes = [];
            const texts = document.createTreeWalker(heading, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) {
              range.selectNodeContents(texts.currentNode);
              boxes.push(...[...range.getClientRects()].map((box) => [box.top, box.bottom]));
            }
            return boxes;
        })"""
    )
    assert max(len(boxes) for boxes in lines) > 1
    for boxes in lines:
        tops = sorted({(round(top), round(bottom)) for top, bottom in boxes})
        assert all(above[1] <= below[0] + 1 for above, below in pairwise(tops)), tops


def test_a_figure_is_one_stop_of_the_tab_key_and_arrows_reach_all_of_it(visit):
    page = visit()
    stops = page.evaluate(
        """() => [...document.querySelectorAll(".figure")].map((figure) =>
            [...figure.querySelectorAll("*")].filter((one) => one.tabIndex >= 0 && one.checkVisibility()).length)"""
    )
    assert stops == [1] * 8
    figure = page.locator("#figure-denoising")
    figure.get_by_role("button").first.focus()
    reached = set()
    for _ in range(40):
        reached.add(page.evaluate("(document.activeElement.ariaLabel || document.activeElement.textContent).trim()"))
        slider = page.evaluate("document.activeElement.type") == "range"
        page.keyboard.press("ArrowDown" if slider else "ArrowRight")
    assert {"Play", "What made this", "Through time: The iterative run", "What made “one step”"} <= reached
    page.keyboard.press("Enter")  # on the summary
    page.keyboard.press("ArrowRight")
    expect(figure.locator(".copy")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.figure')?.id") == "figure-sampling"
    page.keyboard.press("Shift+Tab")
    expect(figure.locator(".copy")).to_be_focused()
    figure.locator(".made summary").click()  # what was the stop is hidden now
    assert (
        figure.evaluate(
            "one => [...one.querySelectorAll('[tabindex=\"0\"]')].filter((c) => c.checkVisibility()).length"
        )
        == 1
    )


def test_a_figure_stays_reachable_when_its_stop_is_hidden(visit):
    page = visit()
    scrub = page.locator("#figure-reverse .scrub")
    scrub.locator("li:visible button.frame").first.focus()
    scrub.get_by_role("slider").evaluate("slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); }")
    stops = page.locator("#figure-reverse [tabindex='0']").evaluate_all(
        "all => all.map((one) => one.checkVisibility())"
    )
    assert stops == [True]


def test_nothing_is_wider_than_the_screen(visit):
    for width in (360, 800, 1400):
        page = visit(width)
        page.locator("details").evaluate_all("all => all.forEach((details) => { details.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_nothing_is_folded(visit):
    page = visit()
    page.emulate_media(media="print")
    assert page.locator("#figure-denoising .scrub .picture:visible").count() == 16
    expect(page.locator("input:visible")).to_have_count(0)


def test_on_paper_every_picture_is_there(visit):
    page = visit()
    stored = page.locator("main img").count()
    assert stored > 80
    assert page.pdf().count(b"/Subtype /Image") >= stored


def test_on_paper_nothing_is_parted_from_its_heading(visit):
    page = visit()
    page.emulate_media(media="print")

    def breaks(selector, side):
        found = page.locator(selector).evaluate_all(
            "(all, side) => all.map((one) => getComputedStyle(one)[side])", side
        )
        assert found
        return set(found)

    heads = ("h2", "main h3", "h4", ".term", ".figure > .caption", ".ruler-figure figcaption", ".row-name", "thead")
    assert {place: breaks(place, "breakAfter") for place in heads} == dict.fromkeys(heads, {"avoid"})
    whole = (".ruler-figure", ".strip", ".panel", ".block-chart", ".block-row", ".states > li")
    assert {place: breaks(place, "breakInside") for place in whole} == dict.fromkeys(whole, {"avoid"})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_serious_barrier(visit, scheme, width):
    page = visit(width, color_scheme=scheme, reduced_motion="reduce")
    page.locator("details").evaluate_all("all => all.forEach((details) => { details.open = true; })")
    barriers = Axe().run(page).response["violations"]
    page.locator("#figure-guidance .tiles button").first.click()
    barriers += Axe().run(page).response["violations"]
    serious = [barrier for barrier in barriers if barrier["impact"] in ("serious", "critical")]
    assert not serious, [(b["id"], b["nodes"][0]["html"][:200], b["nodes"][0]["failureSummary"]) for b in serious]


@pytest.mark.alone
def test_it_opens_in_under_a_second(visit):
    page = visit()
    ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert 0 < ready < 1000
