"""Train a flow map on its teacher's walks."""

from fun.workflow.log import log_to

progress = log_to(snakemake.log[0])

import math

import torch

from fun.data.devices import pick_device
from fun.data.mnist import BLACK
from fun.data.tensors import load_tensors, save_tensors
from fun.diffusion.digits import generate, without_noise
from fun.diffusion.sampling import randn
from fun.diffusion.schedule import make_schedule
from fun.networks.mnist_unets import make_network
from fun.training.flow_map import MapTrainer
from fun.training.trainer import average_weights, epoch_indices, trained_network

CHUNK = 50  # digits at a time

torch.set_num_threads(snakemake.threads)
params, device = snakemake.params, pick_device(snakemake.params.device)
entry = params.teacher
schedule, state = make_schedule(**entry["schedule"]), load_tensors(snakemake.input.checkpoint)[0]
teacher = trained_network(entry["model"], schedule, state).to(device)
how, start = without_noise(params.sampling), schedule.num_train_timesteps - 1

# The teacher's walks, from noise to digit, at all of its timesteps.
labels = torch.randint(10, (params.walks,), generator=torch.Generator().manual_seed(params.seed))
walks = []
for numbers in progress(torch.arange(params.walks).split(CHUNK), "walks"):
    seeds = (params.seed + 1_000_000 + numbers).tolist()  # none of those that are shown or scored
    noise = randn((1, 28, 28), [torch.Generator().manual_seed(seed) for seed in seeds])
    told = labels[numbers].to(device)
    states = list(
        generate(teacher, told, seeds, x_t=noise.to(device), start=start, black=BLACK[entry["pixels"]], **how)
    )
    walks.append(torch.cat([noise, *(one.x_t.cpu() for one in states)], 1))
walks = torch.cat(walks)
timesteps = torch.tensor([start, *(one.t for one in states)])

model = entry["model"] | {"is_map": True}
torch.manual_seed(params.seed)
network = make_network(model, schedule)
network.load_state_dict(average_weights(state), strict=False)  # all but the embedding of where a step goes
training = {key: value for key, value in params.training.items() if key != "batch_size"}
trainer = MapTrainer(network.to(device), params.seed, timesteps, **training)
batch, size = params.training["batch_size"], entry["images_per_epoch"]
for epoch in range(1, params.epochs + 1):
    chosen = epoch_indices(params.seed, epoch, size, len(walks))
    epoch_walks, told = walks[chosen].to(device), labels[chosen].to(device)
    losses = list(progress(trainer.train_epoch(epoch_walks, told, batch), f"epoch {epoch}", math.ceil(size / batch)))
    print(epoch, sum(losses) / len(losses))
made_with = {key: params[key] for key in ("teacher", "sampling", "training", "walks", "epochs", "seed")}
save_tensors(snakemake.output[0], trainer.state_dict(), made_with | {"model": model, "torch": torch.__version__})
