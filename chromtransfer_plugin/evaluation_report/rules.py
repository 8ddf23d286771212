"""The rules of the verdict, with every threshold in one place (explained in docs/evaluation_report.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from chromtransfer_plugin.evaluation.record import (
    Calibration,
    Comparison,
    EvaluationRecord,
    LineResult,
    Measure,
    ModelResult,
)
from chromtransfer_plugin.learning_curves import Diagnosis

Level = Literal["usable", "usable for ranking", "weak", "broken", "cannot tell"]
LEVELS: tuple[Level, ...] = (
    "usable",
    "usable for ranking",
    "weak",
    "broken",
    "cannot tell",
)  # from best to worst

FEWEST = 20  # windows of each class, and loci, below which nothing is said
WIDEST = 0.2  # width of the interval of AUROC above which nothing is said, if it holds good and bad values (LOW_AUROC)
LEAKS_MANY = 0.05  # share of test windows known from training above which no number is believed
LEAKS_SOME = 0.01  # share above which it is mentioned
CHANCE = 0.5  # AUROC of guessing
LOW_AUROC = 0.7  # AUROC below which a model is weak whatever it is compared with
MISCALIBRATED = 0.05  # ECE above which probabilities are not to be read as they are ...
BY_CHANCE = (
    1.5  # ... if it is also above so many times what chance makes of right probabilities on so few windows
)
ONE_SIDED = 0.05  # share of a class that is called right at 0.5 below which calls at 0.5 are useless

LEARNING_ADVICE = {
    "overfits": "Fewer epochs, more windows or a frozen trunk may help.",
    "diverged": "Train again with a lower learning rate.",
    "improving": "Train for more epochs: it had not finished.",
    "flat": "Train again with a higher learning rate, if it was trained at all.",
}
FLOOR, REFERENCE = "kmer", "external"  # kinds of models that others are compared with


class Finding(NamedTuple):
    """What a rule found.

    Attributes
    ----------
    rule : str
    level : str
        The best level that a model can have in spite of it; ``usable`` for what speaks for it or is only stated.
    text : str
        Part of a sentence that begins with "because".
    advice : str
        What to do about it, whole sentences; may be empty.
    """

    rule: str
    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Case:
    """One model on one line, and what is known of its training."""

    record: EvaluationRecord
    line: LineResult
    model: ModelResult
    learning: Diagnosis | None = None

    def measure(self, name: str) -> Measure:
        """Return a metric; one that is not in the record has no value."""
        return self.model.measures.get(name, Measure(value=None))

    def difference(self, other: ModelResult) -> Measure | None:
        """AUROC of this model minus that of another; None if they were not compared."""
        for one in self.line.comparisons:
            if one.metric == "auroc" and {one.a, one.b} == {self.model.name, other.name} and one.a != one.b:
                return one.difference if one.a == self.model.name else turned(one)
        return None


Rule: TypeAlias = Callable[[Case], Iterator[Finding]]


def turned(comparison: Comparison) -> Measure:
    """Return the difference as ``b`` minus ``a``."""
    value, low, high = (
        None if number is None else -number
        for number in (comparison.difference.value, comparison.difference.high, comparison.difference.low)
    )
    return Measure(value=value, low=low, high=high)


def enough(case: Case) -> Iterator[Finding]:
    """Too few windows of a class or too few loci for any statement, or an interval that is missing or says nothing."""
    n, positive, loci = case.line.n, case.line.n_positive, case.line.n_loci
    smallest = min(positive, n - positive)
    if smallest == 0:
        yield Finding(
            "enough", "cannot tell", f"all {n:,} test windows are {'open' if positive else 'closed'}",
            f"Test on windows of both classes, at least {FEWEST} of each.",
        )  # fmt: skip
        return
    texts, wanted = [], 0
    if smallest < FEWEST or loci < FEWEST:
        texts.append(
            f"there are only {positive:,} open and {n - positive:,} closed test windows in {loci:,} loci, and with fewer "
            f"than {FEWEST} of each any number may be luck"
        )
        # The mix of classes and of windows per locus will stay as it is.
        wanted = math.ceil(n * max(FEWEST / smallest, FEWEST / max(loci, 1)))
    auroc = case.measure("auroc")
    if auroc.low is None or auroc.high is None:
        texts.append("the evaluation was made without intervals")
    elif auroc.high - auroc.low > WIDEST and auroc.low < LOW_AUROC <= auroc.high:
        texts.append(f"AUROC may be anything from {auroc.low:.2f} to {auroc.high:.2f} on {n:,} windows")
        # Intervals shrink with the square root of the number of windows.
        wanted = max(wanted, math.ceil(n * ((auroc.high - auroc.low) / WIDEST) ** 2))
    if texts:
        advice = (
            f"Test on about {wanted:,} windows like these." if wanted else "Evaluate again with resamples."
        )
        yield Finding("enough", "cannot tell", "; ".join(texts), advice)


def leaks(case: Case) -> Iterator[Finding]:
    """Test windows that are known from training."""
    report = case.line.leaks
    if report is None or report.n_test == 0 or case.model.kind == "pretrained":
        return  # a pre-trained model saw other windows than those the report is about
    # Windows that share words with many training windows, but with none much, are mostly repeats: they give no label away.
    known = max(report.n_identical, report.n_overlapping, report.n_leaking_one)
    share = known / report.n_test
    text = (
        f"{known:,} of {report.n_test:,} test windows ({share:.1%}) overlap, or share most of their sequence with, a "
        "training window"
    )
    if share > LEAKS_MANY:
        yield Finding(
            "leaks", "cannot tell", f"{text}: do not believe these numbers",
            "Split the data by homology (`chromtransfer dataset split`), train again and test again.",
        )  # fmt: skip
    elif share > LEAKS_SOME:
        yield Finding("leaks", "usable", f"{text}, which may flatter the numbers a little")


def ranking(case: Case) -> Iterator[Finding]:
    """Whether open windows get higher probabilities than closed ones at all."""
    auroc = case.measure("auroc")
    if auroc.value is None:
        return
    text = f"AUROC is {with_interval(auroc)}"
    low, high = auroc.low, auroc.high
    mistakes = (
        "genome assembly, 0- or 1-based coordinates, the column of labels, the output that was evaluated"
    )
    if high is not None and high < CHANCE:
        yield Finding(
            "ranking", "broken", f"{text}: it ranks upside down",
            f"Look for a mistake before anything else: labels or classes swapped, {mistakes}.",
        )  # fmt: skip
    elif low is not None and low <= CHANCE:
        yield Finding(
            "ranking", "broken", f"{text}, which cannot be told from guessing (0.5)",
            f"Do not use it here. Look for a mistake ({mistakes}); if there is none, fine-tune on this line.",
        )  # fmt: skip
    elif auroc.value < LOW_AUROC:
        yield Finding(
            "ranking", "weak", f"{text}, better than guessing but below {LOW_AUROC}",
            "Use it for averages over many windows at most. Fine-tune on this line, or on more of its windows.",
        )  # fmt: skip
    else:
        yield Finding("ranking", "usable", text)


def floor(case: Case) -> Iterator[Finding]:
    """Whether the network does better than counting k-mers."""
    floors = [model for model in case.line.models if model.kind == FLOOR]
    if case.model.kind == FLOOR:
        yield Finding("floor", "usable", "it is the floor that the others must beat")
        return
    for other in floors:
        difference = case.difference(other)
        if difference is None or difference.low is None or difference.high is None:
            continue
        text = f"the k-mer floor (AUROC {with_interval(difference, signed=True)})"
        if difference.high < 0:
            auroc = case.measure("auroc").value
            poor = auroc is not None and auroc < LOW_AUROC
            yield Finding(
                "floor", "broken" if poor else "weak", f"it is worse than {text}",
                "Counting k-mers does better: use that, or look for a mistake in training and in the windows.",
            )  # fmt: skip
        elif difference.low <= 0:
            yield Finding(
                "floor", "weak", f"it is not shown to beat {text}",
                "It is not shown to know more than k-mer counts: test on more windows; train on more, start from a "
                "pre-trained model, or use the k-mer model.",
            )  # fmt: skip
        else:
            yield Finding("floor", "usable", f"it beats {text}")
        return
    yield Finding("floor", "usable", "it was not compared with the k-mer floor")


def reference(case: Case) -> Iterator[Finding]:
    """How it compares with scores from elsewhere, such as the authors'."""
    for other in case.line.models:
        difference = case.difference(other) if other.kind == REFERENCE else None
        if difference is None or difference.low is None or difference.high is None:
            continue
        text = f"{other.name} (AUROC {with_interval(difference, signed=True)})"
        if difference.high < 0:
            yield Finding(
                "reference",
                "usable",
                f"it is below {text}",
                f"Better scores exist for these windows: {other.name}.",
            )
        elif difference.low > 0:
            yield Finding("reference", "usable", f"it is above {text}")
        else:
            yield Finding("reference", "usable", f"it cannot be told from {text}")


