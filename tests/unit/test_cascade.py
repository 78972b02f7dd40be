"""What is read from a cascade's folder, and what is refused."""

import hashlib
import inspect
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler

from fun.diffusion.cascade import SCHEDULER, load_stage, sample_size
from fun.diffusion.text_encoder import load_text_encoder
from fun.weights.folders import find_model, revision_of, save_fetched
from tiny_cascade import make_cascade

CPU = torch.device("cpu")
COMMIT = "c03d510e9b75bce9f9db5bb85148c1402ad7e694"


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    return make_cascade(tmp_path_factory.mktemp("cascade"), sizes=(16, 48))


@pytest.fixture
def stage_folder(cascade, tmp_path):
    """A stage I to damage."""
    return Path(shutil.copytree(cascade / "stage_1", tmp_path / "stage_1"))


def change_scheduler(folder, **entries):
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def load_stage_1(folder, dtype=torch.float32):
    return load_stage(folder, None, None, dtype, CPU)


def test_sizes_and_channels_come_from_the_configs(cascade):
    stage_1 = load_stage_1(cascade / "stage_1")
    stage_2 = load_stage(cascade / "stage_2", 100, None, torch.float32, CPU)
    assert (stage_1.size, stage_1.channels, stage_1.noising) == (16, 3, None)
    assert (stage_2.size, stage_2.channels, stage_2.network.noise_level) == (48, 3, 100)
    assert sample_size(cascade / "stage_2") == 48
    cond = torch.randn(2, 77, 32)
    for stage, channels in ((stage_1, 3), (stage_2, 6)):
        found = stage.network(torch.randn(2, channels, stage.size, stage.size), 500, cond)
        assert all(part.shape == (2, 3, stage.size, stage.size) for part in found)


def test_thresholds_come_from_each_stages_scheduler(cascade):
    x_0 = torch.linspace(-4, 4, 768).view(1, 3, 16, 16)
    stage_1 = load_stage_1(cascade / "stage_1")
    stage_2 = load_stage(cascade / "stage_2", 100, None, torch.float32, CPU)
    assert torch.allclose(stage_1.threshold(x_0), x_0.clamp(-1.5, 1.5) / 1.5)
    assert torch.equal(stage_2.threshold(x_0), x_0.clamp(-1, 1))


@pytest.mark.parametrize(
    "entries, expected",
    [
        ({"thresholding": False, "clip_sample": True, "clip_sample_range": 2.0}, 2.0),
        ({"thresholding": False, "clip_sample": False}, 4.0),
    ],
)
def test_other_thresholds(stage_folder, entries, expected):
    change_scheduler(stage_folder, **entries)
    threshold = load_stage_1(stage_folder).threshold or (lambda x: x)
    assert threshold(torch.tensor([[[[-4.0, 4.0]]]])).abs().max() == expected


