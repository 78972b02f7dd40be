"""What the section `mnist` of the configuration asks for: which networks are trained, on what, and how they are drawn from."""

import math
import os

from fun.data.timesteps import check_walk

DIGITS = [str(digit) for digit in range(10)]
CLASSES = {  # torchvision's names
    "mnist": DIGITS,
    "fashion_mnist": [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    ],
    "kmnist": ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"],
    "own": DIGITS,
}  # fmt: skip
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDEAS = ("memory", "agreement", "spectrum", "handwriting", "reading")  # the last two of classes
OF_CLASSES = IDEAS[3:]
AGREEMENT_EPOCHS = (2, 5, 10)  # and the last one
ARCHITECTURE = ("network", "width", "class_conditioned", "prediction_type", "time")  # what make_network takes
# {network: (images a second that it trains on, on one core, width)}; somewhat fewer than measured in docs/benchmarks.md.
TRAINING_RATES = {"small": (300, 32), "cs180": (40, 64)}
FORWARD = 3  # times as many images a second go through a network that is not trained
SHORT = 60  # seconds: shorter epochs of a network that is only compared are one job, since starting it takes as long
BESIDES = 400  # images that an epoch's job draws besides those that are scored: grids, and test digits to denoise
MARGIN = 4  # a cluster's core may be slow, or shared


def complete_mnist(mnist: dict) -> None:
    """Fill in what depends on other entries, and check what no schema can.

    Raises:
        ValueError: entries that do not go together; the sentence names one.
    """
    models = mnist["models"]
    for name, entry in models.items():
        flow = _schedule(mnist, entry)["name"] == "flow"
        entry.setdefault(
            "prediction_type", "flow" if flow else {"small": "sample", "cs180": "epsilon"}[entry["network"]]
        )
        if flow and entry["prediction_type"] == "epsilon":
            raise ValueError(
                f"mnist/models/{name}/prediction_type must be one of flow, sample, v_prediction on the schedule flow, which has no "
                "signal at its start, not epsilon"
            )
        if "time" in entry and entry["network"] != "cs180":
            raise ValueError(f"mnist/models/{name}/time is an entry of the network cs180, not of {entry['network']}")
        if entry["images"] and entry["images"][0] == entry["images"][1]:
            raise ValueError(
                f"mnist/models/{name}/images must have a first number below the second, not {entry['images']}"
            )
        _check_steps(mnist, name)
    compared = mnist["predictions"]
    for section, named in (
        ("predictions/model", [compared["model"]] if compared else []),
        ("calls/models", _called(mnist)),
        ("ideas/model", [mnist["ideas"]["model"]] if mnist["ideas"] else []),
        ("one_call/model", [mnist["one_call"]["model"]] if mnist["one_call"] else []),
    ):
        if wrong := [name for name in named if name not in models]:
            raise ValueError(f"mnist/{section} must be one of {', '.join(models)}, not {wrong[0]}")
    if wrong := [name for name in _called(mnist) if not models[name]["class_conditioned"]]:
        raise ValueError(f"mnist/calls/models has {wrong[0]}, which is not conditioned on the class")
    if taken := sorted(predictions(mnist).keys() & models.keys() - {compared and compared["model"]}):
        raise ValueError(f"mnist/models/{taken[0]} is a name that mnist/predictions needs: choose another")
    teacher = models[mnist["one_call"]["model"]] if mnist["one_call"] else None
    if teacher and (teacher["network"], teacher["class_conditioned"]) != ("small", True):
        raise ValueError("mnist/one_call/model must be a network of the kind small, conditioned on the class")
    if mnist["dataset"] == "own" and "data" not in mnist:
        raise ValueError("mnist lacks the entry data, the folder of the data set own")


def _schedule(mnist, entry):
    """The schedule of a model's entry: its own, or that of all."""
    return mnist["schedule"] | ({"name": entry["schedule"]} if entry["schedule"] else {})


def _called(mnist):
    return mnist["calls"]["models"] if mnist["calls"] else []