def calls(case: Case) -> Iterator[Finding]:
    """Whether calls at 0.5 are of both classes."""
    model = case.model
    positive, negative = model.tp + model.fn, model.fp + model.tn
    if positive == 0 or negative == 0:
        return
    found, left = model.tp / positive, model.tn / negative
    if min(found, left) >= ONE_SIDED:
        return
    nearly = "" if model.tp + model.fp == 0 or model.fn + model.tn == 0 else "nearly "
    which = "closed" if found < left else "open"
    threshold, best = case.measure("best_f1_threshold").value, case.measure("best_f1_positive").value
    instead = (
        f"Do not call at 0.5: call open above {threshold:.3g} (F1 of open windows {best:.2f} on these very windows; "
        "choose it on other windows), or correct the probabilities first."
        if threshold is not None and best is not None
        else "Do not call at 0.5: choose a threshold on windows of a validation fold."
    )
    yield Finding(
        "calls",
        "usable for ranking",
        f"calls at 0.5 are broken: it calls {nearly}every window {which}",
        instead,
    )


def calibration(case: Case) -> Iterator[Finding]:
    """Whether probabilities are what they say, or can be made so."""
    ece = case.measure("ece").value
    if ece is None:
        return
    chance = chance_ece(case.model)
    limit = max(MISCALIBRATED, BY_CHANCE * chance)
    if ece <= MISCALIBRATED:
        yield Finding(
            "calibration",
            "usable",
            f"its probabilities can be read as they are (calibration error ECE {ece:.3f})",
        )
        return
    if ece <= limit:
        yield Finding(
            "calibration", "usable",
            f"its probabilities are not shown to be off (calibration error ECE {ece:.3f}, of which chance makes about "
            f"{chance:.3f} on so few windows)",
        )  # fmt: skip
        return
    text = f"its probabilities are off by {ece:.2f} on average (ECE)"
    best = best_correction(case.model)
    if best is None or best.ece.value is None:
        yield Finding(
            "calibration", "usable for ranking", f"{text}, and no correction was tried",
            "Rank windows by it, but do not read its probabilities.",
        )  # fmt: skip
    elif best.ece.value <= limit:
        how = f"{best.method} scaling" if best.method == "temperature" else "isotonic regression"
        detail = f", T = {best.temperature:.2f}" if best.temperature is not None else ""
        yield Finding(
            "calibration", "usable for ranking",
            f"{text}, which {how} corrects ({best.ece.value:.3f} left{detail})",
            f"Rank windows by it; correct its probabilities by {how} before you read them or call at 0.5.",
        )  # fmt: skip
    else:
        yield Finding(
            "calibration", "usable for ranking", f"{text}, and still by {best.ece.value:.2f} after correction",
            "Rank windows by it, but do not read its probabilities, corrected or not.",
        )  # fmt: skip


