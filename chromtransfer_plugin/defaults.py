"""Every hyper-parameter default, typed, each with its source.

The CLI, the YAML files and the Python functions read these objects; nobody else states a default.
"Paper" is Salvatore et al. 2023, NAR Genom Bioinform 5(2) lqad026.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# Named levels of the trunk, from the input to the output (docs/network.md).
# fmt: off
Level = Literal[
    "stem", "reduce", "narrow.0", "narrow.1", "narrow.2", "expand", "wide.0", "wide.1", "wide.2", "top", "last_conv"
]
# fmt: on


_Count = Annotated[int, Field(ge=0, le=65_536)]


class Architecture(_Settings):
    """Shape of a ChromTransfer network: the trunk is fixed but for its width, the head is free."""

    # The upper bounds stop a slip of the pen before it asks for terabytes of memory.
    head: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = (512, 128)  # paper: pre-trained model
    head_bn: bool = True  # paper text; the released fine-tuned files have none (see HEADS)
    n_outputs: int = Field(default=1, ge=1, le=65_536)
    # multiplies the trunk's channel counts; 1 is the paper's
    width: float = Field(default=1.0, gt=0, le=16, allow_inf_nan=False)
    cut: Level = "last_conv"  # the trunk ends after this level; paper: the whole trunk
    trunk: Literal["residual", "motifs"] = "residual"  # paper; motifs: known motifs and 6-mers
    motifs: tuple[_Count, _Count, _Count, _Count] = (
        322,
        364,
        148,
        45,
    )  # of JASPAR2024, by length; for trunk: motifs
    dropout: float = Field(default=0.1, ge=0, lt=1)  # paper
    head_init: Literal["glorot", "torch"] = (
        "glorot"  # Keras'; torch's is smaller, better for thousands of features
    )
    feature_norm: bool = False  # batch norm, without gamma and beta, between trunk and head
    feature_dropout: float = Field(default=0.0, ge=0, lt=1)  # of the features that enter the head
    bn_momentum: float = Field(default=0.01, gt=0, le=1)  # Keras momentum 0.99
    bn_eps: float = Field(default=1e-3, gt=0)  # Keras default


class Head(_Settings):
    """Hidden sizes of a head and whether each hidden layer is batch-normalised."""

    head: tuple[int, ...]
    head_bn: bool


HEADS: dict[str, Head] = {
    "pretrain": Head(head=(512, 128), head_bn=True),  # paper
    "finetune": Head(head=(1024, 32), head_bn=False),  # the released HepG2 model: dropout only
    "finetune_bn": Head(head=(1024, 32), head_bn=True),  # the paper's text and its example script
    "multiclass": Head(head=(512, 128), head_bn=True),  # the released multi-class configuration
    "linear": Head(head=(), head_bn=False),  # not in the paper: smallest possible head
}

# Not in the paper: our recipe for a few thousand windows (docs/results/transfer.md says how it was chosen).
BEST_NETWORK = Architecture(
    trunk="motifs",
    head=(256,),
    head_bn=False,
    head_init="torch",
    feature_norm=True,
    feature_dropout=0.5,
    dropout=0.5,
    bn_momentum=0.05,
)


class Training(_Settings):
    """How a model is trained. One object per protocol, below. Everything not in the paper is off by default."""

    lr: float = Field(gt=0, allow_inf_nan=False)
    batch_size: int = Field(ge=2)  # batch norm cannot train on one example
    patience: int | None = Field(ge=1)  # epochs without a lower validation loss before stopping; None: never
    max_epochs: int = Field(ge=1)
    keep: Literal["best", "last"] = "best"  # the epoch with the lowest validation loss, or the last one

    # What may change: chromtransfer_plugin.transfer
    trainable: Literal["full", "head", "head_then_full", "gradual", "bitfit", "lora", "ia3"] = "full"
    trunk_bn: Literal["train", "eval"] = (
        "train"  # batch norm of trunk blocks that train; frozen ones never move
    )
    head_epochs: int = Field(default=5, ge=1)  # head_then_full, gradual: epochs of the head alone
    head_lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)  # and their learning rate (as FROZEN)
    unfreeze_every: int = Field(default=2, ge=1)  # gradual: epochs until the next trunk level joins
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # each level below the head learns this much slower
    adapter_rank: int = Field(default=4, ge=1)  # lora: rank of the update of a kernel
    adapter_alpha: float = Field(
        default=4.0, gt=0, allow_inf_nan=False
    )  # lora: update scaled by alpha / rank

    # Regularisation
    l2: float = Field(default=1e-4, ge=0)  # Keras l2(1e-4) on the 20 batch-normalised trunk convolutions
    weight_decay: float = Field(
        default=0.0, ge=0, allow_inf_nan=False
    )  # of the head's kernels, decoupled (AdamW)
    l2_sp: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # l2_sp * sum((w - w_pretrained)**2), trunk
    clip_norm: float | None = Field(default=None, gt=0)  # largest norm of the whole gradient
    ema: float | None = Field(
        default=None, gt=0, lt=1
    )  # decay per step of the averaged weights that are kept

    # Optimiser and learning rate
    adam_eps: float = Field(default=1e-7, gt=0)  # Keras default (torch: 1e-8)
    schedule: Literal["constant", "plateau", "cosine"] = "constant"
    warmup_epochs: float = Field(default=0.0, ge=0)  # linear, from 0
    plateau_factor: float = Field(default=0.1, gt=0, lt=1)  # these three: the paper's example script
    plateau_patience: int = Field(default=5, ge=1)
    plateau_min_delta: float = Field(default=1e-4, ge=0)

    # Loss and class balance
    balanced: bool = False  # class weights n / (2 n_class); in the example script, not in the paper
    pos_weight: float | None = Field(default=None, gt=0)  # weight of positives relative to negatives
    focal_gamma: float = Field(default=0.0, ge=0)  # 0: cross-entropy
    sampling: Literal["natural", "balanced"] = "natural"  # balanced: as many positives as negatives per epoch
    # share of positives where the model is used; one for all outputs or one for each
    target_prior: float | tuple[float, ...] | None = None

    # Augmentation of training windows
    reverse_complement: bool = False  # each window as its reverse complement with probability 1/2
    shift: int = Field(default=0, ge=0, le=10_000)  # up to so many bp to either side, into real flanks

    @model_validator(mode="after")
    def _no_contradiction(self) -> Training:
        if self.lr * self.weight_decay >= 1:
            raise ValueError("lr * weight_decay must be below 1: each step shrinks the head by this share")
        if self.sampling == "balanced" and (self.balanced or self.pos_weight is not None):
            raise ValueError(
                "sampling: balanced and class weights would correct the classes twice: choose one"
            )
        return self


class Engine(_Settings):
    """How a training run is carried out: changes speed and bookkeeping, results only within rounding."""

    bf16: bool = False  # bfloat16 autocast in the forward pass
    compile: bool = False  # torch.compile
    cache_features: bool = True  # compute a frozen trunk's features once
    save_every: float = Field(
        default=60.0, ge=0
    )  # seconds between states for resuming; also after each epoch
    max_steps: int | None = Field(default=None, ge=1)  # stop after so many steps, for a quick try
    tensorboard: bool = False  # needs the extra: pip install 'chromtransfer-plugin[tensorboard]'


# The paper gives no epoch limit for pre-training; 100 is the limit of its baseline runs.
PRETRAIN = Training(lr=1e-3, batch_size=256, patience=15, max_epochs=100)
FINETUNE = Training(lr=5e-6, batch_size=128, patience=10, max_epochs=100)  # paper; limit: example script
SCRATCH = Training(lr=1e-3, batch_size=128, patience=10, max_epochs=100)  # paper: binary baseline
FROZEN = Training(
    lr=1e-3, batch_size=128, patience=None, max_epochs=20, trainable="head", trunk_bn="eval", keep="last"
)

BEST = Training(
    lr=3e-4,
    batch_size=128,
    patience=None,
    max_epochs=5,
    keep="last",
    trainable="head",
    schedule="cosine",
    weight_decay=0.3,
)

PROTOCOLS: dict[str, Training] = {
    "pretrain": PRETRAIN,
    "finetune": FINETUNE,
    "scratch": SCRATCH,
    "frozen": FROZEN,
    "best": BEST,
}

PREDICT_BATCH = 256  # sequences per forward pass when predicting; changes speed only
