"""What an analysis is made of: windows, network, settings, other models to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.checkpoint import Card, load_network
from chromtransfer_plugin.dataset import HELD_OUT, Files, Windows, load_windows, paths
from chromtransfer_plugin.defaults import Engine, Training
from chromtransfer_plugin.efficiency.record import Mode
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.models.chromtransfer import parse_architecture
from chromtransfer_plugin.predict import predict_logits, probabilities
from chromtransfer_plugin.prediction.names import NamedModel, choose_models
from chromtransfer_plugin.train import network_fields
from chromtransfer_plugin.training import run_settings

PROTOCOL_OF: dict[Mode, str] = {"features": "frozen", "full": "finetune"}
UNTUNED = "pre-trained, un-tuned"


class Data(NamedTuple):
    """Training and test windows, the genome's identity, and what was read and dropped."""

    train: Windows
    test: Windows
    genome: str
    read: list[str]


def read_data(
    genome: str | Path,
    train: Files,
    test: Files,
    positive: Sequence[str],
    test_chromosomes: Sequence[str],
    width: int,
    flank: int,
) -> Data:
    """Read the windows; test windows are those of ``test``, or those of ``train`` on the test chromosomes.

    Raises
    ------
    ChromTransferError
        If training windows overlap test windows, or one of the two lacks a class.
    """
    opened = Genome(genome)
    windows, report = load_windows(opened, train, positive, width=width, flank=flank, holdout=test)
    if paths(test):
        tested, more = load_windows(opened, test, positive, width=width)
        report += f"\n{more}"
        shared = windows.table[HELD_OUT].to_numpy()
        if shared.any():
            first = windows.table[shared].iloc[0]
            raise ChromTransferError(
                f"efficiency: {int(shared.sum())} of {windows.n} training windows overlap test windows, the first is "
                f"{first['chrom']}:{first['start']}-{first['end']}: the test would be too good. Take them out of "
                f"{', '.join(map(str, paths(train)))}."
            )
    else:
        on_test = windows.on(test_chromosomes)
        windows, tested = windows.take(~on_test), windows.take(on_test).centre()
    for name, part in (("training", windows), ("test", tested)):
        positives = int(part.targets.sum())
        if not 0 < positives < part.n:
            raise ChromTransferError(
                f"efficiency: of {part.n} {name} windows {positives} are positive, expected both classes. Test windows come "
                f"from --test, or lie on the test chromosomes ({', '.join(test_chromosomes)})."
            )
    return Data(windows, tested, opened.identity, report.splitlines())


def read_settings(mode: Mode, protocol: str, given: Mapping[str, Any]) -> tuple[Training, Engine]:
    """Complete the settings with the protocol's, and refuse what the mode cannot do."""
    settings, engine = run_settings(protocol, dict(given))
    if mode == "features" and (
        settings.trainable != "head"
        or settings.reverse_complement
        or settings.shift
        or not engine.cache_features
    ):
        raise ChromTransferError(
            "efficiency: mode 'features' computes the trunk's features once, so only the head can train, on unchanged "
            f"windows: trainable={settings.trainable}, reverse_complement={settings.reverse_complement}, "
            f"shift={settings.shift}, cache_features={engine.cache_features} do not fit. Use mode 'full' or other settings."
        )
    return settings, engine


def chooses_epoch(settings: Training) -> bool:
    """Whether a validation loss decides anything, so that a fold of each share must be held out."""
    return settings.patience is not None or settings.keep == "best" or settings.schedule == "plateau"


def read_pretrained(spec: str | Path | None, protocol: str) -> NamedModel | None:
    """Find the model whose trunk is transferred; it must be one network.

    Raises
    ------
    ChromTransferError
        If it is missing although the protocol needs one, or an ensemble.
    """
    if spec is None:
        if protocol in ("best", "scratch"):
            return None
        raise ChromTransferError(
            f"efficiency: protocol '{protocol}' starts from a pre-trained model: give --pretrained FOLDER, or choose the "
            "protocol best (known motifs) or, with mode full, scratch."
        )
    (model,) = choose_models([spec])
    load_network(model.folder)
    return model


def architecture_of(protocol: str, card: Card | None, network: Mapping[str, Any]) -> dict[str, Any]:
    """Shape of the network that each draw trains: the pre-trained trunk under the protocol's head."""
    architecture = network_fields(protocol, card, network)
    if architecture.setdefault("n_outputs", 1) != 1:
        raise ChromTransferError("efficiency: the network has one output, open or not: leave n_outputs out.")
    return parse_architecture(architecture).model_dump(mode="json")


def reference_aurocs(
    specs: Sequence[str],
    pretrained: NamedModel | None,
    positive: Sequence[str],
    test: Windows,
    device: str,
) -> dict[str, float]:
    """AUROC of other models on the test windows.

    Parameters
    ----------
    specs : sequence of str
        ``NAME=MODEL``, or ``NAME=0.71`` for an AUROC that is known from elsewhere.
    pretrained : NamedModel or None
        Counts as a reference as it is if it has one output.
    """
    y = test.targets[:, 0].astype(np.int64)
    found: dict[str, float] = {}
    if pretrained is not None and len(pretrained.card.outputs) == 1 and pretrained.card.window == test.width:
        found[UNTUNED] = auroc(y, _scores(pretrained, pretrained.card.outputs[0], test, device))
    for spec in specs:
        name, equals, value = spec.partition("=")
        if not equals or not name.strip() or name in found:
            raise ChromTransferError(
                f"--reference {spec}: expected NAME=MODEL or NAME=AUROC, each name once, e.g. 'HepG2 model=HEPG2'."
            )
        given = _number(value)
        if given is not None and not 0 <= given <= 1:
            raise ChromTransferError(f"--reference {spec}: an AUROC lies between 0 and 1.")
        found[name] = auroc(y, _reference(spec, positive, test, device)) if given is None else given
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _reference(spec: str, positive: Sequence[str], test: Windows, device: str) -> NDArray[np.float64]:
    (model,) = choose_models([spec])
    outputs = model.card.outputs
    wanted = [output for output in outputs if output in positive] if len(outputs) > 1 else outputs
    if len(wanted) != 1:
        raise ChromTransferError(
            f"--reference {spec}: has the outputs {', '.join(outputs)}, and none is called {', '.join(positive)}."
        )
    if model.card.window != test.width:
        raise ChromTransferError(
            f"--reference {spec}: is for windows of {model.card.window} bp, these have {test.width}."
        )
    return _scores(model, wanted[0], test, device)


def _scores(model: NamedModel, output: str, test: Windows, device: str) -> NDArray[np.float64]:
    logits = predict_logits(model.network, test.codes, device=device)
    values: NDArray[np.float32] = probabilities(logits, model.card.activation)
    return values[:, model.card.outputs.index(output)].astype(np.float64)
