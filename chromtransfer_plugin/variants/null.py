"""How large effects are that mean nothing: scores of variants drawn from the same genome, by the same models."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.device import pick_device
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, cache_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.effects import effects_of
from chromtransfer_plugin.variants.null_variants import (
    TRANSITIONS,
    draw_alleles,
    draw_snvs,
    shuffled_contexts,
)
from chromtransfer_plugin.variants.scorer import Scorer

KINDS = ("genome", "shuffled")
VCF = "vcf"  # the kind of a null of a given VCF, in its facts
FOLDER = "variant-null"
_BLOCK = 256  # variants scored at a time


class Null(NamedTuple):
    """Sorted absolute log-odds differences (n, columns) of the drawn variants, and how they were drawn."""

    sizes: NDArray[np.float32]
    facts: dict[str, Any]

    def percentile(self, log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
        """Percent (0 to 100) of the drawn ones with a smaller absolute effect, (n, columns); NaN where there is none."""
        return self._of_smaller(log_odds, lambda smaller, n: 100 * smaller / n)

    def p_value(self, log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1 + number of drawn ones with at least this absolute effect) / (1 + number drawn), (n, columns)."""
        return self._of_smaller(log_odds, lambda smaller, n: (1 + n - smaller) / (1 + n))

    def _of_smaller(
        self, log_odds: NDArray[np.float32], formula: Callable[[NDArray[np.int64], int], NDArray[np.float64]]
    ) -> NDArray[np.float32]:
        """Apply a formula to the number of drawn ones that are smaller, and of all that were drawn."""
        sizes = np.abs(
            np.asarray(log_odds, dtype=np.float32)
        )  # drawn ones are float32: equal ones must be equal
        smaller = [np.searchsorted(own, column) for own, column in zip(self.sizes.T, sizes.T, strict=True)]
        out = np.asarray(formula(np.stack(smaller, axis=1), len(self.sizes)), dtype=np.float32)
        out[np.isnan(sizes)] = np.nan
        return out


def make_null(
    kind: str | Path,
    size: int,
    scorer: Scorer,
    genome: Genome,
    seed: int,
    regions: str | Path | None = None,
    progress: bool = True,
) -> Null:
    """Draw variants and score them; what was drawn before for the same models and genome is taken from the cache.

    Call it within ``with scorer.ready():``.

    Parameters
    ----------
    kind : str or Path
        ``genome``: SNVs anywhere in the genome where all windows are known; ``shuffled``: the same ones with the bases on
        either side shuffled; else a VCF, e.g. of common variants, whose alleles are drawn.
    size : int
        Variants to draw; from a VCF with fewer alleles, all of them.
    scorer : Scorer
    genome : Genome
        The scorer's.
    seed : int
        From 0 to 2**32 - 1.
    regions : str or Path, optional
        Region file: SNVs are drawn from the bases in them, e.g. of open chromatin. Not for a VCF.
    progress : bool
        Show a bar on a terminal if it takes long.

    Raises
    ------
    ChromTransferError
        If ``kind`` is neither, ``size`` or ``seed`` has no meaning, there are too few places, or a file is unusable.
    """
    if size < 1:
        raise ChromTransferError(f"null size is {size}, expected at least 1.")
    if not 0 <= seed < 1 << 32:
        raise ChromTransferError(f"null seed is {seed}, expected 0 to {(1 << 32) - 1}.")
    path = None if str(kind) in KINDS else Path(kind).expanduser()
    if path is not None and not path.is_file():
        raise ChromTransferError(
            f"null is '{kind}', expected one of {', '.join(KINDS)}, or a VCF; there is no such file."
        )
    bed = None if regions is None else Path(regions).expanduser()
    if bed is not None and not bed.is_file():
        raise ChromTransferError(f"null regions {regions}: no such file, expected a BED.")
    if path is not None and bed is not None:
        raise ChromTransferError(f"null regions have no use for the null {path}, whose variants are given.")
    facts: dict[str, Any] = {"kind": VCF if path else str(kind), "size": size, "seed": seed}
    if path is not None:
        facts["vcf_sha256"] = sha256(path)
    else:
        facts["transitions_per_transversion"] = TRANSITIONS
        facts["regions_sha256"] = sha256(bed) if bed is not None else None
    identity = {**facts, **_identity(scorer, genome)}
    file = _file(identity)
    n_columns = sum(len(predictor.columns) for predictor in scorer.predictors)
    sizes = _read(file, identity, n_columns)
    if sizes is None:
        if path is not None:
            table = draw_alleles(path, genome, size, scorer.settings, seed)
        else:
            table = draw_snvs(genome, size, scorer.settings, seed, _regions(bed, genome))
        with contextlib.ExitStack() as stack:
            if facts["kind"] == "shuffled":
                contexts, table = shuffled_contexts(genome, table, scorer.settings, seed)
                scorer = Scorer(scorer.predictors, cast(Genome, contexts), scorer.settings)
                stack.enter_context(scorer.ready())
            sizes = _scored(scorer, table, progress)
        _write(file, identity, sizes)
    return Null(sizes, {**facts, "size": len(sizes)})


