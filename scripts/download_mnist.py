"""Get MNIST's files, check them and put them into results/mnist/data."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from pathlib import Path

from fun.data.mnist_sources import fetch_mnist

params, folder = snakemake.params, Path(snakemake.output[0]).parent
source = fetch_mnist(params.sources, params.data, folder, params.dataset)
print(f"{params.dataset} from {source}, as expected")
