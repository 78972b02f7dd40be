"""Part B: train small U-Nets on MNIST, one job per epoch; draw digits with them; score and show the digits.

Needs only a source of MNIST; makes results/mnist/.
"""

MNIST_FILES = [
    "results/mnist/data/train-images-idx3-ubyte",
    "results/mnist/data/train-labels-idx1-ubyte",
    "results/mnist/data/t10k-images-idx3-ubyte",
    "results/mnist/data/t10k-labels-idx1-ubyte",
]


rule download_mnist:
    """MNIST's four files, checked by SHA-256, from the first source that has them."""
    input:
        code=modules("download_mnist"),
    output:
        still_to_make(MNIST_FILES),  # their SHA-256 is fixed: where they come from is no reason to train again
    log:
        "results/logs/download_mnist.log",
    retries: 2
    conda:
        "../envs/environment.yaml"
    params:
        sources=lookup("mnist/sources", within=config),
        data=mnist_folder,
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
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        runtime=epoch_runtime,
    params:
        # Without the number of epochs, so that more can be added to a finished training.
        model=lookup("{model}", within=NETWORKS),
        schedule=lookup("mnist/schedule", within=config),
        training=lookup("mnist/training", within=config),
        images_per_epoch=lookup("mnist/images_per_epoch", within=config),
        seed=lookup("mnist/seed", within=config),
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
        ),
    log:
        "results/logs/sample_epoch/{model}_{epoch}.log",
    benchmark:
        "results/benchmarks/sample_epoch/{model}_{epoch}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        model=lookup("{model}", within=NETWORKS),
        schedule=lookup("mnist/schedule", within=config),
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
    params:
        model=lookup("{model}", within=NETWORKS),
        schedule=lookup("mnist/schedule", within=config),
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
        losses=expand("results/mnist/{{model}}/epoch_{epoch}/losses.csv", epoch=range(1, MNIST["epochs"] + 1)),
        scores=of_sampled_epochs("scores.json"),
        code=modules("model_tables"),
    output:
        losses=report(
            "results/mnist/{model}/losses.csv",
            caption="../resources/report/captions/losses.rst",
            category="MNIST",
        ),
        scores=report(
            "results/mnist/{model}/scores.csv",
            caption="../resources/report/captions/scores.rst",
            category="MNIST",
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
        model=lookup("{model}", within=NETWORKS),
        images_per_epoch=lookup("mnist/images_per_epoch", within=config),
    script:
        "../scripts/model_figures.py"


rule mnist_predictions:
    """What networks draw that were trained alike to predict the noise, the velocity or the clean image."""
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
        models=list(COMPARED),
    script:
        "../scripts/mnist_predictions.py"


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
        schedule=lookup("mnist/schedule", within=config),
        seed=lookup("mnist/seed", within=config),
    script:
        "../scripts/mnist_schedules.py"
