"""``chromtransfer dataset build``: from region, signal and peak files to training sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from chromtransfer_plugin.files import atomic_folder, remove_leftovers
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.json_record import write_record
from chromtransfer_plugin.preparation.assignment import (
    assign_splits,
    one_class_parts,
    other_test_chromosomes,
    split_counts,
)
from chromtransfer_plugin.preparation.calls import Called, call_regions, preflight
from chromtransfer_plugin.preparation.config import DatasetConfig
from chromtransfer_plugin.preparation.config_file import read_config
from chromtransfer_plugin.preparation.contigs import Contigs, chosen_contigs, has_sequence
from chromtransfer_plugin.preparation.drawing import Drawing, as_records, composition_of
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.preparation.line_sets import line_sets
from chromtransfer_plugin.preparation.manifest import MANIFEST, Manifest
from chromtransfer_plugin.preparation.outputs import (
    PRETRAINING,
    check_output,
    funnel_text,
    write_tables,
)
from chromtransfer_plugin.preparation.peaks import Peaks, consensus_windows, read_peaks
from chromtransfer_plugin.preparation.pretraining import OPEN, pretraining_set
from chromtransfer_plugin.preparation.windows import RegionTables, region_windows
from chromtransfer_plugin.run_record import package_versions


def build_dataset(
    config_file: str | Path,
    out: str | Path,
    report: Callable[[str], None] = lambda _: None,
    progress: bool = False,
) -> Manifest:
    """Build the data set that a YAML file describes; the same files and seed give the same bytes.

    Parameters
    ----------
    config_file : str or path
        See :class:`~chromtransfer_plugin.preparation.config.DatasetConfig`.
    out : str or path
        Folder to write: new, empty, or an earlier data set, which is replaced as a whole.
    report : callable
        Receives lines on what is being done, and the funnel.
    progress : bool
        Show bars.

    Returns
    -------
    Manifest

    Raises
    ------
    ChromTransferError
        If an input is bad, or the set cannot be made as wished; nothing is written then.
    """
    folder = Path(out)
    config = read_config(config_file)
    check_output(folder)
    ledger = Ledger(Path(config_file).absolute().parent, report, progress)
    ledger.require_files(_files(config))
    genome, contigs = _genome(config, ledger)
    peaks = _peaks(config, genome, contigs, ledger)
    regions = _regions(config, peaks, genome, contigs, ledger)
    preflight(config, regions.windows, peaks, contigs, ledger)
    called = call_regions(config, regions.windows, peaks, ledger)
    sets, facts = _sets(config, called, regions.intervals, genome, ledger)
    sets = assign_splits(sets, config.split, genome, config.seed)
    if has_sequence(genome):
        ledger.say("measuring GC")
        sets = {
            name: table.assign(gc=composition_of(table, genome, "gc")[:, 0]) for name, table in sets.items()
        }
    positive = {name: OPEN if name == PRETRAINING else name for name in sets}
    for text in (*one_class_parts(sets, positive), *other_test_chromosomes(config.split)):
        ledger.remark(text)
    remove_leftovers(folder)
    with atomic_folder(folder) as temporary:
        manifest = Manifest(
            parameters=config.model_dump(mode="json"),
            inputs=ledger.inputs,
            funnel=ledger.funnel,
            files=write_tables(temporary, called.table, sets, ledger),
            splits=split_counts(sets),
            versions=package_versions(),
            matching=facts,
            remarks=ledger.remarks,
        )
        write_record(manifest, temporary / MANIFEST)
    report(funnel_text(manifest.funnel))
    for remark in manifest.remarks:
        report(f"note: {remark}")
    return manifest


def _files(config: DatasetConfig) -> list[str]:
    pretraining = config.pretraining
    return [
        *(name for name in (config.genome, config.contigs) if name is not None),
        *(config.regions or []),
        *(written for line in config.lines.values() for written in line.files),
        *((pretraining.blacklist or []) if pretraining else []),
        *((pretraining.gaps or []) if pretraining else []),
    ]


def _genome(config: DatasetConfig, ledger: Ledger) -> tuple[Genome, dict[str, int]]:
    """Open the genome and choose contigs."""
    if config.genome is not None:
        ledger.say(f"opening the genome: {config.genome}")
        genome = Genome(ledger.path(config.genome))
        ledger.read("genome", config.genome)
    else:
        genome = Contigs(ledger.path(str(config.contigs)))
        ledger.read("contigs", str(config.contigs))
        ledger.remark(
            "without a genome no base was looked at: windows and tiles may hold unknown bases (N), and nothing is said on GC"
        )
    return genome, chosen_contigs(genome, config.chromosomes)


def _peaks(
    config: DatasetConfig, genome: Genome, contigs: Mapping[str, int], ledger: Ledger
) -> dict[str, Peaks]:
    peaks = {}
    center = config.center if config.regions is None else "auto"  # else windows are around the regions
    for name, line in config.lines.items():
        for written in line.peaks or []:
            ledger.say(f"reading peaks of {name}: {written}")
            found = peaks[written] = read_peaks(written, genome, contigs, ledger, center)
            ledger.count("peaks", f"{written}: usable", len(found.table))
            if found.n_overlapping:
                ledger.count("peaks", f"{written}: of them overlapping an earlier one", found.n_overlapping)
                ledger.remark(
                    f"{written}: {found.n_overlapping:,} peaks overlap another one; they were united to call regions"
                )
            if not found.is_sorted:
                ledger.remark(f"{written}: is not sorted by place; it was sorted, which changes nothing else")
    return peaks


def _regions(
    config: DatasetConfig,
    peaks: Mapping[str, Peaks],
    genome: Genome,
    contigs: Mapping[str, int],
    ledger: Ledger,
) -> RegionTables:
    if config.regions is None:
        return consensus_windows(config, peaks, genome, contigs, ledger)
    return region_windows(config.regions, genome, contigs, config.width, config.center, ledger)


def _sets(
    config: DatasetConfig, called: Called, intervals: pd.DataFrame, genome: Genome, ledger: Ledger
) -> tuple[dict[str, pd.DataFrame], dict[str, dict]]:
    drawing = Drawing(config.seed, config.negatives.match, genome)
    sets = line_sets(config, called, drawing, ledger)
    facts = drawing.facts
    if config.pretraining is not None:
        drawing = Drawing(config.seed, config.pretraining.match, genome)
        sets[PRETRAINING] = pretraining_set(config.pretraining, called, intervals, genome, drawing, ledger)
        facts = {**facts, **drawing.facts}
    for purpose, one in facts.items():
        if one.n == one.n_candidates:
            ledger.remark(
                f"{purpose}: all {one.n:,} there are were taken, so matching by {one.how} had no choice; a smaller ratio "
                "leaves one"
            )
    return sets, as_records(facts)
