"""Part B's figures that set networks or samplers side by side, as arguments of `write_figure`.

Needs no torch: pictures are numpy arrays of grey levels (N, 28, 28) uint8.
"""

import numpy as np

from fun.reporting.digit_figures import Epoch, as_percent, sheet, summary
from fun.reporting.numerals import number_text, percent_text

PREDICTED = {  # prediction types, in the order in which they are shown
    "epsilon": "the noise, ε",
    "v_prediction": "v, noise and image mixed",
    "sample": "the clean image, x₀",
    "flow": "the flow's velocity, u",
}


def predictions_figure(epochs: dict[str, Epoch]) -> dict:
    """What networks draw after the same epoch that differ only in what they predict. epochs: {model: what it drew}."""
    models = {epoch.made_with["trained_with"]["model"]["prediction_type"]: model for model, epoch in epochs.items()}
    shown = [(words, models[kind], epochs[models[kind]]) for kind, words in PREDICTED.items() if kind in models]
    panels = [
        {
            "picture": sheet(epoch.showcase["grid"], 10),
            "label": f"{words}: {summary(epoch.scores)}",
            "alt": f"Forty digits drawn by a network that predicts {words}, in four rows of ten.",
            "state": words,
            "provenance": {"model": model, **epoch.made_with["sampling"], "epoch": epoch.number}
            | {"seed": epoch.made_with["seed"]},
        }
        for words, model, epoch in shown
    ]
    number = shown[0][2].number
    return {
        "id": "mnist_predictions",
        "title": "What should a network predict?",
        "caption": "The same network, images, noise and seconds; only what it is trained to predict differs. Each of the three can be "
        "computed from xₜ and another one, but the errors are not the same: at high noise an error in ε is divided by the little "
        f"signal that is left. After {number} epochs.{_read_as_asked(shown)}",
        "section": "training",
        "blocks": [{"layout": "scrub", "panels": panels}],
        "metrics": [
            metric
            for words, _, epoch in shown
            for metric in (
                [{"name": f"{words}: class accuracy"} | as_percent(epoch.scores["class_accuracy"])]
                if "class_accuracy" in epoch.scores
                else []
            )
            + [{"name": f"{words}: Fréchet distance", "goal": "lower", **epoch.scores["frechet_distance"]}]
        ],
    }


def _read_as_asked(shown):
    """How many of the digits of each were read as asked, in a sentence; nothing for a network without classes."""
    rates = [(words, epoch.scores.get("class_accuracy")) for words, _, epoch in shown]
    if not all(rate for _, rate in rates):
        return ""
    read = [f"{percent_text(rate['value'])} ({words})" for words, rate in rates]
    return f" Read as asked: {'; '.join(read)}."


def calls_figure(networks: dict[str, dict], tables: dict) -> dict:
    """How good digits are with few and many calls of the network, by what it was trained as and how it is drawn from.

    Args:
        networks: {model: its entry in `fun.workflow.digits.networks`}.
        tables: {model: the table that sample_calls writes (pandas)}.
    """
    blocks, metrics = [], []
    for model, table in tables.items():
        kind, path = networks[model]["model"]["prediction_type"], networks[model]["schedule"]["name"]
        trained = f"trained to predict {PREDICTED[kind]}" + (", along a flow" if path == "flow" else "")
        series = []
        for walk, rows in table.groupby("walk", sort=False):
            rows = rows.drop_duplicates("calls")
            series.append({"name": walk, "x": rows["calls"].tolist(), "y": rows["frechet_distance"].tolist()})
            for row in rows.itertuples():
                if row.calls == 1 and walk != table["walk"].iloc[0]:
                    continue  # one call is the same on every path
                how = "one call" if row.calls == 1 else f"{walk}, {row.calls} calls"
                name, n = f"{model.replace('_', '-')}, {how}", int(row.accuracy_n)
                read = {key: getattr(row, f"accuracy_{key}") for key in ("value", "low", "high")}
                metrics.append({"name": f"{name}: class accuracy"} | as_percent(read | {"n": n}))
                metrics.append(
                    {"name": f"{name}: Fréchet distance", "value": row.frechet_distance, "goal": "lower", "n": n}
                )
        floor = table["frechet_floor"].iloc[0]
        series.append({"name": "real digits", "x": series[0]["x"], "y": [floor] * len(series[0]["x"])})
        blocks.append(
            {
                "layout": "chart",
                "title": f"Drawn with a network {trained}",
                "panels": [],
                "chart": {
                    "kind": "line",
                    "x": {"label": "calls of the network, guidance’s included", "log": True},
                    "y": {"label": "Fréchet distance", "log": True},
                    "series": series,
                },
            }
        )
    return {
        "id": "mnist_calls",
        "title": "Diffusion or flow: does the target matter, or the path?",
        "caption": "Two networks, trained on the same images for the same time: one as a diffusion model, one by flow matching. Each is drawn "
        "from along both paths, since what a network predicts, x₀ and the noise, is the same on both. If the curves of one network lie "
        "together, the path hardly matters; if those of the two networks differ, it is by what they were trained to predict. "
        f"{number_text(n)} digits for each point.",
        "section": "training",
        "blocks": blocks,
        "metrics": metrics,
    }


