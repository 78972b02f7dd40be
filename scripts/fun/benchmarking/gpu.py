"""Everything that is measured on one GPU, in parts: each is kept as JSON when it is done, and is not measured again.

    PYTHONPATH=scripts python -m fun.benchmarking.gpu FOLDER [--minutes 8] [--mnist FOLDER]

needs torch, diffusers and transformers, no weights, no network, and no Snakemake, whose rule gpu_speed does the same; only how good
digits are after how many seconds needs MNIST's four files. What matters most comes first: is it correct, does IF fit, how fast is it. A
part that fails is kept as the sentence that it failed with, and is tried again.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from fun.benchmarking.contenders import Ours, judge
from fun.benchmarking.full_size import NETWORKS, build, created_in, measure, sampler_of
from fun.benchmarking.markdown import markdown_table, number
from fun.benchmarking.rates import in_turn
from fun.benchmarking.sizes import TOKENS
from fun.data.devices import pick_device
from fun.data.files import read_json, write_json, write_whole
from fun.data.mnist import load_mnist
from fun.diffusion.cascade import load_stage
from fun.diffusion.experiments import text_to_image, visual_anagram
from fun.diffusion.sampler import Sampler
from fun.diffusion.schedule import NoiseSchedule
from fun.judging.scores import DigitClassifier, FrechetDistance, read_digits, train_classifier
from fun.networks.mnist_unets import SmallUNet
from fun.training.trainer import Trainer, has_bfloat16

MINIATURE = Path(__file__).parents[3] / "resources" / "miniature"
T5_XXL = {"vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
T5_XXL |= {"feed_forward_proj": "gated-gelu"}
RECIPE = {  # mnist/training as it is by default; an epoch here is all of MNIST
    "muon_lr": 0.02,
    "adamw_lr": 0.002,
    "warm_up_steps": 30,
    "decay_per_epoch": 0.9,
    "ema": 0.998,
    "timestep_power": 0.5,
    "reference_images": 5000,
}
# Noise estimates in experiments/deepfloyd.yaml.
ESTIMATES = {"stage I, as IF-I-XL": 21_900, "stage II, about IF-II-L": 7_650}
# Seconds of training after which a network is judged; with the last it ends.
KEPT_AT = (2.5, 5, 7.5, 10, 15, 20, 30, 60)


def parts(
    device: torch.device,
    networks: dict = NETWORKS,
    t5: dict = T5_XXL,
    steps: int = 20,
    rounds: int = 3,
    mnist: Path | None = None,
) -> dict[str, Callable]:
    """{name: a function that measures it and returns rows}, the most important first. networks, t5: configs, for tests small ones;
    mnist: the folder of MNIST's files, without which the last part is missing."""
    found = {"correct": partial(correct, device, min(steps, 10)), "text_encoder": partial(text_encoder, device, t5)}
    for what, batches, dtype in (
        ("fits", (1,), "float16"),
        ("float16", (8, 16), "float16"),
        ("bfloat16", (1, 8), "bfloat16"),
    ):
        if dtype == "bfloat16" and device.type == "cuda" and not has_bfloat16(device):
            continue  # a T4 only emulates it
        for name, config in networks.items():
            how = (device, batches, dtype, 2 if what == "fits" else steps, rounds)
            found[f"{what}: {name}"] = partial(_networks, name, config, *how)
    first = next(iter(networks))
    found |= {
        "anagram": partial(anagram, networks[first], device, steps, rounds),
        "captured": partial(prepared, captured, networks[first], device, steps),
        "compiled": partial(prepared, torch.compile, networks[first], device, steps),
        "digits": partial(digits, device),
    }
    return found | ({"good digits": partial(good_digits, device, mnist)} if mnist else {})


def _networks(name, config, device, batches, dtype, steps, rounds) -> list[dict]:
    """Seconds a step and peak memory of a network, in our loop and in diffusers', for each size of a batch."""
    rows = []
    for batch in batches:
        measured = measure(name, config, getattr(torch, dtype), device, batch, steps, rounds)
        rows += [row | {"dtype": dtype} for row in measured]
    return rows


def correct(device: torch.device, steps: int) -> list[dict]:
    """How far the miniature's pictures are from the processor's, in grey levels of 255: the largest and the mean difference."""
    rows = []
    for stage, level in (("stage_1", None), ("stage_2", 50)):
        reference = _miniature(stage, level, "float32", torch.device("cpu"), steps)
        for dtype in ("float32", "float16", "bfloat16"):
            off = (_miniature(stage, level, dtype, device, steps) - reference).abs() * 127.5
            rows.append({"stage": stage, "dtype": dtype, "largest": off.max().item(), "mean": off.mean().item()})
    return rows


