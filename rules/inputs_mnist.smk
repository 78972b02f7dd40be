"""Inputs and parameters of the jobs of Part B. No rules."""

import hashlib

from fun.workflow.digits import (
    IDEAS,
    IDX_FILES,
    class_names,
    digit_sampling,
    epoch_before,
    epoch_minutes,
    idea_networks,
    idx_files,
    map_training,
    own_sampling,
    sampled_epochs,
    sampling_minutes,
)


def own_data(wildcards=None):
    """The folder that has the data set's files already; None to download them."""
    return in_project(MNIST["data"]) if "data" in MNIST else None


def data_folder():
    """Where the data set is kept. Another one, or other files of one's own, has another folder: then everything is made again."""
    if MNIST["dataset"] != "own":
        return "results/mnist/data" if MNIST["dataset"] == "mnist" else f"results/mnist/data_{MNIST['dataset']}"
    files = filter(None, idx_files(own_data()).values())
    return f"results/mnist/data_own_{hashlib.sha256(repr(content(files)).encode()).hexdigest()[:12]}"


def dataset_shown(wildcards):
    """What the figures call the data set and its classes."""
    return {"name": MNIST["dataset"], "classes": class_names(MNIST)}


def checkpoint(model, epoch):
    """The checkpoint of a network after an epoch."""
    return f"results/mnist/{model}/epoch_{epoch}/checkpoint.safetensors"


def previous_checkpoint(wildcards):
    """The checkpoint that an epoch continues from; none for the first."""
    before = epoch_before(NETWORKS[wildcards.model], int(wildcards.epoch))
    return checkpoint(wildcards.model, before) if before else []


def epoch_runtime(wildcards):
    """The minutes that an epoch of a network may take on a cluster."""
    return epoch_minutes(NETWORKS[wildcards.model], int(wildcards.epoch))


def sampling_runtime(wildcards):
    """The minutes that drawing an epoch's digits may take on a cluster."""
    return sampling_minutes(NETWORKS[wildcards.model], mnist_sampling(wildcards), digits_to_score(wildcards))


def mnist_sampling(wildcards):
    """How a model's digits are drawn. Without the list of sampled epochs, so that one more epoch does not redraw the others."""
    return digit_sampling(MNIST, wildcards.model)


def digits_to_score(wildcards):
    """How many digits of an epoch are scored. It depends on no other epoch, so that one more draws none again."""
    early = int(wildcards.epoch) <= MNIST["sampling"]["early_until"]
    return MNIST["sampling"]["num_images_early" if early else "num_images"]


def guide_checkpoint(wildcards):
    """The earlier checkpoint that guides an epoch's digits, if any."""
    epoch = digit_sampling(MNIST, wildcards.model)["guide_epoch"]
    guided = epoch is not None and epoch < int(wildcards.epoch)
    return checkpoint(wildcards.model, epoch) if guided else []


def of_compared(file):
    """The named file of the epoch at which the networks that predict different things are compared."""
    return [
        f"results/mnist/{model}/epoch_{min(MNIST['predictions']['epochs'], NETWORKS[model]['epochs'])}/{file}"
        for model in COMPARED
    ]


def of_epochs(file):
    """The named file of each epoch of a model."""
    return lambda wildcards: [
        f"results/mnist/{wildcards.model}/epoch_{epoch}/{file}"
        for epoch in range(1, NETWORKS[wildcards.model]["epochs"] + 1)
    ]


def of_sampled_epochs(file):
    """The named file of each sampled epoch of a model."""
    return lambda wildcards: [
        f"results/mnist/{wildcards.model}/epoch_{epoch}/{file}"
        for epoch in sampled_epochs(MNIST, NETWORKS[wildcards.model]["epochs"])
    ]


def denoiser_checkpoints():
    """The last checkpoint of each single-step denoiser, and the main one's first."""
    last = [checkpoint(name, network["epochs"]) for name, network in DENOISERS.items()]
    return [checkpoint(name, 1) for name in list(DENOISERS)[:1]] + last


def denoiser_losses():
    """The losses of the main denoiser."""
    return [
        f"results/mnist/{name}/epoch_{epoch}/losses.csv"
        for name in list(DENOISERS)[:1]
        for epoch in DENOISERS[name]["kept"] or range(1, DENOISERS[name]["epochs"] + 1)
    ]


def idea_checkpoints(wildcards):
    """The checkpoints of the networks that show an idea."""
    return [checkpoint(one["model_name"], one["epoch"]) for one in idea_networks(MNIST, wildcards.idea)]


def idea_photo(wildcards):
    """The photo whose spectrum is shown beside that of digits."""
    return shipped("resources/images/cat.jpg") if wildcards.idea == "spectrum" else []


def taught(wildcards):
    """The network that a flow map learns from, as its name and its entry."""
    name = MNIST["one_call"]["model"]
    return {"name": name, **NETWORKS[name]}


def taught_checkpoint(wildcards):
    """The last checkpoint of that network."""
    return checkpoint(MNIST["one_call"]["model"], taught(wildcards)["epochs"])


def called_models():
    """The networks that are drawn along several paths."""
    return MNIST["calls"]["models"] if MNIST["calls"] else []


def called_checkpoint(wildcards):
    """The checkpoint of a network that is drawn along several paths."""
    return checkpoint(wildcards.model, min(MNIST["calls"]["epoch"], NETWORKS[wildcards.model]["epochs"]))


def diffusion_path():
    """The schedule that diffusion's samplers walk along: that of the networks, unless they are all flows."""
    name = MNIST["schedule"]["name"]
    return "cosine" if name == "flow" else name


def called_tables(n=None):
    """The tables of the networks that are drawn along several paths, with n digits for each number of calls."""
    return [f"results/mnist/{model}/calls_{n or MNIST['calls']['num_images']}.csv" for model in called_models()]
