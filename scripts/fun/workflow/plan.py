"""What a configuration asks for, besides its experiments."""


def sampled_epochs(mnist: dict) -> list[int]:
    """The listed epochs that are trained, and the last one. mnist: the section mnist of the configuration."""
    listed = [epoch for epoch in mnist["sampling"]["epochs"] if epoch <= mnist["epochs"]]
    return sorted({*listed, mnist["epochs"]})


def report_figures(cascade: str | None, experiments: dict, models: dict) -> list[str]:
    """Every figure.json of the report, in the report's order. models: the MNIST models."""
    of_models = [
        f"results/mnist/{model}/{figure}/figure.json"
        for model in models
        for figure in ("samples", "reverse_process", "denoising")
    ]
    of_experiments = [f"results/{cascade}/{name}/figure.json" for name in experiments]
    mnist = ["results/mnist/schedules/figure.json", *of_models, "results/mnist/curves/figure.json"]
    return [*of_experiments, *mnist]
