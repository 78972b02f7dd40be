"""The page that draws by itself, in a real browser: what it draws is Python's, and it stays a page meanwhile."""

import base64
import re
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from browser import Axe, expect
from fun.data.tensors import load_tensors, save_tensors
from fun.diffusion.digits import generate
from fun.diffusion.schedule import NoiseSchedule
from fun.judging.scores import DigitClassifier
from fun.miniature.pictures import COLOURS, DIGITS
from fun.networks.mnist_unets import SmallUNet
from fun.reporting import play
from fun.reporting.figure import read_figure, write_figure
from fun.reporting.page import render_page
from fun.training.trainer import Trainer, trained_network
from project import PROJECT
from report_figures import COMPARISON, CONFIG, VERSIONS, load_figures

MODEL = {"network": "small", "class_conditioned": True, "width": 16}
SCHEDULE = NoiseSchedule.cosine(300)
RECIPE = {"muon_lr": 0.01, "adamw_lr": 0.002, "warm_up_steps": 30, "decay_per_epoch": 0.8, "ema": 0.99}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a network that draws something, if no digits; its weights fit float16."""
    torch.manual_seed(0)
    network = SmallUNet(SCHEDULE, class_conditioned=True, width=16)
    for parameter in network.parameters():
        if parameter.abs().max() == 0:
            torch.nn.init.normal_(parameter, std=0.2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half())
    path = tmp_path_factory.mktemp("network") / "checkpoint.safetensors"
    save_tensors(path, Trainer(network, 0, **RECIPE).state_dict(), {})
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory, checkpoint):
    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    save_tensors(folder / "classifier.safetensors", DigitClassifier().state_dict(), {})
    digits = {
        "name": "class_conditioned",
        "T": 300,
        "guidance_interval": [0, 0.78],
        "checkpoints": {1: checkpoint, 20: checkpoint},
    }
    names, miniature = [str(i) for i in range(10)], PROJECT / "resources/miniature"
    playground = play.playground(names, digits, folder / "classifier.safetensors", miniature)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        figures = load_figures(Path("results/miniature"))
        figures += [replace(figures[0], id=section, section=section) for section in ("image_to_image", "inpainting")]
        figures += [read_figure(path) for path in write_runnable(folder / "runnable")]
        page = render_page(figures, CONFIG, VERSIONS, COMPARISON, play=playground)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


PROMPT = "a {} {} on a {} background"
RUN = {"stage": "Stage I", "model": "resources/miniature/stage_1", "sampler": "dpm_solver", "spacing": "trailing"}
RUN |= {"steps": 4, "guidance_scale": 3, "seed": 5}


def write_runnable(folder):
    """Figures that the page can draw again, and some that it cannot; returns their paths."""
    blue = Image.new("RGB", (16, 16), "blue")

    def write(name, section, panels, layout="row", **entries):
        panels = [{"picture": blue, "alt": "Blue"} | panel for panel in panels]
        blocks = [{"layout": layout, "panels": panels}, *entries.pop("more", [])]
        return write_figure(folder / name, id=name, title=name, caption="", section=section, blocks=blocks, **entries)

    prompt = RUN | {"prompt": PROMPT.format("green", "four", "black")}
    digits = {key: RUN[key] for key in ("sampler", "spacing", "guidance_scale", "seed")} | {"num_steps": 6, "epoch": 20}
    views = [
        {
            "label": PROMPT.format("red", digit, "cyan"),
            "state": "seed 5",
            "provenance": {"stage": "Stage II", "sampler": "ddim", "spacing": "trailing", "seed": 5, "view": view},
        }
        for digit, view in (("two", "identity"), ("five", "flip_vertical"))
    ]
    stage_1 = [{"layout": "row", "panels": [{"picture": blue, "alt": "Blue", "label": "seed 5", "provenance": RUN}]}]
    return [
        write("run_prompt", "sampling", [{"label": "seed 5", "provenance": prompt}]),
        write("run_digits", "training", [{"label": "epoch 20", "provenance": digits | {"model": "class_conditioned"}}]),
        write("run_anagram", "visual_anagram", views, layout="flip", more=stage_1),
        write(
            "not_of_ifs", "guidance", [{"label": "seed 5", "provenance": prompt | {"model": "DeepFloyd/IF-I-XL-v1.0"}}]
        ),
        write("not_along_a_flow", "sampling", [{"label": "seed 5", "provenance": prompt | {"path": "flow"}}]),
        write("not_any_words", "sampling", [{"label": "seed 5", "provenance": prompt | {"prompt": "a photo"}}]),
        write(
            "not_another_network", "training", [{"label": "x", "provenance": digits | {"model": "time_conditioned"}}]
        ),
        write("not_led_away", "visual_anagram", views, layout="flip", more=stage_1, provenance={"away": 1}),
    ]


def opened(page, name):
    """The play of that name, opened with the keyboard."""
    place = page.locator(f'[data-play="{name}"]')
    place.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(place.locator(".play-body")).to_be_visible()
    place.evaluate("(one) => one.scrollIntoView()")
    page.wait_for_timeout(300)  # sections that come into view are laid out anew
    return place


def set_to(control, value):
    control.evaluate(
        "(one, value) => { one.value = value; one.dispatchEvent(new Event('input', { bubbles: true })); }", str(value)
    )


def pixels(canvas):
    """The grey levels or colours of a canvas: (H, W, 3)."""
    size, data = canvas.evaluate(
        "(one) => [one.width, [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]]"
    )
    return np.array(data, np.uint8).reshape(size, size, 4)[..., :3]


def test_the_words_are_the_miniatures():
    assert (list(DIGITS), list(COLOURS)) == (play.DIGITS, play.COLOURS)


def test_weights_in_eight_bits_are_off_by_half_a_step_at_the_most():
    torch.manual_seed(0)
    arrays = {"a.weight": torch.randn(5, 3, 3, 3).numpy(), "b.bias": torch.randn(7).numpy(), "count": np.array(3)}
    text, header = play.pack(arrays, eight_bits=True)
    content, entry = base64.b64decode(text), header["a.weight"]
    scale = np.array(entry["scale"])[:, None]
    rows = np.frombuffer(content, np.int8, 135, entry["offset"]).reshape(5, 27) * scale
    assert (np.abs(rows - arrays["a.weight"].reshape(5, 27)) <= 0.501 * scale).all()
    assert np.allclose(np.frombuffer(content, "<f2", 7, header["b.bias"]["offset"]), arrays["b.bias"], atol=2e-3)
    assert "count" not in header and "scale" not in header["b.bias"]


def test_without_a_script_nothing_is_promised(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".playground").count() == 7 and not page.locator(".playground:visible").count()


@pytest.mark.parametrize("sampler", ["ddim", "sde_dpm_solver"])
def test_a_seed_gives_pythons_digit(visit, checkpoint, sampler):
    page = visit()
    place = opened(page, "digits")
    selects = place.locator("select")
    selects.nth(1).select_option("7")
    selects.nth(2).select_option(sampler)
    place.locator('input[type="number"]').fill("5")
    set_to(place.locator('input[type="range"]').first, 6)
    place.get_by_role("button", name="Draw").focus()
    page.keyboard.press("Enter")
    expect(place.locator(".play-told")).to_contain_text("The classifier reads", timeout=20_000)
    network = trained_network(MODEL, SCHEDULE, load_tensors(checkpoint)[0])
    states = list(generate(network, torch.tensor([7]), [5], sampler, "trailing", 6, 2.0, (0, 0.78)))
    for step, state in enumerate(states):
        set_to(place.get_by_label("Step", exact=True), step)
        for canvas, x in zip(place.locator("canvas").all(), (state.x_t, state.x_0), strict=True):
            expected = 127.5 * (x[0, 0].clamp(-1, 1).numpy() + 1)
            assert np.abs(pixels(canvas)[..., 0] - expected).max() < 1.5, (step, state.t)


def test_an_anagram_is_read_both_ways_and_turns(visit):
    page = visit()
    place = opened(page, "anagram")
    place.locator('input[type="number"]').fill("0")
    place.get_by_role("button", name="Draw").click()
    expect(place.locator(".play-told")).to_contain_text("seen otherwise", timeout=60_000)
    assert re.search(r"The judge reads: six .*seen otherwise: nine ", place.locator(".play-told").inner_text())
    turn = place.get_by_role("button", name="See it the other way")
    turn.click()
    expect(place.locator("canvas").nth(1)).to_have_class(re.compile("rotate_180"))


def test_a_walk_can_be_stopped_and_the_page_answers_meanwhile(visit):
    page = visit()
    place = opened(page, "colours")
    set_to(place.locator('input[type="range"]').first, 40)
    place.get_by_role("button", name="Draw").click()
    expect(place.get_by_role("button", name="Stop")).to_be_visible()
    page.evaluate(
        """() => { window.gaps = []; let last = performance.now();
            setInterval(() => { const now = performance.now(); window.gaps.push(now - last); last = now; }, 10); }"""
    )
    page.wait_for_timeout(400)  # the walk takes about a second where nothing else runs
    place.get_by_role("button", name="Stop").click()
    expect(place.locator(".play-told")).to_have_text("Stopped.")
    gaps = page.evaluate("window.gaps")
    assert len(gaps) > 5 and np.median(gaps) < 250
    expect(place.get_by_role("button", name="Draw")).to_be_enabled()


@pytest.mark.parametrize("drawing", ["nothing", "everything", "a dot by keys", "a stroke by mouse"])
def test_any_drawing_becomes_something(visit, drawing):
    page = visit()
    place = opened(page, "drawing")
    board = place.locator(".board")
    assert pixels(board).max() == 255, "a scribble to begin with"
    place.get_by_role("button", name="Clear").click()
    assert pixels(board).max() == 0
    if drawing == "a dot by keys":
        board.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        assert pixels(board).max() == 255
    elif drawing == "everything":
        board.evaluate(
            "(one) => { const pen = one.getContext('2d'); pen.fillStyle = '#fff'; pen.fillRect(0, 0, 28, 28); }"
        )
    elif drawing == "a stroke by mouse":
        box = board.bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 120, box["y"] + 120, steps=5)
        page.mouse.up()
        assert (pixels(board)[..., 0] > 0).sum() > 20
    place.get_by_role("button", name="Run the loop").click()
    said = "Draw a digit first." if drawing == "nothing" else "Read as"
    expect(place.locator(".play-told")).to_contain_text(said, timeout=30_000)
    place.get_by_role("button", name="Clear").click()
    assert pixels(board).max() == 0


def test_what_is_not_brushed_over_stays(visit):
    page = visit()
    place = opened(page, "hole")
    board = place.locator(".board")
    page.wait_for_timeout(1500)  # a picture is drawn first
    before = pixels(place.locator("canvas").first)
    place.get_by_role("button", name="Clear").click()
    place.get_by_role("button", name="Run the loop").click()
    expect(place.locator(".play-told")).to_have_text("Brush over a part of the picture first.")
    board.evaluate(
        "(one) => { const pen = one.getContext('2d'); pen.fillStyle = '#b34a00'; pen.fillRect(0, 0, 14, 28); }"
    )
    place.get_by_role("button", name="Run the loop").click()
    expect(place.locator(".play-told")).to_contain_text("Read as", timeout=30_000)
    after = pixels(place.locator(".play-stage canvas").first)
    assert (
        np.abs(after[:, 14:].astype(int) - before[:, 14:]).max()
        <= 1
        < np.abs(after[:, :13].astype(int) - before[:, :13]).max()
    )


def test_served_below_a_path_it_draws_as_well(browser, report):
    """As a published page: over HTTP, in a folder, without another request."""
    served = partial(SimpleHTTPRequestHandler, directory=report.parent.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        address = f"http://127.0.0.1:{server.server_port}/{report.parent.name}/report.html"
        page.goto(address)
        place = opened(page, "digits")
        place.get_by_role("button", name="Draw").click()
        expect(place.locator(".play-told")).to_contain_text("The classifier reads", timeout=20_000)
        page.close()
        server.shutdown()
    assert [url for url in asked if not url.startswith("data:")] == [address]


def test_inside_one_step(visit):
    page = visit()
    place = opened(page, "inside")
    told, remark = (place.locator(".play-told").nth(i) for i in range(2))
    expect(told).to_contain_text("t = ", timeout=20_000)
    set_to(place.locator('input[type="range"]').first, 0.9)
    expect(told).to_contain_text("t = 269 of 300")
    shown = [pixels(canvas).astype(int) for canvas in place.locator("canvas").all()]
    assert len(shown) == 5 and all(np.abs(a - b).max() > 3 for a, b in zip(shown, shown[1:], strict=False))
    place.get_by_role("button", name="Finish it eight times").click()
    expect(remark).to_contain_text("about their mean", timeout=60_000)
    *endings, mean, _ = [pixels(canvas).astype(float)[..., 0] for canvas in place.locator("canvas").all()[5:]]
    assert len(endings) == 8 and np.abs(np.mean(endings, 0) - mean).max() < 2
    assert all(np.abs(a - b).max() > 30 for a, b in zip(endings, endings[1:], strict=False)), (
        "each draws noise of its own"
    )
    set_to(place.locator('input[type="range"]').first, 0.5)
    expect(place.locator("canvas")).to_have_count(5)


def test_single_numbers(visit):
    page = visit()
    place = opened(page, "number")
    told, (data, meant) = place.locator(".play-told"), place.locator('input[type="text"]').all()
    expect(told).to_have_text("20 steps: 24 of 24 end at a number of the data (13 at −1, 11 at 1).")
    assert place.locator(".walk").count() == 24 and place.locator(".s0 .walk").count() == 13
    curve = place.locator("svg").nth(1).locator(".line")
    before = curve.get_attribute("d")
    set_to(place.locator('input[type="range"]').last, 0.1)
    assert curve.get_attribute("d") != before
    set_to(place.locator('input[type="range"]').first, 1)
    expect(told).to_have_text("One step: all 24 end near 0, the mean of the data: none of the data is there.")
    for wrong in ("", "a", "3", "1 " * 21):
        data.fill(wrong)
        expect(told).to_contain_text("up to twenty numbers from −2 to 2")
        assert data.get_attribute("aria-invalid") == "true"
    data.fill("−1; 0, 1 1,")
    expect(told).to_have_text("One step: all 24 end near 0.25, the mean of the data: none of the data is there.")
    data.fill("0 1 -1")
    expect(told).to_have_text("One step: all 24 end near 0, the mean of the data.")
    data.fill("-1 -0.6 -0.2 0.2 0.6 1")
    steps, guidance, _ = place.locator('input[type="range"]').all()
    for wrong in ("a", "0.5"):
        meant.fill(wrong)
        expect(told).to_have_text("The prompt means some of the data’s numbers, with commas between them.")
        assert meant.get_attribute("aria-invalid") == "true"
    meant.fill("0.2, 0.6, 1")
    expect(told).to_have_text("One step: all 24 end near 0.6, the mean of what the prompt means.")
    set_to(steps, 20)
    place.locator("select").select_option("ddim")
    shares = []
    for scale in (1, 3, 7):
        set_to(guidance, scale)
        expect(told).to_contain_text("20 steps")
        shares.append([int(count) for count in re.findall(r"(\d+) at", told.inner_text().split("(")[1])])
    assert all(sum(share[:3]) == 0 for share in shares), "what is not meant"
    place.get_by_role("button", name="A prompt, guided").click()
    expect(told).to_contain_text(f"{shares[0][5]} at 1")
    place.get_by_role("button", name="A prompt, guided").click()
    expect(told).to_contain_text(f"{shares[1][5]} at 1")
    assert min(shares[0][3:]) > 0 and shares[2][3:] == [0, 0, 24] and shares[0][5] < shares[1][5], "variety is lost"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_plays_can_be_reached_by_everyone(visit, scheme):
    page = visit(width=360, color_scheme=scheme)
    for name in ("digits", "drawing", "inside", "hole", "number"):
        opened(page, name)
    page.wait_for_timeout(1500)
    assert not any("undefined" in text for text in page.locator(".playground").all_inner_texts())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = Axe().run(page, context=".playground", options={"resultTypes": ["violations"]})
    assert not found.response["violations"], found.generate_report()


RUNNABLE = {
    "run_prompt": ("colours", {"colour": "green", "digit": "4", "background": "black", "seed": "5"}, "4 steps"),
    "run_digits": ("digits", {"trained up to": "20"}, "6 steps"),
    "run_anagram": (
        "anagram",
        {
            "colour": "red",
            "digit": "2",
            "and, seen otherwise": "5",
            "view": "flip_vertical",
            "background": "cyan",
            "seed": "5",
        },
        "4 steps",
    ),
}


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize("where", ["under the figure", "beside a picture"])
def test_what_made_a_picture_can_be_run_here(visit, name, where):
    page = visit()
    figure, (play, fields, steps) = page.locator(f"#figure-{name}"), RUNNABLE[name]
    if where == "under the figure":
        figure.locator(".made > summary").click()
        figure.get_by_role("button", name="Run it here").click()
    else:
        (figure.locator(".info") if play == "anagram" else figure.locator("button.frame")).first.click()
        page.locator("dialog").get_by_role("button", name="Run it here").click()
    place = page.locator(f'[data-play="{play}"]')
    expect(place.locator(".play-told")).to_contain_text(steps, timeout=60_000)
    assert (
        place.evaluate("(one) => Object.fromEntries(new FormData(one.querySelector('form')))").items() >= fields.items()
    )
    assert not page.locator("dialog[open]").count()


def test_nothing_is_offered_that_the_page_cannot_draw(visit):
    page = visit()
    offered = page.evaluate("[...document.querySelectorAll('.figure:has(.run-here)')].map((figure) => figure.id)")
    assert {one.removeprefix("figure-") for one in offered} == set(RUNNABLE)
