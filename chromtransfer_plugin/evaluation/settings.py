"""What an evaluation is asked to do: the options, checked and written back as a command."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chromtransfer_plugin.constants import SEED, WINDOW
from chromtransfer_plugin.errors import ChromTransferError, reject_unknown
from chromtransfer_plugin.evaluation.draws import Resample
from chromtransfer_plugin.evaluation.record import MEAN
from chromtransfer_plugin.prediction.names import check_names
from chromtransfer_plugin.splits import By

_TAKEN = (".", "..", "models", "scored", MEAN)  # what else --out and the tables hold
LINE = "{line}"  # in a path or model: replaced by the name of each line

# Baselines in the order of the tables, and what each is in words.
BASELINES: dict[str, str] = {
    "kmer": "logistic regression on 6-mer counts: the floor",
    "binary": "the network, from random weights, on the line's windows (protocol scratch)",
    "multiclass": "one network for all lines and Negative, every other negative left out, as the paper's was really trained",
    "multiclass-fixed": "the same with each line's own negatives in the class Negative",
    "pretrained": "the pre-trained model as it is",
    "fine-tuned": "the pre-trained model, fine-tuned on the line's windows (protocol finetune)",
}
TRAINED = ("binary", "multiclass", "multiclass-fixed", "fine-tuned")
FROM_PRETRAINED = ("pretrained", "fine-tuned")
FOR_ALL_LINES = ("multiclass", "multiclass-fixed")
NEEDS_TRAIN = ("kmer", *TRAINED)


@dataclass(frozen=True)
class EvaluationSettings:
    """All options of ``chromtransfer evaluate``.

    In ``test``, ``train``, ``positive``, and the values of ``models`` and ``against``, ``{line}`` stands for the line.

    Attributes
    ----------
    genome, out : Path
    test : str
        File of labelled windows.
    train : str or None
        The same, to train baselines on and to look for leaks.
    lines : tuple of str
    positive : str
        Label of the positives; every other label is a negative.
    models : mapping of str to str
        Name in the tables to anything that `chromtransfer predict --model` takes.
    baselines : tuple of str
        Keys of :data:`BASELINES`.
    pretrained : str or None
        Checkpoint for the baselines ``pretrained`` and ``fine-tuned``.
    against : mapping of str to str
        Name to a file of scores that something else made.
    logits : tuple of str
        Those of ``against`` that are logits and not probabilities.
    test_chromosomes : tuple of str
        Only windows on these are tested on, only others trained on; empty: all of either file.
    fold_by, folds : str, int
        How the training windows are folded; fold 0 validates.
    resample, resamples, level : str, int, float
        Of the bootstrap.
    settings, network : mapping
        Hyper-parameters and architecture of the trained baselines. A key ``KIND.KEY`` is for one kind only.
    width : int
        Window in bp.
    device : str
    seed : int
    strict_leaks : bool
        Refuse test windows that are, or overlap, training windows.
    """

    genome: Path
    test: str
    out: Path
    train: str | None = None
    lines: tuple[str, ...] = ()
    positive: str = LINE
    models: Mapping[str, str] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    pretrained: str | None = None
    against: Mapping[str, str] = field(default_factory=dict)
    logits: tuple[str, ...] = ()
    test_chromosomes: tuple[str, ...] = ()
    fold_by: By = "locus"
    folds: int = 3
    resample: Resample = "locus"
    resamples: int = 1000
    level: float = 0.95
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    width: int = WINDOW
    device: str = "auto"
    seed: int = SEED
    strict_leaks: bool = False

    def __post_init__(self) -> None:
        if not self.lines:
            # One data set without a name is called by what is positive in it.
            object.__setattr__(self, "lines", (self.positive,) if LINE not in self.positive else ())
        _check_lines(self)
        _check_models(self)
        _check_baselines(self)
        _check_numbers(self)

    @property
    def names(self) -> list[str]:
        """Names of everything that is compared, in the order of the tables."""
        return [*self.models, *self.baselines, *self.against]

    def of_kind(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give those of ``settings`` or ``network`` that are meant for a kind of baseline."""
        general = {key: value for key, value in given.items() if "." not in key}
        own = {
            key.removeprefix(f"{kind}."): value for key, value in given.items() if key.startswith(f"{kind}.")
        }
        return {**general, **own}

    def record(self) -> dict[str, Any]:
        """Give all options as plain JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return values

    def command(self) -> list[str]:
        """Give the command with these options; those that have their default are left out."""
        words = ["chromtransfer", "evaluate"]
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if value == entry.default or (isinstance(value, dict | tuple) and not value):
                continue
            flag = _FLAGS.get(entry.name, f"--{entry.name.replace('_', '-')}")
            if isinstance(value, Mapping):
                words += [word for key, item in value.items() for word in (flag, f"{key}={_as_text(item)}")]
            elif isinstance(value, tuple):
                words += [word for item in value for word in (flag, item)]
            else:
                words += [flag] if value is True else [flag, str(value)]
        return words


# Options that repeat are called by the single thing.
_FLAGS = {
    "lines": "--line",
    "models": "--model",
    "baselines": "--baseline",
    "logits": "--against-logits",
    "test_chromosomes": "--test-chromosome",
    "settings": "--set",
}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def shown(command: Sequence[str]) -> str:
    """Write a command as a shell reads it."""
    return shlex.join(command)


def expand(text: str, line: str) -> str:
    """Put the name of a line where ``{line}`` stands."""
    return text.replace(LINE, line)


def named(option: str, given: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE`` texts; without ``NAME=`` the value is its own name.

    Raises
    ------
    ChromTransferError
        On an empty name or value, a name given twice, or no name where the value holds ``{line}``.
    """
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            name, value = text, text
            if LINE in text or "/" in text:
                raise ChromTransferError(f"{option} {text}: give it a name: {option} NAME={text}.")
        if not name or not value:
            raise ChromTransferError(f"{option} {text}: expected NAME=VALUE.")
        if name in values:
            raise ChromTransferError(f"{option} {text}: the name {name} was given twice.")
        values[name] = value
    return values