@pytest.mark.parametrize(
    "entries",
    [
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
        {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    ],
)
def test_noise_schedule(stage_folder, entries):
    change_scheduler(stage_folder, **entries)
    schedule = load_stage_1(stage_folder).schedule
    theirs = DDPMScheduler.from_pretrained(stage_folder, subfolder="scheduler").alphas_cumprod
    ours = schedule.alpha_bar(torch.arange(schedule.num_train_timesteps))
    assert torch.allclose(ours, theirs.double(), rtol=2e-5, atol=1e-7)


def test_what_is_not_known_is_refused(stage_folder):
    change_scheduler(stage_folder, prediction_type="flow_prediction")
    with pytest.raises(ValueError, match="stage_1: prediction_type flow_prediction is none of"):
        load_stage_1(stage_folder)
    change_scheduler(stage_folder, prediction_type="epsilon", beta_schedule="sigmoid")
    with pytest.raises(ValueError, match="stage_1: beta_schedule sigmoid is none of"):
        load_stage_1(stage_folder)
    change_scheduler(stage_folder, beta_schedule="linear", rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match="stage_1: rescale_betas_zero_snr is not supported"):
        load_stage_1(stage_folder)
    change_scheduler(stage_folder, rescale_betas_zero_snr=False, variance_type="learned")
    with pytest.raises(ValueError, match="stage_1: variance_type learned is not supported"):
        load_stage_1(stage_folder)


def test_prompts_that_change_in_place_are_read_again(stage_folder):
    x, cond, other = (torch.randn(2, *shape) for shape in ((3, 16, 16), (77, 32), (77, 32)))
    network = load_stage_1(str(stage_folder)).network
    network(x, 400, cond)
    expected = load_stage_1(stage_folder).network(x, 400, other).x_0
    assert torch.equal(network(x, 400, cond.copy_(other)).x_0, expected)
    assert torch.equal(network(x, 400, other.clone()).x_0, expected)


def test_what_a_schedulers_config_leaves_out_is_as_in_diffusers():
    theirs = {
        name: parameter.default for name, parameter in inspect.signature(DDPMScheduler.__init__).parameters.items()
    }
    assert SCHEDULER.items() <= theirs.items()


def test_fixed_variance(stage_folder):
    change_scheduler(stage_folder, variance_type="fixed_small")
    assert not load_stage_1(stage_folder).learned_variance


def test_v_prediction_means_the_noise(stage_folder):
    x, cond = torch.randn(2, 3, 16, 16), torch.randn(2, 77, 32)
    raw = load_stage_1(stage_folder).network(x, 400, cond).noise
    change_scheduler(stage_folder, prediction_type="v_prediction")
    stage = load_stage_1(stage_folder)
    noise = stage.network(x, 400, cond).noise
    abar = stage.schedule.alpha_bar(400).item()
    assert torch.allclose(noise, abar**0.5 * raw + (1 - abar) ** 0.5 * x, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_still_speaks_float32(cascade, dtype):
    x, cond = torch.randn(2, 3, 16, 16), torch.randn(2, 77, 32)
    half = load_stage_1(cascade / "stage_1", dtype)
    found = half.network(x, 400, cond)
    assert half.network.unet.dtype == dtype and {part.dtype for part in found} == {torch.float32}
    exact = load_stage_1(cascade / "stage_1").network(x, 400, cond)
    assert (found.noise - exact.noise).abs().max() < 0.05


def test_what_overflows_in_half_precision_is_named(cascade):
    half = load_stage_1(cascade / "stage_1", torch.float16)
    with pytest.raises(
        ValueError, match="^the network of stage I, in float16, gave .* not finite at timestep 400: try"
    ):
        half.network(torch.zeros(1, 3, 16, 16), 400, torch.full((1, 77, 32), 1e30))


def test_weights_are_read_when_first_needed(stage_folder):
    (stage_folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    stage = load_stage_1(stage_folder)
    assert stage.size == 16 and stage.schedule.num_train_timesteps == 1000
    with pytest.raises(ValueError, match="has no weights in unet"):
        stage.network(torch.randn(1, 3, 16, 16), 1, torch.randn(1, 77, 32))


def test_pickled_weights_are_not_read(stage_folder):
    (stage_folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, stage_folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="has no safetensors"):
        load_stage_1(stage_folder).network(torch.randn(1, 3, 16, 16), 1, torch.randn(1, 77, 32))


def test_text_encoder_alone(cascade, tmp_path):
    """Neither needs what belongs to the other."""
    shutil.copytree(cascade / "stage_1", tmp_path / "text", ignore=shutil.ignore_patterns("unet", "scheduler"))
    shutil.copytree(cascade / "stage_1", tmp_path / "unet", ignore=shutil.ignore_patterns("text_encoder", "tokenizer"))
    encoder = load_text_encoder(tmp_path / "text", 77, None, torch.float32, CPU)
    load_stage_1(tmp_path / "unet").network(torch.randn(1, 3, 16, 16), 1, encoder.encode("a red one")[None])


def test_prompts_are_normalised_padded_and_counted(cascade):
    encoder = load_text_encoder(cascade / "stage_1", 77, None, torch.float32, CPU)
    assert torch.equal(encoder.encode("  A Red ONE "), encoder.encode("a red one"))
    assert encoder.encode("").shape == encoder.encode("one " * 200).shape == (77, 32)
    assert encoder.count_tokens("") == 1 and encoder.count_tokens("one " * 200) > 200
    assert not torch.equal(encoder.encode("a red one"), encoder.encode("a blue one"))


def test_find_model(cascade, tmp_path):
    assert find_model(cascade / "stage_1", "stage_1") == cascade / "stage_1"
    with pytest.raises(FileNotFoundError, match="no model folder .*absent"):
        find_model(tmp_path / "absent", "stage_1")
    assert len(revision_of(cascade / "stage_1", None)) == 12
    assert revision_of(cascade / "stage_1", None) != revision_of(cascade / "stage_2", None)


def test_what_was_fetched_from_the_hub_comes_from_this_machines_cache(cascade, tmp_path, monkeypatch):
    """In the layout of the hub's cache; what was not fetched is a folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub/models--DeepFloyd--IF-I-XL-v1.0/snapshots" / COMMIT
    shutil.copytree(cascade / "stage_1", snapshot)
    model = {"model": "DeepFloyd/IF-I-XL-v1.0", "revision": "main", "commit": COMMIT}
    size = (snapshot / "unet/config.json").stat().st_size
    fetched = tmp_path / "weights.json"
    save_fetched(fetched, {"stage_1": model | {"files": {"unet/config.json": size}}})
    assert find_model(model["model"], "stage_1", [fetched]) == snapshot
    assert revision_of(find_model(model["model"], "stage_1", [fetched]), "main") == COMMIT
    assert find_model(cascade / "stage_2", "stage_2", [fetched]) == cascade / "stage_2"
    (snapshot / "unet/config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="XL-v1.0 was fetched, but the hub cache .* has no unet/config.json"):
        find_model(model["model"], "stage_1", [fetched])


@pytest.mark.parametrize("line", ["{}  {}\n", "{} *{}\n\n"], ids=["text", "binary, blank lines"])
def test_a_flipped_byte_is_seen_where_there_are_sums(cascade, tmp_path, line):
    folder = Path(shutil.copytree(cascade, tmp_path / "cascade"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [line.format(hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(folder)) for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))
    assert find_model(folder / "stage_1", "stage_1") == folder / "stage_1"
    weights = folder / "stage_1/unet/diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    with pytest.raises(ValueError, match="diffusion_pytorch_model.safetensors is damaged"):
        find_model(folder / "stage_1", "stage_1")
    find_model(folder / "stage_2", "stage_2")
