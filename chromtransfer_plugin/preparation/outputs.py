"""The folder of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import check_result_folder, files_of
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.preparation.manifest import MANIFEST, FunnelStep, read_manifest
from chromtransfer_plugin.preparation.pretraining import OPEN
from chromtransfer_plugin.regions import write_bed

REGIONS, DROPPED, QC, PRETRAINING = "regions.parquet", "dropped.tsv", "qc.png", "pretraining"
TABLE, BED = "regions.parquet", "regions.bed"


def check_output(folder: Path) -> None:
    """Raise if a data set may not be written there; see :func:`chromtransfer_plugin.files.check_result_folder`."""

    def is_ours(entry: Path) -> bool:
        try:
            ours = {MANIFEST, *read_manifest(folder).files}
        except ChromTransferError:
            return False
        return all(path.relative_to(folder).as_posix() in ours for path in files_of(entry))

    check_result_folder(folder, MANIFEST, is_ours)


def write_tables(
    folder: Path, regions: pd.DataFrame, sets: Mapping[str, pd.DataFrame], ledger: Ledger
) -> dict[str, str]:
    """Write all tables and the figure; return the SHA-256 of each file."""
    ledger.say("writing tables")
    written = [_parquet(regions, folder / REGIONS)]
    for name, table in sets.items():
        (folder / name).mkdir()
        written.append(_parquet(table, folder / name / TABLE))
        write_bed(table.assign(strand="+", score=0), folder / name / BED)
        written.append(folder / name / BED)
    dropped = folder / DROPPED
    rows = [f"{file}\t{line}\t{reason}\t{_one_cell(text)}\n" for file, line, reason, text in ledger.dropped]
    dropped.write_text("file\tline\treason\ttext\n" + "".join(rows), encoding="utf-8")
    written += [dropped, _figure(folder / QC, regions, sets)]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in written}


def _figure(path: Path, regions: pd.DataFrame, sets: Mapping[str, pd.DataFrame]) -> Path:
    from chromtransfer_plugin.plots.dataset_qc import dataset_figure

    shown = {
        name: table.assign(positive=table["label"] == (OPEN if name == PRETRAINING else name))
        for name, table in sets.items()
    }
    dataset_figure(path, shown, (regions["region_end"] - regions["region_start"]).to_numpy())
    return path


def _one_cell(text: str) -> str:
    return text.replace("\t", " ")


def _parquet(table: pd.DataFrame, path: Path) -> Path:
    table.assign(chrom=table["chrom"].astype("str")).to_parquet(path, index=False, compression="zstd")
    return path


def funnel_text(funnel: list[FunnelStep]) -> str:
    """Lay the funnel out as lines, a heading for each group."""
    width = max(len(step.step) for step in funnel)
    lines: list[str] = []
    group = None
    for step in funnel:
        if step.group != group:
            lines.append(step.group)
            group = step.group
        lines.append(f"  {step.step:{width}}  {step.count:>11,}")
    return "\n".join(lines)