def _regions(path: Path | None, genome: Genome) -> pd.DataFrame | None:
    if path is None:
        return None
    import warnings

    from chromtransfer_plugin.friendly import ChromTransferWarning
    from chromtransfer_plugin.regions import read_regions

    regions = read_regions(path, genome, width=None, label_column=0)
    if regions.report.dropped:
        warnings.warn(f"null regions: {regions.report.summary()}", ChromTransferWarning, stacklevel=3)
    return regions.table


def _scored(scorer: Scorer, table: pd.DataFrame, progress: bool) -> NDArray[np.float32]:
    """Score variants; give the absolute log-odds differences of each column in order of size."""
    from tqdm import tqdm

    found = []
    with tqdm(
        total=len(table),
        desc="null",
        unit="variant",
        delay=1,
        leave=False,
        disable=None if progress else True,
    ) as bar:
        for first in range(0, len(table), _BLOCK):
            block = table.iloc[first : first + _BLOCK]
            found.append(np.abs(effects_of(scorer.score(block), scorer.predictors).log_odds))
            bar.update(len(block))
    return np.sort(np.concatenate(found), axis=0)


def _identity(scorer: Scorer, genome: Genome) -> dict[str, Any]:
    """Give what the scores depend on besides the variants. Names of models do not matter."""
    import torch

    import chromtransfer_plugin

    settings = scorer.settings
    models = [
        [
            {
                "weights_sha256": member.sha256,
                "architecture": member.card.architecture.model_dump(),
                "outputs": member.card.outputs,
                "activation": member.card.activation,
            }
            for member in predictor.members
        ]
        for predictor in scorer.predictors
    ]
    identity = {
        "models": models,
        "genome": genome.identity,
        "width": settings.width,
        "strands": settings.strands,
        "shifts": settings.shifts,
        "device": pick_device(settings.device).type,
        "version": chromtransfer_plugin.__version__,
        "torch": torch.__version__,
    }
    return cast(dict[str, Any], json.loads(json.dumps(identity)))  # as it will be read back


def _file(identity: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / FOLDER / f"{digest[:32]}.npz"


def _read(file: Path, identity: dict[str, Any], n_columns: int) -> NDArray[np.float32] | None:
    """Read what an earlier run drew; None if there is nothing, or it is damaged or of something else."""
    broken = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
    with contextlib.suppress(*broken), np.load(file, allow_pickle=False) as stored:
        sizes = stored["sizes"]
        fits = sizes.dtype == np.float32 and sizes.ndim == 2 and sizes.shape[1] == n_columns and len(sizes)
        if fits and json.loads(str(stored["identity"])) == identity:
            return np.asarray(sizes)
    return None


def _write(file: Path, identity: dict[str, Any], sizes: NDArray[np.float32]) -> None:
    # Where nothing can be stored it is drawn again the next time.
    with contextlib.suppress(OSError, ChromTransferError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            np.savez(temporary, sizes=sizes, identity=np.array(json.dumps(identity)))