def _check_steps(mnist, model):
    how, timesteps = digit_sampling(mnist, model), mnist["schedule"]["num_train_timesteps"]
    own = "num_steps" in mnist["models"][model]["sampling"]
    where = f"mnist/models/{model}/sampling" if own else "mnist/sampling"
    if how["num_steps"] > timesteps:
        raise ValueError(
            f"{where}/num_steps must be at most mnist/schedule/num_train_timesteps ({timesteps}), not {how['num_steps']}"
        )
    try:
        check_walk(how["spacing"], timesteps, how["num_steps"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def networks(mnist: dict) -> dict[str, dict]:
    """Every network that can be trained, by name: what it is ("model"), its "schedule", "pixels", "training", "images_per_epoch",
    "epochs", and after which of them a checkpoint is "kept", where one job trains from one to the next. How it is drawn from
    is left out: that is no reason to train it again."""
    found = {}
    for name, entry in (mnist["models"] | predictions(mnist)).items():
        model = {key: entry[key] for key in ARCHITECTURE if key in entry}
        epochs = entry["epochs"] or mnist["epochs"]
        compared = name not in mnist["models"] and min(mnist["predictions"]["epochs"], epochs)
        found[name] = {
            "model": model,
            "schedule": _schedule(mnist, entry),
            "pixels": entry["pixels"],
            "training": mnist["training"],
            "images": entry["images"],
            "images_per_epoch": mnist["images_per_epoch"],
            "epochs": epochs,
            "kept": [compared] if compared and _is_short(model, mnist["images_per_epoch"]) else None,  # None: all
        }
    return found | denoisers(mnist)


def predictions(mnist: dict) -> dict[str, dict]:
    """The entries of the networks to compare that differ only in what they predict: the configured one, and those like it."""
    if mnist["predictions"] is None:
        return {}
    name = mnist["predictions"]["model"]
    entry = mnist["models"][name]
    flow = _schedule(mnist, entry)["name"] == "flow"
    kinds = ("flow" if flow else "epsilon", "v_prediction", "sample")
    others = [kind for kind in kinds if kind != entry["prediction_type"]]
    return {name: entry} | {f"{name}_{kind}": entry | {"prediction_type": kind} for kind in others}


def denoisers(mnist: dict) -> dict[str, dict]:
    """The single-step denoisers, as in `networks`: the main one first, those for other levels, and last that of pure noise."""
    how = mnist["denoiser"]
    if how is None:
        return {}
    model = {"network": how["network"], "width": how["width"], "class_conditioned": False, "prediction_type": "sample"}
    model |= {"time": "none"} if how["network"] == "cs180" else {}
    levels = {f"denoiser_{sigma:g}".replace(".", "_"): (1, sigma) for sigma in (how["sigma"], *how["others"])}
    training = mnist["training"] | {"reference_images": 0, "class_dropout": 0} | how["training"]
    short = _is_short(model, how["images_per_epoch"])
    return {
        name: {
            "model": model,
            "schedule": {"name": "one_level", "signal": signal, "sigma": sigma},
            "pixels": "unit",
            "training": training,
            "images": None,
            "images_per_epoch": how["images_per_epoch"],
            "epochs": how["epochs"],
            "kept": sorted({1, how["epochs"]} if sigma == how["sigma"] else {how["epochs"]}) if short else None,
        }
        for name, (signal, sigma) in (levels | {"denoiser_noise": (0, 1)}).items()
    }


def epoch_before(network: dict, epoch: int) -> int:
    """The epoch whose checkpoint an epoch's job continues from; 0 for none."""
    return epoch - 1 if network["kept"] is None else max([0, *(kept for kept in network["kept"] if kept < epoch)])


def digit_sampling(mnist: dict, model: str) -> dict:
    """How digits are drawn with a model: mnist/sampling, where the model's own entry does not differ."""
    scored = ("epochs", "num_images", "num_images_early", "early_until")
    shared = {name: value for name, value in mnist["sampling"].items() if name not in scored}
    # The networks that are compared with a model are drawn from as it is.
    own = model if model in mnist["models"] else mnist["predictions"]["model"]
    return shared | mnist["models"][own]["sampling"]


def map_training(mnist: dict) -> dict:
    """How the flow map learns: without hiding a class, and from its teacher's walks alone."""
    return mnist["training"] | {"reference_images": 0, "class_dropout": 0} | mnist["one_call"]["training"]


def ideas(mnist: dict) -> list[str]:
    """The ideas that are shown: none, all, or those that need no class."""
    if mnist["ideas"] is None:
        return []
    conditioned = mnist["models"][mnist["ideas"]["model"]]["class_conditioned"]
    return [idea for idea in IDEAS if conditioned or idea not in OF_CLASSES]


def idea_networks(mnist: dict, idea: str) -> list[dict]:
    """The networks that show an idea, as in `networks`, with their "name" in the figure, their "model_name" and "epoch", and how they are
    drawn from ("sampling"): the configured one, and for "agreement" its earlier epochs before it, and after it the networks whose pixels
    have the same range."""
    found, main = networks(mnist), mnist["ideas"]["model"]
    last = found[main]["epochs"]
    shown = [(main, last)]
    if idea == "agreement":
        shown = [(main, epoch) for epoch in AGREEMENT_EPOCHS if epoch < last] + shown
        others = [name for name in mnist["models"] if found[name]["pixels"] == found[main]["pixels"] and name != main]
        shown += [(name, found[name]["epochs"]) for name in others]
    return [
        found[name]
        | {
            "name": f"{name.replace('_', '-')}, epoch {epoch}",
            "model_name": name,
            "epoch": epoch,
            "sampling": own_sampling(mnist, name),
        }
        for name, epoch in shown
    ]


def played(mnist: dict) -> dict | None:
    """The network that the page draws digits with by itself, if there is one that it can: "name", "epochs" (the first, the fifth and the
    last), and what its script has to know."""
    for name, entry in mnist["models"].items():
        kind = (
            entry["network"],
            entry["class_conditioned"],
            entry["prediction_type"],
            entry["pixels"],
            entry["images"],
        )
        if kind == ("small", True, "sample", "signed", None) and _schedule(mnist, entry)["name"] == "cosine":
            last = entry["epochs"] or mnist["epochs"]
            return {
                "name": name,
                "epochs": sorted({epoch for epoch in (1, 5) if epoch < last} | {last}),
                "T": mnist["schedule"]["num_train_timesteps"],
                "guidance_interval": digit_sampling(mnist, name)["guidance_interval"],
            }
    return None


def own_sampling(mnist: dict, model: str) -> dict:
    """How digits are drawn with a model alone, no earlier epoch guiding it: the arguments of `fun.diffusion.digits.generate`."""
    return {name: value for name, value in digit_sampling(mnist, model).items() if name != "guide_epoch"}


def sampled_epochs(mnist: dict, last: int) -> list[int]:
    """The listed epochs that a network of `last` epochs has, and the last one."""
    return sorted({*(epoch for epoch in mnist["sampling"]["epochs"] if epoch <= last), last})


def class_names(mnist: dict) -> list[str]:
    """The names of the ten classes."""
    return mnist["classes"] or CLASSES[mnist["dataset"]]


def idx_files(folder: str) -> dict[str, str | None]:
    """The data set's four files in a folder, packed or not, by name; None for those that it lacks."""
    found = {name: [f"{folder}/{name}{packed}" for packed in ("", ".gz")] for name in IDX_FILES}
    return {name: next(filter(os.path.isfile, paths), None) for name, paths in found.items()}


def check_data(folder: str, given: str) -> None:
    """Raise ValueError if a folder lacks one of the data set's files. given: the folder as it is written in config.yaml."""
    if not os.path.isdir(folder):
        raise ValueError(
            f"config.yaml: mnist/data must be a folder with the four idx files of the data set: there is no folder {given}"
        )
    if missing := [name for name, path in idx_files(folder).items() if path is None]:
        raise ValueError(
            f"config.yaml: mnist/data must be a folder with the four idx files of the data set, gzipped or not: {given} has no "
            f"{missing[0]}"
        )


def epoch_minutes(network: dict, epoch: int) -> int:
    """Minutes that a cluster should allow for the job of an epoch: a minute to start, and the training with a margin."""
    images = (epoch - epoch_before(network, epoch)) * network["images_per_epoch"]
    return 1 + math.ceil(MARGIN * images / _rate(network["model"]) / 60)


def sampling_minutes(network: dict, sampling: dict, num_images: int) -> int:
    """The same for a job that draws this many digits with it, guided in every step."""
    images = 2 * sampling["num_steps"] * (num_images + BESIDES)
    return 1 + math.ceil(MARGIN * images / (FORWARD * _rate(network["model"])) / 60)


def _is_short(model, images_per_epoch):
    """Whether an epoch of a network is too short for a job of its own."""
    return images_per_epoch < SHORT * _rate(model)


def _rate(model):
    """Images a second that a network trains on."""
    rate, width = TRAINING_RATES[model["network"]]
    return rate * (width / model["width"]) ** 2