def _miniature(stage, level, dtype, device, steps):
    """Four pictures of a random prompt by a stage of the miniature: (4, 3, size, size) on the CPU."""
    loaded = load_stage(MINIATURE / stage, level, None, getattr(torch, dtype), device)
    generator = torch.Generator().manual_seed(0)
    embeds = {prompt: torch.randn(TOKENS, 64, generator=generator) for prompt in ("", "a prompt")}
    low = torch.rand(4, 3, 16, 16, generator=generator) * 2 - 1 if level else None
    sampler = Sampler(loaded, embeds, 16, "dpm_solver", steps, "trailing", "learned", True, 3.0)
    samples = [{"prompt": "a prompt", "seed": seed} for seed in range(4)]
    return text_to_image(sampler, samples, low)["x_0"].float().cpu().clamp(-1, 1)


def text_encoder(device: torch.device, config: dict) -> list[dict]:
    """T5's encoder with random weights in float16: seconds to build it, seconds for a prompt, peak memory."""
    _forget(device)
    start = time.perf_counter()
    with created_in(torch.float16, device):
        model = T5EncoderModel(T5Config(**config)).eval()
    for name, weights in model.named_parameters():
        if name.endswith("wo.weight"):  # transformers keeps them in float32, because in float16 their products overflow
            weights.data = weights.data.float()
    float(model.shared.weight.sum())  # which waits for the GPU
    built = time.perf_counter() - start
    tokens = torch.randint(config["vocab_size"], (1, TOKENS), device=device)
    with torch.no_grad():
        seconds = in_turn({"": lambda: model(tokens).last_hidden_state.cpu()}, 3)[""]
    return [{"seconds to build": built, "seconds a prompt": median(seconds), "peak memory (GB)": _peak(device)}]


def anagram(config: dict, device: torch.device, steps: int, rounds: int) -> list[dict]:
    """Eight guided anagrams of two views by stage I's network in float16, in our loop: seconds a step, peak memory."""
    _forget(device)
    own, _ = build(config, torch.float16, device)
    prompts = ("", "a prompt", "another")
    sampler = sampler_of(own, {prompt: torch.randn(TOKENS, config["encoder_hid_dim"]) for prompt in prompts}, steps)
    samples = [{"seed": seed} for seed in range(8)]
    shown = zip(prompts[1:], ("identity", "rotate_180"), strict=True)
    views = [{"view": view, "prompt": prompt, "seed": 0} for prompt, view in shown]

    def draw():
        return visual_anagram(sampler, samples, None, views=views, away=0)["x_0"].cpu()

    seconds = median(in_turn({"": draw}, rounds)[""])
    return [{"batch": 8, "views": 2, "seconds a step": seconds / steps, "peak memory (GB)": _peak(device)}]


