"""Training runs, and how much data a model needs."""

from __future__ import annotations

from collections.abc import Sequence

from chromtransfer_plugin.efficiency.record import EfficiencyRecord, Row
from chromtransfer_plugin.evaluation_report.figures import efficiency_figures, learning_figure
from chromtransfer_plugin.evaluation_report.markup import UNKNOWN, escape, note, number, table
from chromtransfer_plugin.learning_curves import Diagnosis, LearningCurve

# As in the paper's Table 1, and AUROC.
_COLUMNS = (
    ("f1_negative", "F1 closed"), ("f1_positive", "F1 open"), ("f1_weighted", "F1 weighted"), ("auroc", "AUROC"),
)  # fmt: skip
_MODES = {"features": "a new head on features of the trunk", "full": "fine-tuning of the whole network"}


def training_part(
    runs: Sequence[tuple[str, list[LearningCurve], Diagnosis]],
    efficiencies: Sequence[tuple[str, EfficiencyRecord]],
) -> str:
    """Write the section; it says where it has nothing to show."""
    learning = "".join(
        learning_figure(curves, found, name, f"run-{i}") for i, (name, curves, found) in enumerate(runs)
    )
    parts = [f'<h3>Learning curves</h3>\n<div class="panels">{learning}</div>\n'] if learning else []
    parts += [_efficiency(name, record, f"efficiency-{i}") for i, (name, record) in enumerate(efficiencies)]
    if not efficiencies:
        parts.append(
            note(
                "How much data a model needs was not measured: name the folder of `chromtransfer efficiency` to see it."
            )
        )
    return "".join(parts)


def _efficiency(folder: str, record: EfficiencyRecord, name: str) -> str:
    rows = [
        [
            f"{row.fraction:.0%}",
            f"{row.n:,}",
            f"{row.draws:,}",
            *(_mean(row, key) for key, _ in _COLUMNS),
        ]
        for row in record.rows
    ]
    heads = ["Share", "Windows", "Draws", *(head for _, head in _COLUMNS)]
    finding = f"<p>{escape(record.finding)}</p>\n" if record.finding else ""
    return (
        f"<h3>Data efficiency: {escape(record.line)} ({escape(folder)})</h3>\n{finding}"
        + efficiency_figures(record, name)
        + table(
            f"{record.line}: mean (standard deviation over draws) [{record.level:.0%} interval]", heads, rows
        )
        + note(
            f"{_MODES[record.mode].capitalize()}, from {record.pretrained}, tested on the same {record.n_test:,} windows "
            f"({record.n_test_positive:,} open). Bands: the draws and the test "
            f"{'loci' if record.resample == 'locus' else 'windows'} are both drawn anew, {record.resamples:,} times."
        )
    )


def _mean(row: Row, key: str) -> str:
    if row.mean.get(key) is None:
        return UNKNOWN
    sd = f" ({number(row.sd[key])})" if row.sd.get(key) is not None else ""
    low, high = row.low.get(key), row.high.get(key)
    band = (
        f' <span class="interval">[{number(low)}, {number(high)}]</span>'
        if low is not None and high is not None
        else ""
    )
    return f"{number(row.mean[key])}{sd}{band}"
