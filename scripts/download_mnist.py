"""Get MNIST's files, check them and put them into results/mnist/data."""

from fun.workflow.log import log_to

log_to(snakemake.log[0])

from fun.data.mnist_sources import fetch_mnist

source = fetch_mnist(snakemake.params.sources, snakemake.params.data, "results/mnist/data")
print(f"MNIST from {source}, SHA-256 as expected")
