"""Does the SVAE's variational layer regularize, and which half of it does the work: the noise or the KL term?

Fourteen arms share trunk, learning rate, training length, batch size, averaging and budget; each differs from the
plain arm `deterministic` in one thing. The test error of replicates on fresh seeds decides, in five comparisons that
are declared below.

    python -m vaetune.study regularizer_ablation                   fashion_mini, minutes on 2 cores
    python -m vaetune.study regularizer_ablation --preset smoke    digits, a minute: does everything work?
    python -m vaetune.study regularizer_ablation --preset paper    the MNIST network of Alemi et al. (2017), for GPUs
    python -m vaetune.study regularizer_ablation --preset mnist_1000    1,000 real digits (needs MNIST)
    python -m vaetune.study regularizer_ablation --preset n_train       five arms on 100 to 4,000 images
    python -m vaetune.study regularizer_ablation --preset label_noise   the same with up to 60 % wrong labels
    python -m vaetune.study regularizer_ablation --preset mnist_n_train    100 to 50,000 real digits, for GPUs

Expected: the variational layer beats the plain network by a point or two on few images; how much of that a
deterministic penalty or another regularizer also gives is the question. See the README for what was found.
"""

from dataclasses import replace

from vaetune.study import (
    Arm,
    BestOf,
    Budget,
    Comparison,
    DatasetConfig,
    Replication,
    Space,
    Study,
    SupervisedVAEConfig,
    TrainingConfig,
)
from vaetune.study.axes import cross
from vaetune.study.ranges import both, choice, log, uniform


def shared(epochs: tuple[int, ...], batches: tuple[int, ...], rates: tuple[float, float]) -> Space:
    """What every arm searches, over the identical ranges."""
    return both(
        log("training.learning_rate", *rates),
        choice("training.epochs", epochs),
        choice("training.batch_size", batches),
    )


# Warm-up is offered to every arm with a penalty on the latent.
BETA = both(log("model.beta", 1e-5, 1.0), choice("training.penalty_warmup", (0, 2)))
SIGMA = log("model.sigma", 0.03, 3.0)

ARMS = (
    Arm(name="deterministic", summary="the plain network: z = μ, cross-entropy, nothing else"),
    Arm(
        name="deterministic_wide",
        summary="z = μ, as wide as the variational layer's μ and ρ heads together",
        overrides={"model.bottleneck": "deterministic_wide"},
        contains_plain=False,
    ),
    Arm(
        name="fixed_noise",
        summary="z = μ + σ·ε with a searched constant σ, no penalty",
        overrides={"model.bottleneck": "fixed_noise"},
        space=SIGMA,
    ),
    Arm(
        name="compression_only",
        summary="z = μ, penalty β·½‖μ‖², no noise",
        overrides={"model.bottleneck": "compression"},
        space=BETA,
    ),
    Arm(
        name="fixed_noise_penalty",
        summary="both: z = μ + σ·ε with a searched constant σ and penalty β·½‖μ‖²",
        overrides={"model.bottleneck": "fixed_noise_compression"},
        space=both(SIGMA, BETA),
    ),
    Arm(
        name="svae",
        summary="the variational layer: σ learned for every image and latent, penalty β·KL(N(μ, σ²) ‖ N(0, I))",
        overrides={"model.bottleneck": "gaussian"},
        space=BETA,
        contains_plain=False,
    ),
    Arm(
        name="svae_decoder",
        summary="the variational layer with a decoder and a weighted reconstruction term",
        overrides={"model.bottleneck": "gaussian", "model.decoder": (256, 256)},
        space=both(BETA, log("model.reconstruction", 1e-4, 1e-1)),
        contains_plain=False,
    ),
    Arm(name="dropout", summary="dropout after every hidden layer", space=uniform("model.dropout", 0.05, 0.7)),
    Arm(
        name="gaussian_dropout",
        summary="z = μ·(1 + √α·ε): multiplicative noise on the latent, which a larger μ cannot outgrow",
        overrides={"model.bottleneck": "gaussian_dropout"},
        space=uniform("model.latent_dropout", 0.05, 0.9),
    ),
    Arm(
        name="weight_decay",
        summary="decoupled weight decay, biases excluded",
        space=log("training.weight_decay", 1e-3, 3.0),
    ),
    Arm(
        name="label_smoothing",
        summary="targets mixed with the uniform distribution",
        space=uniform("model.label_smoothing", 0.01, 0.5),
    ),
    Arm(
        name="confidence_penalty",
        summary="a reward for the entropy of the prediction",
        space=log("model.confidence_penalty", 1e-2, 3.0),
    ),
    Arm(
        name="logit_penalty",
        summary="penalty λ·‖logits‖²: what a scale-free compression may reduce to",
        space=log("model.logit_penalty", 1e-4, 1.0),
    ),
    Arm(
        name="early_stopping",
        summary="stops on validation NLL with searched patience and keeps the best weights",
        space=lambda trial: {"training.patience": trial.suggest_int("patience", 1, 8)},
    ),
)

REGULARIZERS = BestOf(
    (
        "dropout",
        "gaussian_dropout",
        "weight_decay",
        "label_smoothing",
        "confidence_penalty",
        "logit_penalty",
        "early_stopping",
    )
)

