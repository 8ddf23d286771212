"""Write a checkpoint as a complete Kipoi model folder; Kipoi itself is not needed for it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS, Card, find_checkpoint, load_model
from chromtransfer_plugin.constants import SEED
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, make_folder
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi.description import (
    AUTHORS,
    EXAMPLES,
    EXPECTATION,
    TAGS,
    VERSION,
    Authors,
    check_name,
    facts,
    is_smoke,
    model_yaml,
)
from chromtransfer_plugin.kipoi.example import centres, write_example, write_expectation

DESCRIPTION = "model.yaml"


def export_model(
    checkpoint: str | Path,
    name: str,
    out_dir: str | Path,
    *,
    genome: str | Path | None = None,
    intervals: str | Path | None = None,
    authors: Authors = AUTHORS,
    doc: str | None = None,
    tags: Sequence[str] = TAGS,
    version: str = VERSION,
    overwrite: bool = False,
    seed: int = SEED,
) -> Path:
    """Write ``out_dir/name``: description, weights, card, example files and expected predictions.

    The folder appears under its name only when it is complete. The example genome is a few kb and has
    lower-case and unknown bases, so that ``kipoi test`` runs through them. Equal arguments give equal bytes.

    Parameters
    ----------
    checkpoint : path
        Anything :func:`~chromtransfer_plugin.checkpoint.load_model` takes.
    name : str
        Name of the model and of its folder.
    out_dir : path
        Created if needed.
    genome : path, optional
        FASTA to cut the example windows from; by default they are random sequence.
    intervals : path, optional
        Regions of ``genome`` to take the example windows from, spread over the file; by default random ones.
    authors : sequence of str or mapping
        Who made this model: names, or mappings with ``name`` and optionally ``github`` and ``email``.
    doc : str, optional
        One sentence or more on what the model predicts, put before the technical description.
    tags : sequence of str
        Kipoi tags.
    version : str
        Of the model.
    overwrite : bool
        Replace an earlier export.
    seed : int
        Of random example sequence or places.

    Returns
    -------
    Path
        The model folder. ``load_model`` reads it too.

    Raises
    ------
    ChromTransferError
        If the name or the checkpoint is unusable, the folder exists, or nothing can be written there.
    """
    check_name(name)
    check_example(genome, intervals)
    model, card = load_model(checkpoint)
    source = find_checkpoint(checkpoint)
    target = Path(out_dir) / name
    _check_target(target, overwrite)
    warn_smoke(card, source, target / DESCRIPTION)
    make_folder(target.parent)
    with atomic_folder(target) as folder:
        for file in (WEIGHTS, CARD):
            shutil.copyfile(source / file, folder / file)
        contigs = write_example(folder / EXAMPLES, card.window, genome, intervals, seed)
        write_expectation(folder / EXPECTATION, model, card, centres(contigs, card.window))
        text = model_yaml(facts(card, authors, doc, tags, version))
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return target


def check_example(genome: str | Path | None, intervals: str | Path | None) -> None:
    """Refuse example intervals without a genome."""
    if intervals is not None and genome is None:
        raise ChromTransferError(
            f"{intervals}: example intervals need the genome they refer to; name it too."
        )


def warn_smoke(card: Card, source: Path, written: Path) -> None:
    """Warn if the checkpoint has learnt nothing."""
    if is_smoke(card):
        warnings.warn(
            f"{source}: comes from a smoke test and has learnt nothing; {written} says so.",
            ChromTransferWarning,
            stacklevel=3,
        )


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise ChromTransferError(
            f"{target}: exists already. Choose another name, or overwrite it (--overwrite)."
        )
    if not (target / DESCRIPTION).is_file():
        raise ChromTransferError(
            f"{target}: has no {DESCRIPTION}, so it is no exported model and is kept. Remove it yourself."
        )
