"""The figures that show why diffusion works, from what fun.ideas computes, as arguments of `write_figure`.

Needs no torch: pictures are numpy arrays of grey levels (N, 28, 28) uint8. Every function takes what the idea's `study` returns, and
the provenance of what the network drew.
"""

from PIL import Image

from fun.reporting.digit_figures import as_percent, sheet
from fun.reporting.numerals import number_text

LEAST = 1e-4  # that a chart of losses shows


def _table(rows, labels, made):
    """A grid of digits, a row for each name. rows: {name: images}; made: a row's provenance, from its name."""
    panels = [
        {
            "picture": Image.fromarray(image),
            "label": label,
            "alt": f"{name[0].upper()}{name[1:]}, {label}: a handwritten digit.",
            "provenance": made(name),
        }
        for name, images in rows.items()
        for image, label in zip(images, labels, strict=True)
    ]
    return {"layout": "grid", "columns": len(labels), "rows": list(rows), "panels": panels}


def _lines(x, y, series, title="", caption=""):
    """A chart of lines. series: {name: (x, y)}."""
    drawn = [{"name": name, "x": list(xs), "y": list(ys)} for name, (xs, ys) in series.items()]
    chart = {"kind": "line", "x": x, "y": y, "series": drawn}
    return {"layout": "chart", "title": title, "caption": caption, "panels": [], "chart": chart}


def memory_figure(found: dict, made: dict) -> dict:
    """The perfect denoiser beside the network."""
    far, T = found["distances"], found["num_train_timesteps"]
    own, real = far["the network"], far["real test digits"]
    invents = (
        "The network has more loss on them, and draws digits that nobody wrote: from one of its digits the nearest training digit is "
        f"{own:.2f} away, from a digit of the test set {real:.2f}."
    )
    copies = f"So does the network: its digits are {own:.2f} from the nearest one, those of the test set {real:.2f}. So few can be learned by heart."
    losses = {}
    for (which, on), values in found["losses"].items():
        shown = [(t / T, loss) for t, loss in zip(found["timesteps"], values, strict=True) if loss > LEAST]
        losses[f"{which}, {on} digits"] = tuple(zip(*shown, strict=True))
    nearest = "training digits nearest to these"
    rows = {
        "the perfect denoiser": found["drawn"]["the perfect denoiser"],
        "the network, same noise": found["drawn"]["the network"],
        nearest: found["nearest"],
    }
    return {
        "id": "mnist_memory",
        "title": "The perfect denoiser only copies",
        "caption": f"The least loss that is possible on {number_text(found['known'])} training digits can be computed: at every xₜ the mean of these "
        "digits, weighted by how likely each is to have become it. In the same loop, from the same noise, this perfect denoiser draws training "
        f"digits and nothing else (off by {far['the perfect denoiser']:.4f}, in root mean square, where white is 1). "
        f"{copies if own < real / 2 else invents}",
        "section": "training",
        "blocks": [
            _table(rows, found["names"], lambda name: {} if name == nearest else made | {"drawn_by": name}),
            _lines(
                {"label": "noise, t / T", "min": 0, "max": 1},
                {"label": "squared error of x₀", "log": True},
                losses,
                caption="On digits that it has seen, the perfect denoiser has next to no error (less than 0.0001 where its curve is missing). On "
                "new ones it is worse than the network wherever the noise leaves something to see: it knows nothing but its digits, and ten "
                "times as many help little.",
            ),
        ],
        "metrics": [
            {"name": f"distance to the nearest training digit, {name}", "value": value, "n": found["n"]}
            for name, value in far.items()
        ],
    }


def handwriting_figure(found: dict, made: dict) -> dict:
    """Written digits, and other digits in the same hand."""
    kept = found["kept"]
    between = [
        {
            "picture": sheet(states[k], len(states[k])),
            "label": f"between {name}",
            "alt": f"Ten digits, {share:.0%} of the way between {name}.",
            "state": f"{share:.0%} of the way",
            "provenance": made | {"share": share},
        }
        for k, share in enumerate(found["shares"])
        for name, states in found["between"].items()
    ]
    return {
        "id": "mnist_handwriting",
        "title": "The same hand, another digit",
        "caption": "The loop, run upwards, turns a written digit (left in each row, of the test set) into the noise that it would be drawn from. Drawn "
        "from there as another digit, it keeps the thickness of its strokes (correlation with the written one’s, over the nine other digits: "
        f"{kept['thickness']:.2f}) and a little of their slant ({kept['slant']:.2f}; {found['n']} digits).",
        "section": "image_to_image",
        "blocks": [
            _table(
                {f"hand {i + 1}": images for i, images in enumerate(found["rows"])},
                ["test", *found["names"]],
                lambda name: made | {"sampler": "ddim", "num_steps": found["steps"]},
            ),
            {
                "layout": "scrub",
                "title": "From one noise to another",
                "panels": between,
                "caption": "On the way from one noise to another, along the arc that keeps the length of noise, every point becomes a digit, if not "
                "always a good one. Above, the two noises are those of two seeds; below, those of two written digits.",
            },
        ],
        "metrics": [
            {"name": f"correlation of {name} over the other digits", "value": value, "n": found["n"], "goal": "higher"}
            for name, value in kept.items()
        ]
        + [{"name": "the same digit drawn again", "value": found["reconstruction"], "unit": "dB", "n": found["n"]}],
    }