COMPARISONS = (
    Comparison(
        name="svae − deterministic_wide",
        question="Does the variational layer regularize, against a network of the same width?",
        weights=(("svae", 1), ("deterministic_wide", -1)),
    ),
    Comparison(
        name="svae − compression_only",
        question="Does it do more than the pull of the latent's mean towards zero?",
        weights=(("svae", 1), ("compression_only", -1)),
    ),
    Comparison(
        name="svae − fixed_noise_penalty",
        question="What does learning σ add to a constant σ with the same pull?",
        weights=(("svae", 1), ("fixed_noise_penalty", -1)),
    ),
    Comparison(
        name="noise × penalty",
        question="Do constant noise and ½‖μ‖² do more together than the sum of what each does alone?",
        weights=(("fixed_noise_penalty", 1), ("fixed_noise", -1), ("compression_only", -1), ("deterministic", 1)),
    ),
    Comparison(
        name="svae − best other regularizer",
        question="Does it beat the other regularizer that is best on validation?",
        weights=(("svae", 1), (REGULARIZERS, -1)),
    ),
)

DEFAULT = Study(
    name="regularizer_ablation",
    hypothesis="The SVAE's variational layer lowers the test error of a classifier, and noise and KL both contribute.",
    arms=ARMS,
    comparisons=COMPARISONS,
    dataset=DatasetConfig(name="fashion_mini", n_validation=1000),
    model=SupervisedVAEConfig(trunk=(256, 256), latents=64),
    training=TrainingConfig(ema=0.99),  # the same in every arm; what it adds to a verdict is less noise between seeds
    space=shared(epochs=(10, 20, 30), batches=(128, 256), rates=(3e-4, 3e-3)),
    budget=Budget(trials=12, audit=4, grace=3, reduction=3, top_k=2, reseeds=3),
    replication=Replication(n=10),
    margin=0.5,
)

SMOKE = replace(
    DEFAULT,
    dataset=DatasetConfig(name="digits", n_validation=300),
    model=SupervisedVAEConfig(trunk=(64,), latents=16),
    space=shared(epochs=(6, 9), batches=(64,), rates=(1e-3, 1e-2)),
    budget=Budget(trials=3, audit=2, grace=3, reduction=3, top_k=2, reseeds=2),
    replication=Replication(n=8),
    margin=1.0,
)

# Alemi et al. 2017 (arXiv 1612.00410), §4.1 and its notebook: 784-1024-1024-2×256, σ = softplus(ρ − 5), Adam with
# β1 = 0.5, rate 1e-4 times 0.97 every 2 epochs, batches of 100, 200 epochs, averages with decay 0.999, 12 samples.
# Only replicates that were fitted on all 60,000 images stand beside their table.
PAPER = replace(
    DEFAULT,
    dataset=DatasetConfig(name="mnist", n_validation=10_000),
    model=SupervisedVAEConfig(trunk=(1024, 1024), latents=256, initial_sigma=0.006715),
    training=TrainingConfig(beta1=0.5, learning_rate_decay=0.97, decay_every=2, ema=0.999),
    space=shared(epochs=(200,), batches=(100,), rates=(3e-5, 1e-3)),
    budget=Budget(trials=24, audit=6, grace=20, reduction=3, top_k=3, reseeds=3),
    replication=Replication(n=10, refit=True, samples=12),
    margin=0.1,
    published={
        "deterministic": {"Alemi et al. 2017": 0.0138},
        "dropout": {"Alemi et al. 2017": 0.0134, "Pereyra et al. 2017": 0.0140},
        "confidence_penalty": {"Alemi et al. 2017": 0.0136, "Pereyra et al. 2017": 0.0117},
        "label_smoothing": {"Alemi et al. 2017": 0.0140, "Pereyra et al. 2017": 0.0123},
        "svae": {"Alemi et al. 2017": 0.0113},
    },
)

# The setting in which regularization has most to do: real digits, few of them.
MNIST_1000 = replace(
    DEFAULT,
    dataset=DatasetConfig(name="mnist", n_train=1000, n_validation=2000),
    space=shared(epochs=(30, 60), batches=(64, 128), rates=(3e-4, 3e-3)),
    budget=replace(DEFAULT.budget, trials=14, grace=10),
)

# Where on an axis of the data do the arms part? The plain network, the variational layer and the two parts of it that
# have a scale, and the regularizer that most people would use instead.
_CROSSED = ("deterministic_wide", "compression_only", "fixed_noise_penalty", "svae", "dropout")
AXIS = replace(
    DEFAULT,
    arms=tuple(arm for arm in ARMS if arm.name in _CROSSED),
    comparisons=(
        COMPARISONS[0],
        COMPARISONS[1],
        Comparison(
            name="svae − dropout",
            question="Does the variational layer beat dropout?",
            weights=(("svae", 1), ("dropout", -1)),
        ),
    ),
    space=shared(epochs=(30, 60), batches=(32, 64), rates=(3e-4, 3e-3)),  # few images make few steps an epoch
    budget=Budget(trials=10, audit=4, grace=10, reduction=3, top_k=2, reseeds=2),
)
N_TRAIN = cross(AXIS, "dataset.n_train", (100, 400, 1600, 4000))
LABEL_NOISE = cross(AXIS, "dataset.label_noise", (0.0, 0.2, 0.4, 0.6))
MNIST_N_TRAIN = cross(
    replace(AXIS, dataset=DatasetConfig(name="mnist", n_validation=10_000)),
    "dataset.n_train",
    (100, 300, 1000, 3000, 10_000, 50_000),
)

PRESETS = {
    "smoke": SMOKE,
    "default": DEFAULT,
    "mnist_1000": MNIST_1000,
    "n_train": N_TRAIN,
    "label_noise": LABEL_NOISE,
    "mnist_n_train": MNIST_N_TRAIN,
    "paper": PAPER,
}
