"""Part B: train small U-Nets on MNIST, one job per epoch; draw digits with them; score and show the digits.

Needs only a source of MNIST, or of a data set of its format; makes results/mnist/.
"""

MNIST_FILES = [f"{data_folder()}/{name}" for name in IDX_FILES]


rule download_mnist:
    """The data set's four files, checked (MNIST's by SHA-256), from the first source that has them."""
    input:
        code=modules("download_mnist"),
    output:
        still_to_make(MNIST_FILES),  # their SHA-256 is fixed: where they come from is no reason to train again
    log:
        "results/logs/download_mnist.log",
    retries: 0 if "data" in MNIST else 2  # what is wrong with files of one's own stays wrong
    conda:
        "../envs/environment.yaml"
    params:
        sources=lookup("mnist/sources", within=config),
        data=own_data,
        dataset=lookup("mnist/dataset", within=config),
    script:
        "../scripts/download_mnist.py"


rule train_classifier:
    """The judge of digits: a classifier, its accuracy, and the sums of its features over the training digits."""
    input:
        data=ancient(MNIST_FILES),
        code=modules("train_classifier"),
    output:
        weights="results/mnist/classifier/weights.safetensors",
        reference="results/mnist/classifier/reference.safetensors",
        scores="results/mnist/classifier/scores.json",
    log:
        "results/logs/train_classifier.log",
    benchmark:
        "results/benchmarks/train_classifier.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        epochs=lookup("mnist/classifier_epochs", within=config),
        seed=lookup("mnist/seed", within=config),
    script:
        "../scripts/train_classifier.py"


rule train_epoch:
    """One epoch of one model, from the previous checkpoint to the next."""
    input:
        data=ancient(MNIST_FILES),
        previous=previous_checkpoint,
        code=modules("train_epoch"),
    output:
        checkpoint="results/mnist/{model}/epoch_{epoch}/checkpoint.safetensors",
        losses="results/mnist/{model}/epoch_{epoch}/losses.csv",
    log:
        "results/logs/train_epoch/{model}_{epoch}.log",
    benchmark:
        "results/benchmarks/train_epoch/{model}_{epoch}.tsv"
    priority: 1  # epochs wait for each other: begun late, they would end alone
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        runtime=epoch_runtime,
        gpu=MNIST["gpu"],
    params:
        # Without the number of epochs, so that more can be added to a finished training.
        model=lookup("{model}/model", within=NETWORKS),
        schedule=lookup("{model}/schedule", within=NETWORKS),
        pixels=lookup("{model}/pixels", within=NETWORKS),
        training=lookup("{model}/training", within=NETWORKS),
        images=lookup("{model}/images", within=NETWORKS),
        images_per_epoch=lookup("{model}/images_per_epoch", within=NETWORKS),
        seed=lookup("mnist/seed", within=config),
        device=lookup("mnist/device", within=config),
    script:
        "../scripts/train_epoch.py"


rule sample_epoch:
    """Digits drawn from a checkpoint: a grid, the steps from noise to digit, and many to score."""
    input:
        data=ancient(MNIST_FILES),
        checkpoint="results/mnist/{model}/epoch_{epoch}/checkpoint.safetensors",
        guide=guide_checkpoint,
        code=modules("sample_epoch"),
    output:
        samples="results/mnist/{model}/epoch_{epoch}/samples.safetensors",
        showcase="results/mnist/{model}/epoch_{epoch}/showcase.safetensors",
        grid=report(
            "results/mnist/{model}/epoch_{epoch}/samples.png",
            caption="../resources/report/captions/samples.rst",
            category="MNIST",
            labels={"model": "{model}", "epoch": "{epoch}", "shown": "digits"},
        ),
    log:
        "results/logs/sample_epoch/{model}_{epoch}.log",
    benchmark:
        "results/benchmarks/sample_epoch/{model}_{epoch}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        runtime=sampling_runtime,
        gpu=MNIST["gpu"],
    params:
        model=lookup("{model}/model", within=NETWORKS),
        schedule=lookup("{model}/schedule", within=NETWORKS),
        pixels=lookup("{model}/pixels", within=NETWORKS),
        device=lookup("mnist/device", within=config),
        sampling=mnist_sampling,
        num_images=digits_to_score,
        seed=lookup("mnist/seed", within=config),
    script:
        "../scripts/sample_epoch.py"


rule draw_digits:
    """Digits of one's own choice from a checkpoint, as pictures in a folder: 7777777777_seed_5 has ten sevens."""
    input:
        checkpoint="results/mnist/{model}/epoch_{epoch}/checkpoint.safetensors",
        guide=guide_checkpoint,
        code=modules("draw_digits"),
    output:
        directory("results/mnist/{model}/epoch_{epoch}/{digits}_seed_{seed}"),
    log:
        "results/logs/draw_digits/{model}_{epoch}_{digits}_{seed}.log",
    wildcard_constraints:
        digits="[0-9]{1,100}",
        seed="0|[1-9][0-9]{0,8}",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        runtime=sampling_runtime,
        gpu=MNIST["gpu"],
    params:
        model=lookup("{model}/model", within=NETWORKS),
        schedule=lookup("{model}/schedule", within=NETWORKS),
        pixels=lookup("{model}/pixels", within=NETWORKS),
        device=lookup("mnist/device", within=config),
        sampling=mnist_sampling,
    script:
        "../scripts/draw_digits.py"


