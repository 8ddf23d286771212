"""Each rule of the verdict fires where it should, and not just beside its threshold."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromtransfer_plugin.evaluation.record import (
    Calibration,
    Comparison,
    EvaluationRecord,
    LineResult,
    Measure,
    ModelResult,
)
from chromtransfer_plugin.evaluation_report import rules
from chromtransfer_plugin.evaluation_report.numbers import chance_ece
from chromtransfer_plugin.evaluation_report.verdict import Verdict, headlines, judge, of_interest
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.learning_curves import Diagnosis
from chromtransfer_plugin.metrics import expected_calibration_error, reliability


def calibrated(method: str, ece: float, temperature: float | None = None) -> Calibration:
    return Calibration(
        method=method,  # type: ignore[arg-type]
        temperature=temperature,
        ece=Measure(value=ece),
        brier=Measure(value=0.1),
        log_loss=Measure(value=0.3),
        n=[10000],
        mean_predicted=[0.3],
        observed=[0.3],
    )


def model(name: str = "mine", kind: str = "given", **changes: Any) -> ModelResult:
    """A model without a fault: AUROC 0.85 [0.83, 0.87], AP 0.7, ECE 0.02."""
    measures = {
        "auroc": (0.85, 0.83, 0.87),
        "average_precision": (0.7, 0.68, 0.72),
        "ece": (0.02, 0.01, 0.03),
        "best_f1_threshold": (0.12, 0.12, 0.12),
        "best_f1_positive": (0.66, 0.64, 0.68),
    } | changes.pop("measures", {})
    fields: dict[str, Any] = {"tp": 2000, "fn": 1000, "fp": 500, "tn": 6500} | changes
    return ModelResult(
        name=name,
        kind=kind,
        source="x",
        measures={key: Measure(value=v, low=a, high=b) for key, (v, a, b) in measures.items()},
        **fields,
    )


def against(
    other: str, low: float | None, high: float | None, value: float = 0.1, mine_first: bool = True
) -> Comparison:
    a, b = ("mine", other) if mine_first else (other, "mine")
    if not mine_first and low is not None and high is not None:
        value, low, high = -value, -high, -low
    return Comparison(a=a, b=b, metric="auroc", difference=Measure(value=value, low=low, high=high))


def leaks(**changes: Any) -> LeakReport:
    fields: dict[str, Any] = {
        "n_train": 9, "n_test": 10000, "k": 24, "share": 0.5, "n_identical": 0, "n_overlapping": 0,
        "n_leaking": 0, "shares": [], "worst": [],
    } | changes  # fmt: skip
    return LeakReport(**fields)


def verdict(mine: ModelResult | None = None, learning: Diagnosis | None = None, **changes: Any) -> Verdict:
    mine = mine or model()
    fields: dict[str, Any] = {
        "line": "HEPG2", "n": 10000, "n_positive": 3000, "n_loci": 5000,
        "models": [mine, model("k-mers", "kmer"), model("paper", "external")],
        "comparisons": [against("k-mers", 0.05, 0.15)], "leaks": leaks(),
    } | changes  # fmt: skip
    line = LineResult(**fields)
    record = EvaluationRecord(
        command=[], settings={}, genome="", device="", versions={}, seconds=1, resample="locus", resamples=1000,
        level=0.95, lines=[line],
    )  # fmt: skip
    return judge(record, line, mine, learning)


def test_a_model_without_a_fault_is_usable() -> None:
    found = verdict()
    assert found.level == "usable"
    assert found.sentence == (
        "Usable, because AUROC is 0.850 [0.830, 0.870]; it beats the k-mer floor (AUROC +0.100 [+0.050, +0.150]); "
        "its probabilities can be read as they are (calibration error ECE 0.020)."
    )
    assert (
        found.advice == "Use it: rank windows by it, call open above 0.5. Read its probabilities as they are."
    )
    assert [reason.rule for reason in found.reasons] == [
        "leaks",
        "ranking",
        "floor",
        "calibration",
        "precision",
    ]
    assert "can be read as they are" in verdict(ece(0.05)).sentence
    assert "average precision is 0.700 [0.680, 0.720], where guessing gives 0.300" in [
        r.text for r in found.reasons
    ]


def auroc(value: float, low: float | None, high: float | None) -> ModelResult:
    return model(measures={"auroc": (value, low, high)})


def ece(value: float, *corrections: Calibration) -> ModelResult:
    return model(
        measures={"ece": (value, value, value)}, calibration=[calibrated("none", value), *corrections]
    )


EVEN = {"n": 40, "n_positive": 20, "n_loci": 20}
# What is changed, the level, a part of the sentence or advice, and the nearest change at which the rule says nothing.
RULES: list[tuple[str, dict[str, Any], str, str, dict[str, Any]]] = [
    ("few open", {**EVEN, "n_positive": 19}, "cannot tell", "about 43 windows", EVEN),
    ("few closed", {**EVEN, "n": 39}, "cannot tell", "only 19 closed windows, and", EVEN),
    ("few loci", {**EVEN, "n_loci": 10}, "cannot tell", "about 80 windows", EVEN),
    ("one class", {"n_positive": 10000}, "cannot tell", "all 10,000 test windows are open", {"n_positive": 9980}),
    ("no window is open", {"n_positive": 0}, "cannot tell", "test windows are closed", {"n_positive": 20}),
    ("wide", {"mine": auroc(0.85, 0.69, 0.91)}, "cannot tell", "anything from 0.69 to 0.91",
     {"mine": auroc(0.85, 0.7, 0.95)}),
    ("wide: how many", {"mine": auroc(0.7, 0.5, 0.9)}, "cannot tell", "about 40,000 windows",
     {"mine": auroc(0.75, 0.71, 0.9)}),
    ("no interval", {"mine": auroc(0.85, None, None)}, "cannot tell", "with intervals (`--resamples 1000`)",
     {"mine": auroc(0.85, 0.8, 0.9)}),
    ("overlaps", {"leaks": leaks(n_overlapping=501)}, "cannot tell", "501 of 10,000 test windows (5.0%)",
     {"leaks": leaks(n_overlapping=500)}),
    ("homology", {"leaks": leaks(n_leaking_one=600)}, "cannot tell", "do not believe",
     {"leaks": leaks(n_leaking=600)}),
    ("guessing", {"mine": auroc(0.55, 0.5, 0.6)}, "broken", "cannot be told from guessing",
     {"mine": auroc(0.72, 0.501, 0.7)}),
    ("upside down", {"mine": auroc(0.45, 0.41, 0.499)}, "broken", "upside down", {"mine": auroc(0.71, 0.501, 0.7)}),
    ("low", {"mine": auroc(0.699, 0.65, 0.75)}, "weak", "below 0.7", {"mine": auroc(0.7, 0.65, 0.75)}),
    ("not above the floor", {"comparisons": [against("k-mers", 0.0, 0.1)]}, "weak", "not shown to beat",
     {"comparisons": [against("k-mers", 0.001, 0.1)]}),
    ("the same, the other way round", {"comparisons": [against("k-mers", -0.01, 0.1, mine_first=False)]}, "weak",
     "not shown to beat", {"comparisons": [against("k-mers", 0.001, 0.1, mine_first=False)]}),
    ("below the floor", {"comparisons": [against("k-mers", -0.2, -0.001, -0.1)]}, "weak", "worse than the k-mer floor",
     {"comparisons": [against("k-mers", 0.01, 0.1)]}),
    ("below the floor and low",
     {"mine": auroc(0.65, 0.6, 0.7), "comparisons": [against("k-mers", -0.2, -0.001, -0.1)]}, "broken",
     "Counting k-mers does better", {"comparisons": [against("k-mers", 0.01, 0.1)]}),
    ("nothing is called open", {"mine": model(tp=0, fp=0, fn=3000, tn=7000)}, "usable for ranking",
     "every window closed", {"mine": model(tp=150, fp=0, fn=2850, tn=7000)}),
    ("threshold", {"mine": model(tp=149, fp=0, fn=2851, tn=7000)}, "usable for ranking", "call open above 0.12 (F1 of",
     {"mine": model(tp=150, fp=0, fn=2850, tn=7000)}),
    ("everything is called open", {"mine": model(tp=3000, fp=7000, fn=0, tn=0)}, "usable for ranking",
     "every window open", {"mine": model(tp=3000, fp=6650, fn=0, tn=350)}),
    ("off, corrected", {"mine": ece(0.11, calibrated("temperature", 0.04, 1.7))}, "usable for ranking",
     "temperature scaling corrects (0.040 left, T = 1.70)", {"mine": ece(0.05)}),
    ("off, not corrected", {"mine": ece(0.11, calibrated("isotonic", 0.06))}, "usable for ranking",
     "still by 0.06 after correction", {"mine": ece(0.05)}),
    ("off, no correction", {"mine": ece(0.051)}, "usable for ranking", "no correction was tried", {"mine": ece(0.05)}),
    ("diverged", {"learning": Diagnosis("diverged", "Diverged: the loss is no number.")}, "weak",
     "show: “Diverged: the loss is no number”", {"learning": Diagnosis("converged", "Converged: fine.")}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level", "said", "beside"), [r[1:] for r in RULES], ids=[r[0] for r in RULES]
)
def test_rules(changes: dict[str, Any], level: str, said: str, beside: dict[str, Any]) -> None:
    found = verdict(**changes)
    assert found.level == level
    assert said in f"{found.sentence} {found.advice}"
    assert found.sentence.lower().startswith(f"{level}, because ")
    assert found.advice
    assert verdict(**beside).level == "usable"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"comparisons": []}, "not compared with the k-mer floor"),
        ({"leaks": None}, "it was not looked whether test windows are known"),
        ({"leaks": leaks(n_overlapping=101)}, "flatter"),
        ({"comparisons": [against("paper", -0.2, -0.001, -0.1)]}, "below paper"),
        ({"comparisons": [against("paper", -0.1, 0.1)]}, "not shown to differ from paper"),
        ({"comparisons": [against("paper", 0.001, 0.1)]}, "above paper"),
        ({"learning": Diagnosis("overfits", "Overfits: it does.")}, "“Overfits: it does”"),
        ({"learning": Diagnosis("improving", "Still improving: it does.")}, "“Still improving: it does”"),
    ],
)
def test_what_is_stated_only(changes: dict[str, Any], said: str) -> None:
    found = verdict(**changes)
    assert found.level == "usable"
    assert any(said in reason.text for reason in found.reasons)
    assert not any(said in reason.text for reason in verdict().reasons)


def test_leaks_say_nothing_on_a_pretrained_model_and_few_leaks_are_not_mentioned() -> None:
    assert verdict(model(kind="pretrained"), leaks=leaks(n_identical=9000)).level == "usable"
    assert verdict(model(kind="external"), leaks=leaks(n_identical=9000)).level == "usable"
    assert not any(reason.rule == "leaks" for reason in verdict(model(kind="pretrained"), leaks=None).reasons)
    said = [
        reason.text for reason in verdict(leaks=leaks(n_overlapping=100)).reasons if reason.rule == "leaks"
    ]
    assert len(said) == 1
    assert said[0].endswith(
        "100 of 10,000 test windows (1.0%) overlap, or share most of their sequence with, a training window"
    )


def test_better_scores_are_pointed_out() -> None:
    found = verdict(comparisons=[against("paper", -0.2, -0.001, -0.1)])
    assert found.advice.endswith("Better scores exist for these windows: paper.")
    two = [against(name, -0.2, -0.001, -0.1) for name in ("paper", "rival")]
    models = [model(), *(model(name, "external") for name in ("paper", "rival"))]
    found = verdict(comparisons=two, models=models)
    assert "Better" not in verdict(comparisons=[against("paper", -0.1, 0.1)]).advice
    assert found.advice.count("Better scores") == 1
    assert found.advice.endswith("for these windows: paper, rival.")


def test_the_worst_decides_and_what_cannot_be_told_comes_before_all() -> None:
    both = auroc(0.6, 0.55, 0.65)
    assert verdict(both, comparisons=[against("k-mers", -0.1, 0.1)]).sentence.count(";") == 1
    assert verdict(auroc(0.4, 0.35, 0.45), n_positive=5).level == "cannot tell"
    assert verdict(auroc(0.4, 0.35, 0.45)).level == "broken"


def test_a_weak_model_that_ranks_well_says_so() -> None:
    found = verdict(comparisons=[against("k-mers", -0.05, 0.15)])
    assert found.sentence == (
        "Weak, because AUROC is 0.850 [0.830, 0.870], but it is not shown to beat the k-mer floor "
        "(AUROC +0.100 [−0.050, +0.150])."
    )


def test_a_wide_interval_that_is_bad_throughout_is_told() -> None:
    assert verdict(auroc(0.53, 0.43, 0.64)).level == "broken"


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.5, 0.5, 0.5, "which cannot be told from guessing (0.5)"),
        (0.5, 0.45, 0.55, "which cannot be told from guessing (0.5)"),
        (0.45, 0.4, 0.55, "cannot be told from guessing (0.5); if anything, it ranks upside down"),
        (0.2, 0.15, 0.25, "it ranks upside down, closed windows above open ones"),
    ],
)
def test_what_does_not_rank_is_broken_however_right_its_probabilities_are(
    value: float, low: float, high: float, said: str
) -> None:
    found = verdict(auroc(value, low, high))
    assert found.level == "broken"
    assert said in found.sentence
    texts = " ".join(reason.text for reason in found.reasons)
    assert (
        "off by 0.020 on average (ECE), but as it is not shown to tell open windows from closed ones" in texts
    )
    assert "can be read as they are" not in texts
    assert "use it" not in found.advice.lower().replace("do not use it here", "")


def test_without_intervals_a_model_that_guesses_is_not_called_better_than_guessing() -> None:
    for value, said in (
        (0.5, "cannot be told from guessing"),
        (0.3, "upside down"),
        (0.6, "better than guessing"),
    ):
        found = verdict(auroc(value, None, None))
        assert found.level == "cannot tell"
        assert f"without intervals, so AUROC {value:.3f} may be luck" in found.sentence
        assert said in next(reason.text for reason in found.reasons if reason.rule == "ranking")


def test_a_pretrained_model_that_does_not_rank_has_no_mistake_to_look_for() -> None:
    measures = {"auroc": (0.17, 0.11, 0.24)}
    found = verdict(model(kind="pretrained", measures=measures))
    assert found.level == "broken"
    assert found.advice.startswith(
        "It knows what is open anywhere, not what is open in this line only: fine-tune it"
    )


def test_what_a_usable_verdict_rests_on_is_told() -> None:
    assert "`--train`" in verdict(leaks=None).advice
    assert "`--baseline kmer`" in verdict(comparisons=[]).advice
    assert "--" not in verdict().advice


def test_numbers_of_windows_are_not_more_precise_than_they_are() -> None:
    assert "about 240 windows" in verdict(n=231, n_positive=20, n_loci=21, mine=auroc(0.7, 0.6, 0.803)).advice
    assert "the test has only 1 locus, and" in verdict(n_loci=1).sentence
    assert "only 19 open windows and 2 loci" in verdict(n_positive=19, n_loci=2).sentence
    assert "AUROC is not in the evaluation" in verdict(model(measures={"auroc": (None, None, None)})).sentence


def test_calls_are_told_with_their_counts() -> None:
    found = verdict(model(tp=100, fn=2900, fp=10, tn=6990))
    assert (
        "calls nearly every window closed (100 of 3,000 open and 10 of 7,000 closed ones are called open)"
        in found.sentence
    )


def test_the_thresholds_in_the_documentation_are_those_of_the_rules() -> None:
    page = (Path(__file__).parents[1] / "docs" / "evaluation_report.md").read_text(encoding="utf-8")
    table = page.split("## The verdict")[1].split("## Size")[0]
    for said in (
        f"fewer than {rules.FEWEST} open windows, {rules.FEWEST} closed ones or {rules.FEWEST} loci",
        f"wider than {rules.WIDEST} and holds values below and above {rules.LOW_AUROC}",
        f"more than {rules.LEAKS_MANY:.0%} of".replace("%", " %"),
        f"| leaks | more than {rules.LEAKS_SOME:.0%} |".replace("%", " %"),
        f"lies below {rules.CHANCE} (upside down)",
        f"| ranking | AUROC below {rules.LOW_AUROC} | weak |",
        f"lies below 0, and AUROC is below {rules.LOW_AUROC} | broken",
        f"less than {rules.ONE_SIDED:.0%} of the open".replace("%", " %"),
        f"ECE above {rules.MISCALIBRATED}, and above {rules.BY_CHANCE} times",
    ):
        assert said in table
    named = set(re.findall(r"^\| (\w+) \|", table, re.MULTILINE)) - {"rule"}
    assert named == {rule.__name__ for rule in rules.RULES}
    assert re.findall(r"\*\*(.*?)\*\*", table)[:5] == list(rules.LEVELS)


def test_the_floor_is_not_compared_with_itself() -> None:
    found = verdict(model("k-mers", "kmer"), comparisons=[])
    assert found.level == "usable"
    assert "floor that the others must beat" in found.sentence


def test_right_probabilities_on_few_windows_are_not_called_off() -> None:
    """Of right probabilities, ECE on few windows is above 0.05 by chance; what is expected is what is drawn."""
    rng = np.random.default_rng(0)
    expected, drawn = [], []
    for _ in range(300):
        p = rng.random(200)
        y = (rng.random(200) < p).astype(int)
        bins = reliability(y, p)
        none = Calibration(
            method="none", ece=Measure(value=0), brier=Measure(value=0), log_loss=Measure(value=0), n=bins.n.tolist(),
            mean_predicted=bins.mean_predicted.tolist(), observed=bins.observed.tolist(),
        )  # fmt: skip
        expected.append(chance_ece(model(calibration=[none])))
        drawn.append(expected_calibration_error(y, p))
    assert np.mean(expected) == pytest.approx(np.mean(drawn), rel=0.05)
    assert np.mean(drawn) > 0.05
    few = [calibrated("none", 0.1).model_copy(update={"n": [40]})]  # chance makes 0.058 of it
    found = verdict(model(measures={"ece": (0.086, 0.086, 0.086)}, calibration=few))
    assert found.level == "usable"
    assert (
        "not shown to be off (calibration error ECE 0.086, of which chance makes about 0.058"
        in found.sentence
    )
    assert "Whether its probabilities are right would need more windows" in found.advice
    assert "Read its" not in found.advice
    found = verdict(model(measures={"ece": (0.088, 0.088, 0.088)}, calibration=few))
    assert found.level == "usable for ranking"
    one_bin = calibrated("none", 0.5)
    assert chance_ece(model(calibration=[one_bin])) == pytest.approx(math.sqrt(2 * 0.21 / (math.pi * 10000)))
    assert chance_ece(model()) == 0


def test_models_of_interest() -> None:
    def names(*kinds: str) -> list[str]:
        line = LineResult(
            line="A",
            n=1,
            n_positive=1,
            n_loci=1,
            models=[model(f"{i}", kind) for i, kind in enumerate(kinds)],
        )
        return [one.name for one in of_interest(line)]

    assert names("kmer", "given", "external", "fine-tuned") == ["1", "3"]
    assert names("kmer", "binary", "external") == ["1", "2"]
    assert names("kmer") == ["0"]


def test_headlines() -> None:
    def said(*found: tuple[str, str, str]) -> list[str]:
        return headlines([Verdict(line, name, level, "", "", ()) for line, name, level in found])  # type: ignore[arg-type]

    assert said(("A", "m", "weak"), ("B", "m", "usable"), ("C", "m", "weak")) == [
        "m: usable on 1 of 3 lines (B); weak on 2 of 3 lines (A, C)."
    ]
    assert said(("A", "m", "weak"), ("A", "o", "broken")) == ["m: weak on A.", "o: broken on A."]
    assert said(("A", "m", "weak"), ("B", "m", "weak")) == ["m: weak on all 2 lines."]