def captured(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same call, recorded in a CUDA graph: the GPU need not wait for Python any more. Its inputs are those of the recording."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what a first call chooses and allocates must not be recorded
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call()

    def replay():
        graph.replay()
        return output

    return replay


@torch.no_grad()
def prepared(prepare: Callable, config: dict, device: torch.device, calls: int) -> list[dict]:
    """Whether it pays to compile stage I's network, or to record it: seconds a call on one guided picture in float16, without and
    with it in turn, and the seconds that it takes to prepare."""
    unet, _ = build(config, torch.float16, device)
    x = torch.randn(2, 3, config["sample_size"], config["sample_size"], dtype=torch.float16, device=device)
    embeds = torch.randn(2, TOKENS, config["encoder_hid_dim"], dtype=torch.float16, device=device)
    prompts = unet.read_prompts(embeds, torch.arange(2, device=device))

    def call():
        return unet(x, 500, prompts, None)

    call().cpu()
    start = time.perf_counter()
    other = prepare(call)
    other().cpu()
    seconds = {"seconds to prepare": time.perf_counter() - start}

    def often(which):
        for _ in range(calls):
            last = which()
        last.cpu()  # which waits for the GPU

    in_rounds = in_turn({"plain": partial(often, call), "prepared": partial(often, other)}, 3)
    return [seconds | {f"seconds a call, {name}": median(one) / calls for name, one in in_rounds.items()}]


def digits(device: torch.device, n: int = 6000) -> list[dict]:
    """Images a second on which the small U-Net trains, for several sizes of a batch."""
    images, labels = torch.randn(n, 1, 28, 28, device=device), torch.randint(10, (n,), device=device)

    def train(trainer, batch):
        return lambda: list(trainer.train_epoch(images, labels, batch))

    rows = []
    for batch in (32, 128, 512):
        trainer = Trainer(SmallUNet(NoiseSchedule.cosine(300), class_conditioned=True).to(device), 0, **RECIPE)
        seconds = in_turn({"": train(trainer, batch)}, 3)[""]
        rows.append({"batch": batch, "images a second": n / median(seconds)})
    return rows


def good_digits(
    device: torch.device, folder: Path, images_per_epoch: int = 60_000, epochs: int = 20, n: int = 2000
) -> list[dict]:
    """How good the small U-Net's digits are after how many seconds of training, for several sizes of a batch: its default recipe
    on twenty times all of MNIST. A classifier that is trained here, on the processor, judges them."""
    images, labels = load_mnist(folder, "train")
    torch.manual_seed(0)
    classifier, distance = DigitClassifier(), FrechetDistance()
    list(train_classifier(classifier, images, labels, epochs=3, seed=0))
    distance.add_reference(read_digits(classifier, images)[1])
    images, labels, rows = images.to(device), labels.to(device), []
    first = Ours(images, labels, 0, images_per_epoch, RECIPE | {"batch_size": 32})
    next(first.steps())  # what a first step loads is not timed
    for batch in (32, 128, 512):
        contender = Ours(images, labels, 180, images_per_epoch, RECIPE | {"batch_size": batch})
        seconds, seen, marks, steps = 0.0, 0, KEPT_AT, contender.steps()
        while seen < images_per_epoch * epochs and seconds < KEPT_AT[-1]:
            start = time.perf_counter()
            seen += next(steps)  # its loss is a number in Python: the GPU has been waited for
            seconds += time.perf_counter() - start
            if seconds >= marks[0] or seen >= images_per_epoch * epochs:
                marks = [mark for mark in marks if mark > seconds]
                found = judge(contender.network(), labels, n, classifier, distance)
                rows.append({"batch": batch, "seconds": seconds, "images": seen} | found)
    return rows


def markdown(kept: list[dict]) -> str:
    """The measured parts as tables in Markdown, for docs/benchmarks.md."""
    lines = []
    for part in kept:
        lines += [f"## {part['part']}", "", f"{part['GPU']}, torch {part['torch']}, {part['seconds']:.0f} s", ""]
        if "error" in part:
            lines += [f"Failed: {part['error']}", ""]
            continue
        cells = [[number(one) if isinstance(one, float) else str(one) for one in row.values()] for row in part["rows"]]
        lines += [markdown_table(list(part["rows"][0]), cells)]
    of_part = {part["part"]: part.get("rows", []) for part in kept}
    for network, count in ESTIMATES.items():
        for row in of_part.get(f"float16: {network}", []):
            if row["loop"] == "this project":  # a guided step estimates the noise of each sample twice
                minutes = count * row["seconds a step"] / (2 * row["batch"]) / 60
                what = f"{network}, at batches of {row['batch']}"
                lines.append(f"- {what}: {number(minutes)} minutes for experiments/deepfloyd.yaml")
    return "\n".join(lines) + "\n"


def measure_parts(folder: Path, found: dict[str, Callable], about: dict, minutes: float) -> Iterator[str]:
    """Measure the parts that are not in `folder` yet, until the minutes are over; yields the name of each that was begun.
    `folder`/gpu.json then has all that are there, and gpu.md shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    for name, part in found.items():
        file = folder / f"{name.replace(': ', '_').replace(' ', '_').replace(',', '')}.json"
        if _is_measured(file, about) or time.monotonic() > end:
            continue
        yield name
        start = time.perf_counter()
        try:
            result = {"rows": part()}
        except Exception as error:  # out of memory, or a version that has something else
            result = {"error": f"{type(error).__name__}: {error}"[:500]}
        write_json(file, {"part": name, "seconds": time.perf_counter() - start} | about | result)
    kept = [read_json(file) for file in sorted(folder.glob("*.json")) if file.name != "gpu.json"]
    write_json(folder / "gpu.json", kept)
    write_whole(folder / "gpu.md", markdown(kept))


def _is_measured(file, about):
    """Whether a part's file has its rows, from this machine."""
    kept = read_json(file) if file.exists() else {"error": ""}
    return "error" not in kept and about.items() <= kept.items()


def _forget(device):
    """Start to count the peak of the GPU's memory again."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device):
    return torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0


def main(arguments: list[str] | None = None) -> None:
    """Measure on the machine's GPU. Raises ValueError if there is none, or if parts are still missing at the end."""
    parser = argparse.ArgumentParser(description="Measure on one GPU, in parts.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8, help="begin no part after this many minutes")
    parser.add_argument("--mnist", type=Path, help="the folder of MNIST's four files, called data")
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise ValueError("this machine has no GPU that torch can use: nothing was measured")
    device = pick_device("cuda")
    about = {"GPU": torch.cuda.get_device_name(), "torch": torch.__version__}
    found = parts(device, mnist=asked.mnist)
    for name in measure_parts(asked.folder, found, about, asked.minutes):
        print(name, flush=True)
    kept = read_json(asked.folder / "gpu.json")
    failed = [f"{part['part']} ({part['error']})" for part in kept if "error" in part]
    if failed or len(kept) < len(found):
        raise ValueError(
            f"{len(found) - len(kept)} parts are not measured yet: start it again. Failed: {'; '.join(failed) or 'none'}"
        )


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(str(error)) from error
