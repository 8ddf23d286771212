"""The figures of the page, as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chromtransfer_plugin.efficiency.record import EfficiencyRecord
from chromtransfer_plugin.evaluation.record import METRICS, LineResult, ModelResult
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.evaluation_report.markup import escape, number
from chromtransfer_plugin.evaluation_report.numbers import measure_of
from chromtransfer_plugin.evaluation_report.palette import Style, swatch
from chromtransfer_plugin.evaluation_report.svg import figure, panel
from chromtransfer_plugin.learning_curves import Diagnosis, LearningCurve
from chromtransfer_plugin.plots.efficiency import PANELS, plot_efficiency
from chromtransfer_plugin.plots.learning import plot_learning
from chromtransfer_plugin.plots.precision_recall import plot_precision_recall
from chromtransfer_plugin.plots.reliability import plot_reliability
from chromtransfer_plugin.plots.roc import plot_roc
from chromtransfer_plugin.plots.style import FONT, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Palette = Mapping[str, Style]

_TICKS_APART = 2.4  # how often a labelled share is the next labelled one, so that their labels do not touch
_METHODS = {"none": "as it is", "temperature": "temperature", "isotonic": "isotonic"}


def curve_figures(line: LineResult, scores: ScoreTable, palette: Palette, name: str) -> str:
    """Draw ROC and precision-recall curves of all models of a line, with one key for both."""
    if not 0 < line.n_positive < line.n:
        return '<p class="note">No ROC and precision-recall curves: they need windows of both classes.</p>\n'
    order = sorted(line.models, key=lambda model: -(measure_of(model, "auroc").value or 0))
    curves = {model.name: (scores.y, scores.scores[model.name]) for model in order}
    styles = [palette[model.name] for model in order]
    listed = "; ".join(f"{model.name} {number(measure_of(model, 'auroc').value)}" for model in order)
    precise = "; ".join(
        f"{model.name} {number(measure_of(model, 'average_precision').value)}" for model in order
    )
    roc = panel(
        lambda ax: plot_roc(ax, curves, styles=styles, legend=False),
        f"{name}-roc",
        f"ROC curves on {line.line}, areas: {listed}",
    )
    recall = panel(
        lambda ax: plot_precision_recall(ax, curves, styles=styles, legend=False),
        f"{name}-pr",
        f"Precision-recall curves on {line.line}, average precision: {precise}; guessing {line.n_positive / line.n:.3f}",
    )
    key = "".join(
        f"<li>{swatch(palette[model.name])} {escape(model.name)} "
        f'<span class="soft">AUROC {number(measure_of(model, "auroc").value)}, AP '
        f"{number(measure_of(model, 'average_precision').value)}</span></li>"
        for model in order
    )
    return (
        f'<div class="panels">{figure(roc, f"ROC on {line.line}. The diagonal is guessing.")}'
        f"{figure(recall, f'Precision and recall on {line.line}. Grey: guessing, the share of open windows.')}</div>\n"
        f'<ul class="key" aria-label="Models, the best AUROC first">{key}</ul>\n'
    )


def reliability_figures(models: Sequence[ModelResult], palette: Palette, name: str) -> str:
    """Draw the reliability of each model that has its calibration measured."""
    drawn = []
    for i, model in enumerate(models):
        if not model.calibration:
            continue
        curves = {
            f"{_METHODS[one.method]}, ECE {number(one.ece.value)}": (one.mean_predicted, one.observed, one.n)
            for one in model.calibration
        }
        color = palette[model.name][0]
        picture = panel(
            lambda ax, curves=curves, color=color: plot_reliability(ax, curves, color=color),  # type: ignore[misc]
            f"{name}-reliability-{i}",
            f"Reliability of {model.name}: observed share of open windows against predicted probability; "
            + "; ".join(curves),
            (3.6, 4.1),
        )
        fitted = next((one.fitted_on for one in model.calibration if one.fitted_on), "")
        drawn.append(figure(picture, f"{model.name}{f'. Corrections fitted on {fitted}' if fitted else ''}"))
    return f'<div class="panels">{"".join(drawn)}</div>\n' if drawn else ""


def conformal_figure(models: Sequence[ModelResult], palette: Palette, name: str) -> str:
    """Draw how many truths prediction sets hold, by class, against how many they promise."""
    shown = [model for model in models if model.conformal]
    if not shown:
        return ""

    def draw(ax: Axes) -> None:
        ticks = []
        for row, (model, one) in enumerate((m, c) for m in shown for c in m.conformal):
            color = palette[model.name][0]
            ax.plot([one.level, one.level], [row - 0.35, row + 0.35], color="0.25", linewidth=2)
            for value, marker, face in ((one.coverage_open, "o", color), (one.coverage_closed, "s", "white")):
                if value is not None:
                    ax.plot(
                        [value], [row], marker=marker, color=color, markerfacecolor=face, linestyle="none"
                    )
            ticks.append(f"{_short(model.name)} {one.level:.0%}")
        ax.set_yticks(range(len(ticks)), ticks, fontsize=FONT - 1)
        ax.set(ylim=(len(ticks) - 0.4, -0.6))
        low, high = ax.get_xlim()
        ax.set_xlim(max(0.0, low - 0.02), min(1.01, high + 0.02))
        ax.set_xlabel("Coverage of the truth", fontsize=FONT)
        ax.grid(axis="x", color="0.9")
        ax.set_axisbelow(True)
        tidy(ax)

    rows = sum(len(model.conformal) for model in shown)
    described = "; ".join(
        f"{model.name} at {one.level:.0%}: open {number(one.coverage_open)}, closed {number(one.coverage_closed)}"
        for model in shown
        for one in model.conformal
    )
    picture = panel(
        draw, f"{name}-conformal", f"Coverage of prediction sets: {described}", (3.6, 0.8 + 0.24 * rows)
    )
    return (
        '<div class="panels">'
        + figure(
            picture,
            "Prediction sets. The upright stroke is what they promise; filled circles are open windows, empty squares "
            "closed ones. A mark left of its stroke holds the truth less often than promised.",
        )
        + "</div>\n"
    )


def learning_figure(curves: Sequence[LearningCurve], found: Diagnosis, title: str, name: str) -> str:
    """Draw the learning curves of a run."""
    picture = panel(
        lambda ax: plot_learning(ax, curves), f"{name}-learning", f"Loss by epoch of {title}. {found.text}"
    )
    return figure(picture, f"{title}. {found.text}")


def efficiency_figures(record: EfficiencyRecord, name: str) -> str:
    """Draw the test scores against the share of the training windows."""
    drawn = []
    for key in PANELS:
        rows = [row for row in record.rows if row.mean.get(key) is not None]
        if not rows:
            continue
        title = METRICS[key][0].partition(" (")[0]
        others = record.references if key == "auroc" else {}  # only AUROCs of other models are known
        picture = panel(
            lambda ax, key=key, title=title, others=others: _efficiency(ax, record, key, title, others),  # type: ignore[misc]
            f"{name}-{key}",
            f"{title} against training windows: "
            + "; ".join(f"{row.n:,}: {number(row.mean[key])}" for row in rows)
            + "".join(f"; {other}: {number(value)}" for other, value in others.items()),
        )
        caption = f"{title} on {record.line}. Points: one draw each; line: their mean"
        caption += f"; band: {record.level:.0%} interval." if record.resamples else "."
        drawn.append(figure(picture, caption))
    return f'<div class="panels">{"".join(drawn)}</div>\n' if drawn else ""


def _efficiency(
    ax: Axes, record: EfficiencyRecord, key: str, title: str, others: Mapping[str, float]
) -> None:
    """Draw the panel with names at the lines instead of a legend, for which it is too narrow."""
    plot_efficiency(ax, record, key)
    if (legend := ax.get_legend()) is not None:
        legend.remove()
    for other, value in others.items():
        ax.annotate(
            f"{_short(other)} {value:.2f}", (1, value), (0, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="bottom", fontsize=FONT - 1,
        )  # fmt: skip
    shown: list[float] = []
    for row in reversed(record.rows):  # the largest share is always labelled
        if not shown or shown[-1] / row.fraction > _TICKS_APART:
            shown.append(row.fraction)
    numbers = {row.fraction: f"{100 * row.fraction:g} %\n{row.n:,}" for row in record.rows}
    ax.set_xticks(list(numbers), [numbers[at] if at in shown else "" for at in numbers])
    ax.minorticks_off()
    ax.set_xlabel(f"Share of {record.n_train:,} windows", fontsize=FONT)
    ax.set_ylabel(title, fontsize=FONT)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