def precision(case: Case) -> Iterator[Finding]:
    """What its average precision is worth, given how many windows are open."""
    ap = case.measure("average_precision")
    if ap.value is not None and case.line.n:
        share = case.line.n_positive / case.line.n
        yield Finding(
            "precision",
            "usable",
            f"average precision is {with_interval(ap)}, where guessing gives {share:.3f}",
        )


def learning(case: Case) -> Iterator[Finding]:
    """What its learning curves show."""
    shown = case.learning
    if shown is None or shown.kind in ("converged", "unknown"):
        return
    level: Level = "weak" if shown.kind == "diverged" else "usable"
    yield Finding(
        "learning",
        level,
        f"its learning curves show: “{shown.text.rstrip('.')}”",
        LEARNING_ADVICE[shown.kind],
    )


RULES: tuple[Rule, ...] = (
    enough, leaks, ranking, floor, calls, calibration, learning, reference, precision,
)  # fmt: skip


def best_correction(model: ModelResult) -> Calibration | None:
    """Return the correction that leaves the smallest ECE; None if none was tried."""
    tried = [one for one in model.calibration if one.method != "none" and one.ece.value is not None]
    return min(tried, key=lambda one: one.ece.value or 0.0, default=None)


def chance_ece(model: ModelResult) -> float:
    """Return the ECE that is expected of right probabilities, by chance alone; 0 if the bins are not known.

    In a bin of n windows with mean probability p, the share of open windows is off by sqrt(2 p (1 - p) / (pi n)) on average.
    """
    bins = next((one for one in model.calibration if one.method == "none"), None)
    if bins is None or not sum(bins.n):
        return 0.0
    off = (
        n * math.sqrt(2 * p * (1 - p) / (math.pi * n))
        for n, p in zip(bins.n, bins.mean_predicted, strict=True)
        if n and p is not None
    )
    return sum(off) / sum(bins.n)


def with_interval(measure: Measure, signed: bool = False) -> str:
    """Write a value with its interval: ``0.862 [0.853, 0.871]``."""
    form = "+.3f" if signed else ".3f"
    if measure.value is None:
        return "not defined"
    if measure.low is None or measure.high is None:
        return f"{measure.value:{form}}".replace("-", "−")
    return f"{measure.value:{form}} [{measure.low:{form}}, {measure.high:{form}}]".replace("-", "−")