rule score_epoch:
    """How good the digits of a checkpoint are: class accuracy and Frechet distance, judged by the classifier."""
    input:
        data=ancient(MNIST_FILES),
        samples="results/mnist/{model}/epoch_{epoch}/samples.safetensors",
        showcase="results/mnist/{model}/epoch_{epoch}/showcase.safetensors",
        classifier="results/mnist/classifier/weights.safetensors",
        reference="results/mnist/classifier/reference.safetensors",
        code=modules("score_epoch"),
    output:
        "results/mnist/{model}/epoch_{epoch}/scores.json",
    log:
        "results/logs/score_epoch/{model}_{epoch}.log",
    benchmark:
        "results/benchmarks/score_epoch/{model}_{epoch}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    script:
        "../scripts/score_epoch.py"


rule model_tables:
    """Losses and scores of a model over its epochs, as tables."""
    input:
        losses=of_epochs("losses.csv"),
        scores=of_sampled_epochs("scores.json"),
        code=modules("model_tables"),
    output:
        losses=report(
            "results/mnist/{model}/losses.csv",
            caption="../resources/report/captions/losses.rst",
            category="MNIST",
            labels={"model": "{model}", "epoch": "all", "shown": "losses"},
        ),
        scores=report(
            "results/mnist/{model}/scores.csv",
            caption="../resources/report/captions/scores.rst",
            category="MNIST",
            labels={"model": "{model}", "epoch": "all", "shown": "scores"},
        ),
    log:
        "results/logs/model_tables/{model}.log",
    benchmark:
        "results/benchmarks/model_tables/{model}.tsv"
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/model_tables.py"


rule model_figures:
    """What a model draws, epoch by epoch and step by step, and how it denoises."""
    input:
        showcases=of_sampled_epochs("showcase.safetensors"),
        scores=of_sampled_epochs("scores.json"),
        code=modules("model_figures"),
    output:
        samples="results/mnist/{model}/samples/figure.json",
        samples_pictures=directory("results/mnist/{model}/samples/figure"),
        reverse_process="results/mnist/{model}/reverse_process/figure.json",
        reverse_process_pictures=directory("results/mnist/{model}/reverse_process/figure"),
        denoising="results/mnist/{model}/denoising/figure.json",
        denoising_pictures=directory("results/mnist/{model}/denoising/figure"),
    log:
        "results/logs/model_figures/{model}.log",
    benchmark:
        "results/benchmarks/model_figures/{model}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        model=lookup("{model}/model", within=NETWORKS),
        images_per_epoch=lookup("mnist/images_per_epoch", within=config),
        dataset=dataset_shown,
    script:
        "../scripts/model_figures.py"


rule mnist_predictions:
    """What networks draw that were trained alike to predict the noise, v or the clean image."""
    input:
        showcases=of_compared("showcase.safetensors"),
        scores=of_compared("scores.json"),
        code=modules("mnist_predictions"),
    output:
        figure="results/mnist/predictions/figure.json",
        pictures=directory("results/mnist/predictions/figure"),
    log:
        "results/logs/mnist_predictions.log",
    benchmark:
        "results/benchmarks/mnist_predictions.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        dataset=dataset_shown,
        models=list(COMPARED),
    script:
        "../scripts/mnist_predictions.py"


rule single_step:
    """The single-step denoisers on test digits: at their own level of noise, at others, and from nothing but noise."""
    input:
        data=ancient(MNIST_FILES),
        checkpoints=denoiser_checkpoints(),
        losses=denoiser_losses(),
        code=modules("single_step"),
    output:
        figure="results/mnist/single_step/figure.json",
        pictures=directory("results/mnist/single_step/figure"),
    log:
        "results/logs/single_step.log",
    benchmark:
        "results/benchmarks/single_step.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        dataset=dataset_shown,
        networks=lambda wildcards: DENOISERS,
        sigma=lookup("mnist/denoiser/sigma", within=config, default=None),
        seed=lookup("mnist/seed", within=config),
        device=lookup("mnist/device", within=config),
    script:
        "../scripts/single_step.py"


rule sample_calls:
    """Digits of a network drawn by diffusion's samplers and along the flow, with few and many calls of the network, and scored."""
    input:
        data=ancient(MNIST_FILES),
        checkpoint=called_checkpoint,
        classifier="results/mnist/classifier/weights.safetensors",
        reference="results/mnist/classifier/reference.safetensors",
        code=modules("sample_calls"),
    output:
        "results/mnist/{model}/calls_{n}.csv",
    log:
        "results/logs/sample_calls/{model}_{n}.log",
    benchmark:
        "results/benchmarks/sample_calls/{model}_{n}.tsv"
    wildcard_constraints:
        n="[1-9][0-9]{1,5}",
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=MNIST["gpu"],
    params:
        model=lookup("{model}/model", within=NETWORKS),
        schedule=lookup("{model}/schedule", within=NETWORKS),
        pixels=lookup("{model}/pixels", within=NETWORKS),
        diffusion=diffusion_path(),
        guidance_scale=lambda wildcards: mnist_sampling(wildcards)["guidance_scale"],
        guidance_interval=lambda wildcards: mnist_sampling(wildcards)["guidance_interval"],
        seed=lookup("mnist/seed", within=config),
        device=lookup("mnist/device", within=config),
    script:
        "../scripts/sample_calls.py"


