"""``chromtransfer efficiency`` from Python: how much data does a model need?"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from chromtransfer_plugin.constants import SEED, TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.dataset import Files, paths
from chromtransfer_plugin.device import available_cores, describe, pick_device
from chromtransfer_plugin.efficiency import inputs
from chromtransfer_plugin.efficiency.kept import DRAWS_FOLDER, FinishedDraw, keep_draw, read_draw
from chromtransfer_plugin.efficiency.parallel import train_shares
from chromtransfer_plugin.efficiency.plan import Sampling, Share, plan_shares
from chromtransfer_plugin.efficiency.record import DRAWS, FRACTIONS, RECORD, Draw, EfficiencyRecord, Mode
from chromtransfer_plugin.efficiency.summary import finding, measures_of, summarise
from chromtransfer_plugin.efficiency.table import write_tables
from chromtransfer_plugin.efficiency.train_draw import Job, Trained, with_features
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import make_draws, require_level
from chromtransfer_plugin.files import check_resumable, make_folder
from chromtransfer_plugin.json_record import write_record
from chromtransfer_plugin.plots.efficiency import efficiency_figure
from chromtransfer_plugin.run_record import package_versions
from chromtransfer_plugin.splits import loci
from chromtransfer_plugin.training import Origin, Task

FIGURE = "efficiency.png"
_SEEDS = 2**32


def run_efficiency(
    genome: str | Path,
    train: Files,
    positive: str | Sequence[str],
    out: str | Path,
    *,
    pretrained: str | Path | None = None,
    test: Files = (),
    test_chromosomes: Sequence[str] | None = None,
    mode: Mode = "features",
    protocol: str | None = None,
    fractions: Sequence[float] = (*FRACTIONS, 1.0),
    draws: int = DRAWS,
    replace: bool = False,
    stratified: bool = True,
    settings: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    references: Sequence[str] = (),
    resample: Literal["locus", "window"] = "locus",
    resamples: int = 1000,
    level: float = 0.95,
    jobs: int | None = None,
    device: str = "auto",
    seed: int = SEED,
    progress: bool = True,
    report: Callable[[str], None] = tqdm.write,
) -> EfficiencyRecord:
    """Train on random shares of the training windows, test each model on the unchanged test windows (paper, Table 1).

    A run that was stopped goes on where it was when it is started again with the same arguments; fractions and draws may
    be added.

    Parameters
    ----------
    genome : path
        FASTA.
    train, test : path or list of paths
        Labelled regions. Without ``test``, the test windows are those of ``train`` on ``test_chromosomes`` (None: the
        paper's chr2 and chr3).
    positive : str or list of str
        Label(s) of open windows; every other label is closed.
    out : path
        Receives ``efficiency.json``, ``table.tsv``, ``table.md``, ``draws.tsv``, ``efficiency.png`` and ``draws/``.
    pretrained : path or str, optional
        Folder or zoo name of the network whose trunk is transferred; only protocols ``best`` and ``scratch`` do without.
    mode : {"features", "full"}
        A new head on the trunk's features, which are computed once; or training of the whole network.
    protocol : str, optional
        A key of :data:`~chromtransfer_plugin.defaults.PROTOCOLS`; default ``frozen`` for features, ``finetune`` for full.
    fractions, draws, replace, stratified, seed
        See :class:`~chromtransfer_plugin.efficiency.plan.Sampling`.
    settings, network : mapping
        As for :func:`~chromtransfer_plugin.train.train`.
    references : sequence of str
        ``NAME=MODEL`` or ``NAME=AUROC``: lines in the figure.
    resample, resamples, level
        Of the bands, see :func:`~chromtransfer_plugin.efficiency.summary.summarise`.
    jobs : int, optional
        Models that train at the same time; default: one for each core, or one on a GPU. Does not change results.
    device : str

    Returns
    -------
    EfficiencyRecord
        What ``efficiency.json`` holds.

    Raises
    ------
    ChromTransferError
        Before any training if something does not fit, see the modules of this package.
    """
    labels = [positive] if isinstance(positive, str) else list(positive)
    _check(mode, labels, seed, resamples, level, jobs)
    if paths(test) and test_chromosomes:
        raise ChromTransferError(
            "--test-chromosome is for testing on windows of --train; with --test all windows of that file test. "
            "Leave one of the two out."
        )
    test_chromosomes = test_chromosomes or TEST_CHROMOSOMES
    folder = Path(out)
    check_resumable(folder, (RECORD, DRAWS_FOLDER))
    chosen = pick_device(device)
    protocol = protocol or inputs.PROTOCOL_OF[mode]
    training, engine = inputs.read_settings(mode, protocol, settings or {})
    model = inputs.read_pretrained(pretrained, protocol)
    architecture = inputs.architecture_of(protocol, model.card if model else None, network or {})
    width = model.card.window if model else WINDOW
    data = inputs.read_data(genome, train, test, labels, test_chromosomes, width, training.shift)
    for line in data.read:
        report(line)
    y = data.train.targets[:, 0].astype(np.int64)
    y_test = data.test.targets[:, 0].astype(np.int64)
    sampling = Sampling(tuple(fractions), draws, replace, stratified, seed)
    shares = plan_shares(y, data.train.table, sampling, inputs.chooses_epoch(training))
    references_found = inputs.reference_aurocs(references, model, labels, data.test, device)
    facts: dict[str, Any] = {
        "mode": mode,
        "protocol": protocol,
        "training": training.model_dump(mode="json"),
        "engine": engine.model_dump(mode="json", include={"bf16", "compile", "max_steps"}),
        "network": architecture,
        "pretrained_sha256": model.sha256 if model else None,
        "replace": replace,
        "stratified": stratified,
        "seed": seed,
        "device": chosen.type,
    }
    make_folder(folder / DRAWS_FOLDER)
    job = Job(
        mode, data.train, data.test, architecture, training, engine, Task(labels[:1], "sigmoid"),
        Origin(protocol, str(model.folder) if model else None), str(chosen),
    )  # fmt: skip
    report(f"efficiency: {len(shares)} models on {describe(chosen)}, mode {mode}, protocol {protocol}")
    finished = _finish(job, shares, folder, _identity(facts, data), jobs, progress, report)
    locus = loci(data.test.table)
    bootstrap = make_draws(y_test, locus, resample=resample, n=resamples, seed=seed)
    rows = summarise(finished, y_test, bootstrap, level, seed)
    record = EfficiencyRecord(
        command=sys.argv,
        settings={**facts, "test_chromosomes": [] if paths(test) else list(test_chromosomes)},
        mode=mode,
        line=labels[0],
        pretrained=str(pretrained or ""),
        genome=data.genome,
        device=describe(chosen),
        versions=package_versions(),
        n_train=data.train.n,
        n_test=data.test.n,
        n_test_positive=int(y_test.sum()),
        draws=[one.draw for one in finished],
        rows=rows,
        references=references_found,
        resample=resample,
        resamples=len(bootstrap.counts),
        level=level,
        n_test_loci=len(np.unique(locus)),
        redrawn=sum(one.draw.redrawn for one in finished),
        finding=finding(rows),
        read=data.read,
    )
    write_tables(record, folder)
    efficiency_figure(folder / FIGURE, record)
    write_record(record, folder / RECORD)
    return record


def _check(mode: str, labels: list[str], seed: Any, resamples: int, level: float, jobs: int | None) -> None:
    if mode not in inputs.PROTOCOL_OF:
        raise ChromTransferError(
            f"efficiency: mode '{mode}' is unknown: use {' or '.join(inputs.PROTOCOL_OF)}."
        )
    if not labels:
        raise ChromTransferError("efficiency: no positive label given: which label means open?")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _SEEDS:
        raise ChromTransferError(f"efficiency: seed={seed!r} is not a whole number from 0 to {_SEEDS - 1}.")
    if resamples < 1:
        raise ChromTransferError(f"efficiency: resamples={resamples}, expected 1 or more.")
    require_level(level)
    if jobs is not None and jobs < 1:
        raise ChromTransferError(f"efficiency: jobs={jobs}, expected 1 or more.")


def _identity(facts: Mapping[str, Any], data: inputs.Data) -> dict[str, str]:
    """Say what every draw depends on beside its share; draws of another analysis differ in some of it."""
    # Their places as well, because folds to validate on go by locus.
    places = data.train.table[["chrom", "start", "end"]].to_csv(index=False)
    windows = hashlib.sha256(f"{data.train.fingerprint()}\n{places}".encode()).hexdigest()
    return {
        **{name: json.dumps(value, sort_keys=True) for name, value in facts.items()},
        "training windows": windows,
        "test windows": data.test.fingerprint(),
    }


def _finish(
    job: Job,
    shares: Sequence[Share],
    folder: Path,
    identity: dict[str, str],
    jobs: int | None,
    progress: bool,
    report: Callable[[str], None],
) -> list[FinishedDraw]:
    """Train what is not finished yet; give all draws, in the order of the plan."""
    finished = {share[:2]: read_draw(folder, identity, share) for share in shares}
    to_do = [share for share in shares if finished[share[:2]] is None]
    if len(to_do) < len(shares):
        report(f"efficiency: {len(shares) - len(to_do)} of {len(shares)} draws were finished before")
    if to_do and job.mode == "features":
        job = with_features(job, progress)
    n_jobs = jobs or (available_cores() if job.device == "cpu" else 1)
    y = job.train.targets[:, 0], job.test.targets[:, 0].astype(np.int64)
    with (
        tqdm(
            total=sum(share.n for share in to_do),
            unit="window",
            desc="draws",
            disable=not progress,
            smoothing=0.1,
        ) as bar,
        closing(train_shares(job, to_do, n_jobs)) as results,
    ):
        for done, (share, trained) in enumerate(results, start=1):
            one = _draw(share, trained, *y)
            keep_draw(folder, identity, one)
            finished[share[:2]] = one
            bar.set_postfix_str(f"{done}/{len(to_do)} draws", refresh=False)
            bar.update(share.n)
    return [one for one in finished.values() if one is not None]


def _draw(share: Share, trained: Trained, y_train: np.ndarray, y_test: np.ndarray) -> FinishedDraw:
    rows = np.concatenate([share.train, share.validation])
    draw = Draw(
        fraction=share.fraction,
        draw=share.draw,
        n=share.n,
        n_positive=int(y_train[rows].sum()),
        seed=share.seed,
        measures=measures_of(y_test, trained.probability),
        seconds=round(trained.seconds, 3),
        n_validation=len(share.validation),
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        redrawn=share.redrawn,
    )
    return FinishedDraw(draw, trained.probability)
