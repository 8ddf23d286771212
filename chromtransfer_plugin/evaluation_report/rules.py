"""The rules of the verdict, with every threshold in one place (explained in docs/evaluation_report.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from chromtransfer_plugin.evaluation.record import EvaluationRecord, LineResult, Measure, ModelResult
from chromtransfer_plugin.evaluation_report.numbers import (
    best_correction,
    chance_ece,
    measure_of,
    rounded_up,
    turned,
    with_interval,
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

# What a level means and what to do, in a few words for the page.
MEANINGS: dict[Level, str] = {
    "usable": "ranks windows well, better than k-mer counts if it was compared with them, and nothing speaks against its "
    "probabilities: use it",
    "usable for ranking": "ranks windows well, but correct its probabilities, or choose another threshold than 0.5, before "
    "you read them",
    "weak": "better than guessing, but not good, or not shown to beat k-mer counts: use it for averages over many windows "
    "at most, and train on more",
    "broken": "not shown to be better than guessing, or poor and worse than k-mer counts: do not use it, look for a mistake",
    "cannot tell": "too few test windows, no intervals, or test windows that were known from training: test again before "
    "you trust it",
}

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
_MISTAKES = "genome assembly, 0- or 1-based coordinates, the column of labels, the output that was evaluated"
_LOOK = f"Do not use it here. Look for a mistake ({_MISTAKES}); if there is none, fine-tune on this line."
_LOOK_SWAPPED = f"Look for a mistake before anything else: labels or classes swapped, {_MISTAKES}."
_PRETRAINED = "It knows what is open anywhere, not what is open in this line only: fine-tune it on this line."
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
        return measure_of(self.model, name)

    @property
    def ranks(self) -> bool:
        """Whether AUROC, with its interval if there is one, lies above that of guessing."""
        auroc = self.measure("auroc")
        lowest = auroc.value if auroc.low is None else auroc.low
        return lowest is not None and lowest > CHANCE

    def difference(self, other: ModelResult) -> Measure | None:
        """AUROC of this model minus that of another; None if they were not compared."""
        for one in self.line.comparisons:
            if one.metric == "auroc" and {one.a, one.b} == {self.model.name, other.name} and one.a != one.b:
                return one.difference if one.a == self.model.name else turned(one)
        return None


Rule: TypeAlias = Callable[[Case], Iterator[Finding]]


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
        kind = "open" if positive == smallest else "closed"
        few = [f"{smallest:,} {kind} windows"] if smallest < FEWEST else []
        few += [f"{loci:,} {'locus' if loci == 1 else 'loci'}"] if loci < FEWEST else []
        texts.append(
            f"the test has only {' and '.join(few)}, and with fewer than {FEWEST} any number may be luck"
        )
        # The mix of classes and of windows per locus will stay as it is.
        wanted = math.ceil(n * max(FEWEST / smallest, FEWEST / max(loci, 1)))
    auroc = case.measure("auroc")
    if auroc.value is None:
        texts.append("AUROC is not in the evaluation")
    elif auroc.low is None or auroc.high is None:
        texts.append(f"the evaluation was made without intervals, so AUROC {auroc.value:.3f} may be luck")
    elif auroc.high - auroc.low > WIDEST and auroc.low < LOW_AUROC <= auroc.high:
        texts.append(f"AUROC may be anything from {auroc.low:.2f} to {auroc.high:.2f} on {n:,} windows")
        # Intervals shrink with the square root of the number of windows.
        wanted = max(wanted, math.ceil(n * ((auroc.high - auroc.low) / WIDEST) ** 2))
    if texts:
        advice = (
            f"Test on about {rounded_up(wanted):,} windows like these."
            if wanted
            else "Evaluate again, with intervals (`--resamples 1000`)."
        )
        yield Finding("enough", "cannot tell", "; ".join(texts), advice)


def leaks(case: Case) -> Iterator[Finding]:
    """Test windows that are known from training."""
    report = case.line.leaks
    if case.model.kind in ("pretrained", REFERENCE):
        return  # they saw other windows than those that were named
    if report is None:
        yield Finding(
            "leaks", "usable", "it was not looked whether test windows are known from training",
            "Evaluate with the training windows (`--train`), so that leaks are looked for.",
        )  # fmt: skip
        return
    if report.n_test == 0:
        return
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
    else:
        flatter = ", which may flatter the numbers a little" if share > LEAKS_SOME else ""
        yield Finding("leaks", "usable", f"{text}{flatter}")


def ranking(case: Case) -> Iterator[Finding]:
    """Whether open windows get higher probabilities than closed ones at all."""
    auroc = case.measure("auroc")
    if auroc.value is None:
        return
    text = f"AUROC is {with_interval(auroc)}"
    high = auroc.value if auroc.high is None else auroc.high
    if case.ranks:
        if auroc.value < LOW_AUROC:
            yield Finding(
                "ranking", "weak", f"{text}, better than guessing but below {LOW_AUROC}",
                "Use it for averages over many windows at most. Fine-tune on this line, or on more of its windows.",
            )  # fmt: skip
        else:
            yield Finding("ranking", "usable", text)
        return
    if high < CHANCE:
        found, advice = "it ranks upside down, closed windows above open ones", _LOOK_SWAPPED
    else:
        found, advice = f"which cannot be told from guessing ({CHANCE})", _LOOK
        if auroc.value < CHANCE:
            found += "; if anything, it ranks upside down"
    if case.model.kind == "pretrained":
        advice = _PRETRAINED
    yield Finding("ranking", "broken", f"{text}, {found}", advice)


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
    yield Finding(
        "floor", "usable", "it was not compared with the k-mer floor",
        "Evaluate with `--baseline kmer`: counts of short words may do as well.",
    )  # fmt: skip


def reference(case: Case) -> Iterator[Finding]:
    """How it compares with scores from elsewhere, such as the authors'."""
    found = [
        (other.name, difference)
        for other in case.line.models
        if other.kind == REFERENCE and (difference := case.difference(other)) is not None
    ]
    better = [name for name, difference in found if difference.high is not None and difference.high < 0]
    advice = f"Better scores exist for these windows: {', '.join(better)}."
    for name, difference in found:
        if difference.low is None or difference.high is None:
            continue
        how = (
            "below" if difference.high < 0 else "above" if difference.low > 0 else "not shown to differ from"
        )
        text = f"it is {how} {name} (AUROC {with_interval(difference, signed=True)})"
        yield Finding("reference", "usable", text, advice if name in better else "")


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
        f"calls at 0.5 are broken: it calls {nearly}every window {which} ({model.tp:,} of {positive:,} open and "
        f"{model.fp:,} of {negative:,} closed ones are called open)",
        instead,
    )


def calibration(case: Case) -> Iterator[Finding]:
    """Whether probabilities are what they say, or can be made so."""
    ece = case.measure("ece").value
    if ece is None:
        return
    if not case.ranks:
        # The share of open windows, given to all of them, is calibrated to perfection.
        yield Finding(
            "calibration", "usable",
            f"its probabilities are off by {ece:.3f} on average (ECE), but as it is not shown to tell open windows from "
            "closed ones, they are of no use, corrected or not",
        )  # fmt: skip
        return
    chance = chance_ece(case.model)
    limit = max(MISCALIBRATED, BY_CHANCE * chance)
    if ece <= MISCALIBRATED:
        yield Finding(
            "calibration",
            "usable",
            f"its probabilities can be read as they are (calibration error ECE {ece:.3f})",
            "Read its probabilities as they are.",
        )
        return
    if ece <= limit:
        yield Finding(
            "calibration", "usable",
            f"its probabilities are not shown to be off (calibration error ECE {ece:.3f}, of which chance makes about "
            f"{chance:.3f} on so few windows)",
            "Whether its probabilities are right would need more windows to tell.",
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