rule mnist_calls:
    """How good the digits are with few and many calls: what is owed to what a network was trained to predict, what to the path."""
    input:
        tables=called_tables(),
        code=modules("mnist_calls"),
    output:
        figure="results/mnist/calls/figure.json",
        pictures=directory("results/mnist/calls/figure"),
    log:
        "results/logs/mnist_calls.log",
    benchmark:
        "results/benchmarks/mnist_calls.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        dataset=dataset_shown,
        networks=lambda wildcards: {name: NETWORKS[name] for name in called_models()},
    script:
        "../scripts/mnist_calls.py"


rule mnist_idea:
    """One of the ideas behind diffusion, shown on the networks that were trained."""
    input:
        data=ancient(MNIST_FILES),
        checkpoints=idea_checkpoints,
        photo=idea_photo,
        code=modules("mnist_idea"),
    output:
        figure="results/mnist/{idea}/figure.json",
        pictures=directory("results/mnist/{idea}/figure"),
    log:
        "results/logs/mnist_idea/{idea}.log",
    benchmark:
        "results/benchmarks/mnist_idea/{idea}.tsv"
    wildcard_constraints:
        idea="|".join(IDEAS),
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        dataset=dataset_shown,
        model=lookup("mnist/ideas/model", within=config, default=None),
        networks=lambda wildcards: idea_networks(MNIST, wildcards.idea),
        seed=lookup("mnist/seed", within=config),
    script:
        "../scripts/mnist_idea.py"


rule train_map:
    """A flow map: one call of it leads as far as many of the network that it learns from."""
    input:
        checkpoint=taught_checkpoint,
        code=modules("train_map"),
    output:
        "results/mnist/one_call/checkpoint.safetensors",
    log:
        "results/logs/train_map.log",
    benchmark:
        "results/benchmarks/train_map.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=MNIST["gpu"],
    params:
        teacher=taught,
        sampling=lambda wildcards: own_sampling(MNIST, MNIST["one_call"]["model"]),
        training=lambda wildcards: map_training(MNIST),
        walks=lookup("mnist/one_call/walks", within=config, default=None),
        epochs=lookup("mnist/one_call/epochs", within=config, default=None),
        seed=lookup("mnist/seed", within=config),
        device=lookup("mnist/device", within=config),
    script:
        "../scripts/train_map.py"


rule mnist_one_call:
    """Digits of a flow map and of the network that it learned from, with one call and with more."""
    input:
        data=ancient(MNIST_FILES),
        checkpoint=taught_checkpoint,
        flow_map="results/mnist/one_call/checkpoint.safetensors",
        classifier="results/mnist/classifier/weights.safetensors",
        reference="results/mnist/classifier/reference.safetensors",
        code=modules("mnist_one_call"),
    output:
        figure="results/mnist/one_call/figure.json",
        pictures=directory("results/mnist/one_call/figure"),
    log:
        "results/logs/mnist_one_call.log",
    benchmark:
        "results/benchmarks/mnist_one_call.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        dataset=dataset_shown,
        teacher=taught,
        sampling=lambda wildcards: own_sampling(MNIST, MNIST["one_call"]["model"]),
        num_images=lookup("mnist/one_call/num_images", within=config, default=None),
        seed=lookup("mnist/seed", within=config),
    script:
        "../scripts/mnist_one_call.py"


rule mnist_curves:
    """Loss, class accuracy and Frechet distance of all models over the epochs, as charts."""
    input:
        losses=expand("results/mnist/{model}/losses.csv", model=MODELS),
        scores=expand("results/mnist/{model}/scores.csv", model=MODELS),
        classifier="results/mnist/classifier/scores.json",
        code=modules("mnist_curves"),
    output:
        figure="results/mnist/curves/figure.json",
        pictures=directory("results/mnist/curves/figure"),
    log:
        "results/logs/mnist_curves.log",
    benchmark:
        "results/benchmarks/mnist_curves.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        dataset=dataset_shown,
        models=MODELS,
    script:
        "../scripts/mnist_curves.py"


rule mnist_schedules:
    """The forward process on digits, and how much signal each schedule leaves at its end."""
    input:
        data=ancient(MNIST_FILES),
        code=modules("mnist_schedules"),
    output:
        figure="results/mnist/schedules/figure.json",
        pictures=directory("results/mnist/schedules/figure"),
    log:
        "results/logs/mnist_schedules.log",
    benchmark:
        "results/benchmarks/mnist_schedules.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        dataset=dataset_shown,
        schedule=lookup("mnist/schedule", within=config),
        seed=lookup("mnist/seed", within=config),
    script:
        "../scripts/mnist_schedules.py"