def spectrum_figure(found: dict, made: dict) -> dict:
    """Power against frequency, and how long a frequency can be told under noise."""
    powers = {name: (range(1, len(values) + 1), values) for name, values in found["powers"].items()}
    longest = max(map(len, found["powers"].values()))
    noises = {f"noise at t = {share:g} T": ((1, longest), (value, value)) for share, value in found["noises"].items()}
    return {
        "id": "mnist_spectrum",
        "title": "Coarse first, and earlier than power says",
        "caption": "Pictures have most of their power at low frequencies; noise has as much at every one. So the loop, on its way down from noise, can "
        "tell the coarse before the fine. That is why an edit that starts half-way (SDEdit) keeps the layout and not the detail, and why a hybrid "
        "can take its coarse and its fine part from two prompts.",
        "section": "forward_process",
        "blocks": [
            _lines(
                {"label": "cycles across the picture", "log": True},
                {"label": "power, in units of the signal’s", "log": True},
                powers | noises,
                "Where noise drowns a picture",
            ),
            _lines(
                {"label": "cycles across the picture", "min": 0},
                {"label": "t / T up to which half is known", "min": 0, "max": 1},
                {name: (found["cycles"], values) for name, values in found["until"].items()},
                "How much noise a frequency survives",
                "Up to this much noise, half of what a digit has at a frequency (of its power, beyond the mean digit’s) can be told: by the best filter "
                "that knows nothing but the spectrum, and by the network. It gets by with more noise, because it knows strokes. "
                f"{number_text(found['n'])} test digits.",
            ),
        ],
    }


def reading_figure(found: dict, made: dict) -> dict:
    """The network as a classifier, of test digits and of its own."""
    (first, second), right = found["both"], found["right"]
    rows = {f"more a “{first}”": found["rows"][0], f"more a “{second}”": found["rows"][1]}
    return {
        "id": "mnist_reading",
        "title": "The generator reads",
        "caption": "Noise a digit, and let the network find the noise ten times, told each of the ten classes in turn: the class with the smallest error is "
        f"the answer. That reads {100 * right['value']:.0f} % of {right['n']} test digits right, with {found['draws']} noises each, though no "
        f"classifier was trained. Below are digits drawn as “{first}” and “{second}” at once (the two predictions averaged), in the order of the "
        "difference of the two errors.",
        "section": "guidance",
        "blocks": [
            _table(
                rows,
                [str(i + 1) for i in range(len(found["rows"][0]))],
                lambda name: made | {"sampler": "ddim", "guidance_scale": 1.0},
            )
        ],
        "metrics": [{"name": "test digits read as what they are"} | as_percent(right)],
    }


def agreement_figure(found: dict, made: dict) -> dict:
    """What networks draw from the same noise."""
    labels = [f"noise {i + 1}" for i in range(len(next(iter(found["drawn"].values()))))]
    return {
        "id": "mnist_agreement",
        "title": "One noise, many networks",
        "caption": "Each column is drawn from the same noise, each row by another network. The longer they train, the more they agree: most of what a "
        "digit looks like is decided by its noise. How far they correlate is measured below; pictures of the same class from other noise do "
        f"by {found['chance']:.2f}.",
        "section": "training",
        "blocks": [_table(found["drawn"], labels, lambda name: {"drawn_by": name, "seed": made["seed"]})],
        "metrics": [
            {"name": f"correlation: {a} and {b}", "value": value, "n": found["n"]}
            for (a, b), value in found["pairs"].items()
        ],
    }


def one_call_figure(pictures: dict, rows: list[dict], floor: float, made: dict) -> dict:
    """A flow map beside the network that it learned from.

    Args:
        pictures: {(way, calls): ten digits (10, 28, 28)}.
        rows: for each way and number of calls, "way", "calls", "right" (a rate), "distance" (Fréchet).
        floor: the Fréchet distance of as many real digits.
    """
    ways, calls = (list(dict.fromkeys(key[i] for key in pictures)) for i in (0, 1))
    panels = [
        {
            "picture": sheet(images, 5),
            "label": "1 call" if count == 1 else f"{count} calls",
            "alt": f"Ten digits, drawn by {way} with {count} calls of the network.",
            "provenance": made | {"drawn_by": way, "calls": count},
        }
        for (way, count), images in pictures.items()
    ]
    series = {way: (calls, [row["distance"] for row in rows if row["way"] == way]) for way in ways} | {
        "real digits": (calls, [floor] * len(calls))
    }
    n = rows[0]["right"]["n"]
    return {
        "id": "mnist_one_call",
        "title": "One call in place of many",
        "caption": "A flow map is also told where a step is to end, and is trained on its teacher’s own walks to land there. So it can go all the way in "
        "one step, where the teacher, asked once, can only answer with a mean of many digits. Loop and step are those of every other picture; how "
        "strongly it is guided is fixed by what it learned from.",
        "section": "training",
        "blocks": [
            {"layout": "grid", "columns": len(calls), "rows": ways, "panels": panels},
            _lines(
                {"label": "calls of the network, guidance’s included", "log": True},
                {"label": "Fréchet distance", "log": True},
                series,
                caption=f"{number_text(n)} digits for each point.",
            ),
        ],
        "metrics": [
            {"name": f"{row['way']}, {row['calls']} calls: class accuracy".replace(" 1 calls", " 1 call")}
            | as_percent(row["right"])
            for row in rows
        ],
    }


FIGURES = {
    "memory": memory_figure,
    "handwriting": handwriting_figure,
    "spectrum": spectrum_figure,
    "reading": reading_figure,
    "agreement": agreement_figure,
}
