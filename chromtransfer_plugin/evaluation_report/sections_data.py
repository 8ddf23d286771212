"""Where the windows come from: funnel, splits, class balance, what is known from training."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby

from chromtransfer_plugin.evaluation.record import EvaluationRecord
from chromtransfer_plugin.evaluation_report.load import Dataset
from chromtransfer_plugin.evaluation_report.markup import UNKNOWN, details, escape, note, table
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.preparation.manifest import FunnelStep

_QUANTILES = (0.5, 0.75, 0.9, 0.95, 1)


def data_part(
    evaluations: Sequence[tuple[str, EvaluationRecord]],
    datasets: Sequence[Dataset],
    leaks: Sequence[tuple[str, LeakReport]],
) -> str:
    """Write the section; each part of it says where it has nothing to show."""
    parts = [_balance(name, record) for name, record in evaluations]
    parts += [_dataset(dataset) for dataset in datasets]
    if not datasets:
        parts.append(
            note(
                "No data set was given: name the folder of `chromtransfer dataset build` to see how many regions each step "
                "left."
            )
        )
    parts += [f"<h3>Leaks: {escape(name)}</h3>\n{leak_part(report)}" for name, report in leaks]
    return "".join(parts)


def leak_part(report: LeakReport | None) -> str:
    """Write a leak report."""
    if report is None:
        return note(
            "Not looked for: no training windows were named, so it is not known whether test windows are new."
        )
    if report.n_test == 0:
        return note("There is no test window.")
    counts = [
        ("are a training window", report.n_identical),
        ("overlap a training window", report.n_overlapping),
    ]
    if report.k:
        words = f"share {report.share:.0%} or more of their {report.k}-base words with"
        counts += [
            (f"{words} one training window", report.n_leaking_one),
            (f"{words} all training windows together (mostly repeats)", report.n_leaking),
        ]
    rows = [[escape(what), f"{n:,}", f"{n / report.n_test:.2%}"] for what, n in counts]
    last = len(report.shares) - 1
    shares = [f"{report.shares[round(at * last)]:.1%}" for at in _QUANTILES] if report.shares else []
    worst = [
        [escape(window), f"{share:.1%}", escape(closest) or UNKNOWN]
        for window, share, closest in report.worst
    ]
    more = ""
    if shares:
        heads = ["Of the test windows", *(f"{at:.0%}" for at in _QUANTILES)]
        caption = "Share of words known from training"
        more += table(caption, heads, [["have at most this share", *shares]], stack=False)
    if worst:
        more += table(
            "Windows that share most", ["Test window", "Share", "Closest training window"], worst, text=(2,)
        )
    return table(
        f"{report.n_test:,} test windows against {report.n_train:,} training windows",
        ["Test windows that", "Windows", "Share"],
        rows,
        stack=False,
    ) + (details("Which, and how much", more) if more else "")


def _balance(name: str, record: EvaluationRecord) -> str:
    rows = [
        [
            escape(line.line),
            f"{line.n:,}",
            f"{line.n_positive:,}",
            f"{line.n - line.n_positive:,}",
            f"{line.n_positive / line.n:.1%}" if line.n else UNKNOWN,
            f"{line.n_loci:,}",
        ]
        for line in record.lines
    ]
    read = "".join(
        f"<li>{escape(line.line)}: {escape(text)}</li>" for line in record.lines for text in line.read
    )
    return (
        f"<h3>Test windows: {escape(name)}</h3>\n"
        + table(
            "Class balance", ["Line", "Windows", "Open", "Closed", "Share open", "Loci"], rows, stack=False
        )
        + (details("What was read and dropped", f"<ul>{read}</ul>\n") if read else "")
    )


def _dataset(dataset: Dataset) -> str:
    name, manifest, picture = dataset
    groups = [(group, list(steps)) for group, steps in groupby(manifest.funnel, lambda step: step.group)]
    funnel = "".join(_funnel(group, steps) for group, steps in groups)
    kinds = list(dict.fromkeys(kind for counts in manifest.splits.values() for kind in counts))
    splits = [
        [escape(what), *(f"{counts[kind]:,}" if kind in counts else UNKNOWN for kind in kinds)]
        for what, counts in manifest.splits.items()
    ]
    return (
        f"<h3>Data set: {escape(name)}</h3>\n"
        + (f'<div class="funnels">{funnel}</div>\n' if funnel else note("The manifest holds no step."))
        + (table("Windows by split", ["Table", *kinds], splits, stack=False) if splits else "")
        + (_picture(picture, name) if picture else "")
    )


def _picture(picture: bytes, name: str) -> str:
    data = base64.b64encode(picture).decode()
    described = f"GC content, length, chromosomes and class balance of the regions of {name}"
    return (
        f'<figure class="wide"><img src="data:image/png;base64,{data}" alt="{escape(described)}">'
        f"<figcaption>{escape(described)}</figcaption></figure>\n"
    )


def _funnel(group: str, steps: Sequence[FunnelStep]) -> str:
    """Write the steps of a group, each with a bar as long as its share of the largest."""
    most = max(step.count for step in steps)
    rows = [
        [
            escape(step.step),
            f"{step.count:,}",
            f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect width="{100 * step.count / most if most else 0:.1f}" height="8"/></svg>',
        ]
        for step in steps
    ]
    return table(f"What each step left: {group}", ["Step", "Regions", ""], rows, stack=False)