def _check_lines(given: EvaluationSettings) -> None:
    if not given.lines:
        raise ChromTransferError(
            "evaluate: name what is evaluated: --line HEPG2 (repeat for several, {line} in paths stands for each), "
            "or --positive LABEL for one data set."
        )
    for name in given.lines:
        if given.lines.count(name) > 1:
            raise ChromTransferError(f"--line {name}: was given {given.lines.count(name)} times.")
        if not name or name in _TAKEN or name != name.strip() or "/" in name or not name.isprintable():
            raise ChromTransferError(
                f"--line {name!r}: names a folder of --out and a row of the tables, where it is not usable; rename it."
            )
    if len(given.lines) > 1 and LINE not in given.test:
        raise ChromTransferError(
            f"--test {given.test}: {len(given.lines)} lines need a file each; write {LINE} where the name of the line "
            f"stands in the path, e.g. 'regions/test/{LINE}.csv'."
        )
    if len(given.lines) > 1 and given.train is not None and LINE not in given.train:
        raise ChromTransferError(
            f"--train {given.train}: {len(given.lines)} lines need a file each; write {LINE} in the path."
        )


def _check_models(given: EvaluationSettings) -> None:
    if not given.names:
        raise ChromTransferError(
            "evaluate: nothing to evaluate: give --model NAME=MODEL, --baseline KIND or --against NAME=FILE."
        )
    twice = next((name for name in given.names if given.names.count(name) > 1), None)
    if twice is not None:
        raise ChromTransferError(
            f"evaluate: '{twice}' is the name of several of --model, --baseline and --against, expected each name once."
        )
    check_names("model", given.names)
    stray = sorted(set(given.logits) - set(given.against))
    if stray:
        raise ChromTransferError(
            f"--against-logits {stray[0]}: there is no --against {stray[0]}=FILE; there are {sorted(given.against)}."
        )


def _check_baselines(given: EvaluationSettings) -> None:
    for kind in given.baselines:
        if kind not in BASELINES:
            raise ChromTransferError(f"--baseline {kind}: unknown, expected one of {', '.join(BASELINES)}.")
        if kind in NEEDS_TRAIN and given.train is None:
            raise ChromTransferError(
                f"--baseline {kind}: is trained here: name the windows with --train FILE."
            )
        if kind in FROM_PRETRAINED and given.pretrained is None:
            raise ChromTransferError(
                f"--baseline {kind}: name the pre-trained model with --pretrained MODEL, e.g. --pretrained pretrained."
            )
        if kind in FOR_ALL_LINES and len(given.lines) < 2:
            raise ChromTransferError(
                f"--baseline {kind}: has a class for each line and needs two or more: repeat --line."
            )
    if given.pretrained is not None and not set(given.baselines) & set(FROM_PRETRAINED):
        raise ChromTransferError(
            f"--pretrained {given.pretrained}: no baseline uses it; add --baseline pretrained or --baseline fine-tuned."
        )
    for option, values in (("--set", given.settings), ("--network", given.network)):
        if values and not set(given.baselines) & set(TRAINED):
            raise ChromTransferError(
                f"{option}: no network is trained; add --baseline with one of {', '.join(TRAINED)}."
            )
        prefixes = {key.partition(".")[0]: None for key in values if "." in key}
        reject_unknown(f"{option} KIND.KEY=VALUE", prefixes, TRAINED)


def _check_numbers(given: EvaluationSettings) -> None:
    if given.folds < 2:
        raise ChromTransferError(f"--folds {given.folds}: expected 2 or more, of which fold 0 validates.")
    if given.resamples < 0:
        raise ChromTransferError(f"--resamples {given.resamples}: expected 0 (no intervals) or more.")
    if not 0 < given.level < 1:
        raise ChromTransferError(f"--level {given.level}: expected a share between 0 and 1, e.g. 0.95.")
    if given.width < 1:
        raise ChromTransferError(f"--width {given.width}: expected at least 1 bp.")
