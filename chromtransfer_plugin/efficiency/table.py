"""The tables that people read: one like the paper's Table 1, and one row for each draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from chromtransfer_plugin.efficiency.record import EfficiencyRecord, Row
from chromtransfer_plugin.files import atomic_path

TABLE, MARKDOWN, DRAWS_TABLE = "table.tsv", "table.md", "draws.tsv"
# Name in files and heading; the first three are the paper's.
SHOWN = {
    "f1_negative": "F1 closed",
    "f1_positive": "F1 open",
    "f1_weighted": "F1 overall",
    "auroc": "AUROC",
    "average_precision": "AP",
    "brier": "Brier",
}


def write_tables(record: EfficiencyRecord, folder: Path) -> None:
    """Write ``table.tsv``, ``table.md`` and ``draws.tsv``."""
    _write(pd.DataFrame([_flat(row) for row in record.rows]), folder / TABLE)
    draws = [{**draw.model_dump(exclude={"measures"}), **draw.measures} for draw in record.draws]
    _write(pd.DataFrame(draws), folder / DRAWS_TABLE)
    with atomic_path(folder / MARKDOWN) as temporary:
        temporary.write_text(markdown(record), encoding="utf-8")


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="NA")


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {"fraction": row.fraction, "n": row.n, "draws": row.draws}
    for name in row.mean:
        flat |= {
            f"{name}_{kind}": values.get(name)
            for kind, values in (("mean", row.mean), ("sd", row.sd), ("low", row.low), ("high", row.high))
        }
    return flat


def markdown(record: EfficiencyRecord) -> str:
    """Lay out the table of means (standard deviations), the bands of the AUROC, and the finding in words."""
    lines = [
        f"{record.line}: {record.n_train:,} training windows, tested on {record.n_test:,} "
        f"({record.n_test_positive:,} open). Mean (sd) over draws; band: {100 * record.level:g} %, over draws and test "
        f"{'loci' if record.resample == 'locus' else 'windows'}.",
        "",
        "| share | n | draws | " + " | ".join(SHOWN.values()) + " | AUROC band |",
        "|---|---|---|" + "---|" * (len(SHOWN) + 1),
    ]
    for row in record.rows:
        cells = " | ".join(_cell(row.mean.get(name), row.sd.get(name)) for name in SHOWN)
        low, high = row.low.get("auroc"), row.high.get("auroc")
        band = "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        lines.append(f"| {100 * row.fraction:g} % | {row.n:,} | {row.draws} | {cells} | {band} |")
    for name, auroc in record.references.items():
        lines.append(f"| {name} | | | | | | {auroc:.3f} | | | |")
    return "\n".join([*lines, "", record.finding, ""])


def _cell(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return "NA"
    return f"{mean:.3f}" + (f" ({sd:.3f})" if sd is not None else "")
