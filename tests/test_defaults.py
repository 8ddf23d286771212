"""The numbers of the paper, stated once: in ``defaults.py``, and shown in the YAML files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from chromtransfer_plugin.constants import CELL_LINES, SEED, TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.defaults import (
    BEST,
    BEST_NETWORK,
    FINETUNE,
    FROZEN,
    HEADS,
    PREDICT_BATCH,
    PRETRAIN,
    SCRATCH,
    Architecture,
    Engine,
    Training,
)
from chromtransfer_plugin.errors import keyword_names

CONFIGS = Path(__file__).parents[1] / "configs"
# Those of Selene; what lies in dataset/ is read by `chromtransfer dataset build`.
FILES = sorted(
    path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yml") if path.parent.name != "dataset"
)
# Keys that Selene itself reads at the top level of a file.
SELENE_KEYS = {
    *("ops", "model", "sampler", "train_model", "evaluate_model", "analyze_sequences", "prediction"),
    *("variant_effect_prediction", "in_silico_mutagenesis"),
    *("lr", "random_seed", "output_dir", "create_subdirectory"),
}


def load(name: str) -> dict:
    from selene_sdk.utils import load_path

    return load_path(str(CONFIGS / name), instantiate=False)


# --- the paper -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "lr", "batch_size", "patience", "max_epochs"),
    [
        (PRETRAIN, 0.001, 256, 15, 100),
        (FINETUNE, 0.000005, 128, 10, 100),
        (SCRATCH, 0.001, 128, 10, 100),
        (FROZEN, 0.001, 128, None, 20),
    ],
)
def test_protocols(protocol, lr, batch_size, patience, max_epochs):
    assert (protocol.lr, protocol.batch_size, protocol.patience, protocol.max_epochs) == (
        *(lr, batch_size, patience, max_epochs),
    )
    frozen = protocol is FROZEN
    assert (protocol.trainable, protocol.trunk_bn) == (("head", "eval") if frozen else ("full", "train"))
    assert (protocol.l2, protocol.adam_eps, protocol.balanced) == (1e-4, 1e-7, False)


def test_heads_and_network():
    assert {name: (head.head, head.head_bn) for name, head in HEADS.items()} == {
        "pretrain": ((512, 128), True),
        "finetune": ((1024, 32), False),
        "finetune_bn": ((1024, 32), True),
        "multiclass": ((512, 128), True),
        "linear": ((), False),
    }
    arch = Architecture()
    assert (arch.head, arch.head_bn, arch.n_outputs, arch.width) == ((512, 128), True, 1, 1.0)
    assert (arch.dropout, arch.bn_momentum, arch.bn_eps) == (0.1, 0.01, 1e-3)


def test_domain():
    assert (WINDOW, TEST_CHROMOSOMES, SEED) == (600, ("chr2", "chr3"), 1)
    assert CELL_LINES == ("A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7")


@pytest.mark.parametrize(
    "bad",
    [
        {"lr": 0},
        {"lr": float("nan")},
        {"batch_size": 1},
        {"patience": 0},
        {"max_epochs": 0},
        {"trainable": "tail"},
        {"trunk_bn": "off"},
        {"l2": -1},
        {"adam_eps": 0},
        {"momentum": 0.9},
    ],
)
def test_impossible_settings(bad):
    with pytest.raises(ValidationError):
        Training(**{**PRETRAIN.model_dump(), **bad})
    with pytest.raises(ValidationError, match="frozen"):
        PRETRAIN.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "bad",
    [
        {"width": 17},
        {"width": 1e9},
        {"width": float("nan")},
        {"n_outputs": 10**9},
        {"head": (10**9,)},
        {"head": (0,)},
    ],
)
def test_networks_beyond_any_memory_are_refused_before_they_are_built(bad):
    with pytest.raises(ValidationError):
        Architecture(**bad)
    Architecture(width=16, n_outputs=65_536, head=(65_536,))


# --- the YAML files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "protocol"), [("pretrain", PRETRAIN), ("finetune", FINETUNE)])
def test_training_files_show_the_defaults(name, protocol):
    config = load(f"chromtransfer/{name}.yml")
    shown = dict(config["train_model"].keywords)
    assert shown.pop("protocol") == name
    assert (shown.pop("device"), shown.pop("pretrained", None)) == (
        "auto",
        "runs/pretrain/best_model" if name == "finetune" else None,
    )
    shown.pop("trained_on")
    defaults = protocol.model_dump()
    assert config["lr"] == defaults["lr"]
    assert shown == {key: defaults[key] for key in shown}
    assert {"batch_size", "max_epochs", "patience"} <= set(shown)


def test_the_best_file_spells_its_preset_out():
    """Every setting of `best` that is not a default anyway stands in the file; it is for several lines."""
    config = load("chromtransfer/best.yml")
    shown, settings = dict(config["train_model"].keywords), BEST.model_dump()
    usual = {**Training(lr=1, batch_size=2, patience=None, max_epochs=1).model_dump(), "lr": settings["lr"]}
    assert config["lr"] == settings["lr"]
    wanted = {key for key, value in settings.items() if value != usual[key]}
    assert (shown.pop("protocol"), shown.pop("motifs"), shown.pop("ensemble")) == ("best", "JASPAR2024", True)
    assert (shown.pop("device"), bool(shown.pop("trained_on"))) == ("auto", True)
    assert wanted | {"patience"} == set(shown)
    assert shown == {key: settings[key] for key in shown}
    network, sampler = config["model"]["class_args"], config["sampler"].keywords
    assert network.pop("n_outputs") == len(sampler["tasks"]) == 2
    assert Architecture(**network) == BEST_NETWORK
    different = {
        key for key, value in BEST_NETWORK.model_dump().items() if value != getattr(Architecture(), key)
    }
    assert different == set(network)
    assert (config["model"]["class"], config["random_seed"]) == ("ChromTransfer", SEED)
    assert tuple(sampler["test_chromosomes"]) == TEST_CHROMOSOMES
    assert (sampler["folds"], sampler["fold_by"]) == (3, "locus")


@pytest.mark.parametrize(("name", "preset"), [("pretrain", "paper"), ("finetune", "paper"), ("best", "best")])
def test_files_name_their_preset_at_the_top(name, preset):
    assert f"`{preset}` preset" in (CONFIGS / f"chromtransfer/{name}.yml").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("name", "head"),
    [("pretrain", "pretrain"), ("finetune", "finetune"), ("evaluate", "finetune"), ("predict", "finetune")],
)
def test_files_show_the_right_head(name, head):
    config = load(f"chromtransfer/{name}.yml")
    shown = config["model"]["class_args"]
    assert (tuple(shown["head"]), shown["head_bn"]) == (HEADS[head].head, HEADS[head].head_bn)
    training = name in ("pretrain", "finetune")
    assert config["model"]["class"] == ("ChromTransfer" if training else "ChromTransferProbability")
    assert config["random_seed"] == SEED


@pytest.mark.parametrize("name", ["pretrain", "finetune", "evaluate"])
def test_files_show_the_split_of_the_paper(name):
    shown = load(f"chromtransfer/{name}.yml")["sampler"].keywords
    assert tuple(shown["test_chromosomes"]) == TEST_CHROMOSOMES
    assert (shown["folds"], shown["fold_by"]) == (3, "chromosome")
    assert shown.get("fold", 0) == 0


def test_prediction_files_show_window_and_batch():
    analysis = load("chromtransfer/predict.yml")["analyze_sequences"].keywords
    evaluation = load("chromtransfer/evaluate.yml")["evaluate_model"].keywords
    assert analysis["sequence_length"] == WINDOW
    assert analysis["batch_size"] == evaluation["batch_size"] == PREDICT_BATCH
    assert analysis["trained_model_path"] == evaluation["trained_model_path"] == "runs/finetune/best_model"


@pytest.mark.parametrize("name", FILES)
def test_every_file_loads_and_has_only_known_keys(name, monkeypatch):
    from chromtransfer_plugin.selene import AnalyzeSequences, EvaluateModel, RegionSampler, TrainModel

    config = load(name)
    assert set(config) <= SELENE_KEYS
    assert set(config["model"]) == {"path", "class", "class_args"}
    assert Path(config["model"]["path"]).name == "model.py"
    assert set(config["model"]["class_args"]) <= set(Architecture.model_fields)
    Architecture(**config["model"]["class_args"])
    classes = {
        "sampler": (RegionSampler, set()),
        "train_model": (TrainModel, set(Training.model_fields) - {"lr"} | set(Engine.model_fields)),
        "evaluate_model": (EvaluateModel, set()),
        "analyze_sequences": (AnalyzeSequences, set()),
    }
    for section in set(config) & set(classes):
        proxy, (wanted, more) = config[section], classes[section]
        assert proxy.callable is wanted
        assert set(proxy.keywords) <= keyword_names(wanted) | more
    if "train" in config["ops"]:
        assert isinstance(config["lr"], float)  # 1e-3 would be text


def test_every_file_begins_with_a_sentence():
    for name in FILES:
        first = (CONFIGS / name).read_text().splitlines()[0]
        assert first.startswith("# ")
        assert first.endswith((".", ").")), name
    assert len(FILES) >= 10


# --- docs/selene.md --------------------------------------------------------------------------------------


def test_the_documentation_names_every_key_and_no_other_default():
    from chromtransfer_plugin.selene import AnalyzeSequences, EvaluateModel, RegionSampler, TrainModel

    pages = ("selene", "training", "transfer")
    text = "".join((CONFIGS.parent / "docs" / f"{page}.md").read_text() for page in pages)
    given_by_selene = {"model", "criterion", "data_sampler", "loss_criterion", "optimizer_class", "vcf_file"}
    given_by_selene |= {"optimizer_kwargs", "output_dir", "deterministic"}
    keys = set(Training.model_fields) - {"lr"} | set(Engine.model_fields) | set(Architecture.model_fields)
    for function in (
        AnalyzeSequences,
        EvaluateModel,
        RegionSampler,
        TrainModel,
        AnalyzeSequences.get_predictions,
        AnalyzeSequences.variant_effect_prediction,
        AnalyzeSequences.in_silico_mutagenesis,
        AnalyzeSequences.in_silico_mutagenesis_from_file,
    ):
        keys |= keyword_names(function, given_by_selene)
    assert {key for key in keys if f"`{key}`" not in text} == set()
    for name, protocol in (
        ("pretrain", PRETRAIN),
        ("finetune", FINETUNE),
        ("scratch", SCRATCH),
        ("frozen", FROZEN),
        ("best", BEST),
    ):
        trunk = "frozen" if protocol.trainable == "head" else "trained"
        numbers = (
            f"{protocol.lr:f}".rstrip("0"),
            protocol.batch_size,
            protocol.max_epochs,
            protocol.patience or "none",
        )
        assert "| ".join([f"| `{name}` ", *(f"{n} " for n in numbers), f"{trunk} |"]) in text