def single_step_figure(
    sigma: float,
    pictures: dict,
    psnr: dict[str, dict[float, float]],
    distance: float,
    spread: float,
    losses,
    seed: int,
    n: int,
    made: dict,
) -> dict:
    """A network that removes noise in a single step, on test digits.

    Args:
        sigma: the level that it was trained at.
        pictures: "clean", "from_noise", "mean": digits (N, 28, 28); "noisy", "denoised": {sigma: digits}; "epochs": {name: digits}.
        psnr: "noisy", "denoised": {sigma: dB}, and "own": those of denoisers that were trained at that sigma.
        distance: root mean square, a pixel, of what the network makes of pure noise and the mean of the training digits.
        spread: the same of the test digits and that mean.
        losses: the epochs' losses, a table with "epoch", "images" and "loss" (pandas).
        n: test digits that were scored.
    """
    made = made | {"seed": seed}

    def strip(images, label, alt, **provenance):
        return {
            "picture": sheet(images, len(images)),
            "label": label,
            "alt": alt,
            "provenance": made | provenance if provenance else {},
        }

    clean = strip(pictures["clean"], "test digits", "Ten handwritten digits of the test set.")
    epochs = [
        strip(images, name, f"The ten digits, {name}.", trained_at=sigma, sigma=sigma)
        if name != "before"
        else strip(images, f"with noise, σ = {sigma:g}", "The ten digits under noise.")
        for name, images in pictures["epochs"].items()
    ]
    levels = [
        panel
        for level, noisy in pictures["noisy"].items()
        for panel in (
            strip(
                noisy,
                f"σ = {level:g}: {psnr['noisy'][level]:.1f} dB" if level else "σ = 0",
                f"Ten digits with noise of sigma {level:g}.",
            ),
            strip(
                pictures["denoised"][level],
                f"denoised: {psnr['denoised'][level]:.1f} dB",
                f"What the denoiser makes of the digits at sigma {level:g}.",
                trained_at=sigma,
                sigma=level,
            ),
        )
    ]
    shown = {level: db for level, db in psnr["noisy"].items() if np.isfinite(db)}
    series = [
        {"name": "the noisy digits", "x": list(shown), "y": list(shown.values())},
        {"name": f"trained at σ = {sigma:g}", "x": list(psnr["denoised"]), "y": list(psnr["denoised"].values())},
    ]
    best = dict(sorted((psnr["own"] | {sigma: psnr["denoised"][sigma]}).items()))
    series += [{"name": "each trained at its own σ", "x": list(best), "y": list(best.values())}] if psnr["own"] else []
    nothing = [
        strip(pictures["from_noise"][i : i + 1], f"made of noise {i + 1}", "A grey blur.", sigma="noise alone")
        for i in range(3)
    ] + [strip(pictures["mean"], "the mean of all training digits", "A grey blur, the mean digit.")]
    return {
        "id": "mnist_single_step",
        "title": "A denoiser of one step, and why it takes many",
        "caption": f"A network trained for one thing: to remove noise of σ = {sigma:g} from a digit, in one step, by squared error.",
        "section": "single_step",
        "blocks": [
            {
                "layout": "row",
                "title": "Trained on nothing but noise",
                "panels": nothing,
                "caption": "Another network sees no digit at all, only noise, and is asked for a digit. What it draws is the mean of all digits, because "
                "that has the smallest squared error when nothing is known: its pixels are off that mean by "
                f"{distance:.2g} (root mean square), those of a real digit by {spread:.2g}.",
            },
            {
                "layout": "grid",
                "title": "At other levels of noise than its own",
                "columns": 2,
                "panels": levels,
                "caption": f"Where there is no noise, it is worse than doing nothing: it was only ever told to take away σ = {sigma:g}. Where there "
                "is more, it leaves some.",
            },
            {
                "layout": "chart",
                "panels": [],
                "chart": {
                    "kind": "line",
                    "x": {"label": "σ of the noise", "min": 0},
                    "y": {"label": "PSNR", "unit": "dB"},
                    "series": series,
                },
            },
            {"layout": "grid", "title": "It learns", "columns": 1, "panels": [*epochs, clean]},
            {
                "layout": "chart",
                "title": "Its loss",
                "panels": [],
                "chart": {
                    "kind": "line",
                    "x": {"label": "epoch", "min": 0},
                    "y": {"label": "mean squared error", "log": True},
                    "series": [
                        {
                            "name": f"trained at σ = {sigma:g}",
                            "x": (losses["images"] / losses["images"].max() * losses["epoch"].max()).round(3).tolist(),
                            "y": losses["loss"].tolist(),
                        }
                    ],
                },
            },
        ],
        "metrics": [
            *(
                {"name": f"{name}, σ = {level:g}", "value": db, "unit": "dB", "goal": "higher", "n": n}
                for way, name in (
                    ("noisy", "noisy"),
                    ("denoised", "denoised"),
                    ("own", "denoised by the one trained there"),
                )
                for level, db in psnr[way].items()
                if np.isfinite(db)
            ),
            {"name": "from pure noise: distance from the mean digit", "value": distance, "goal": "lower"},
        ],
    }
