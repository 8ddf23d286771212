"""Verdicts in words: is a model usable on a line, why, and what to do next.

The rules are in :mod:`~chromtransfer_plugin.evaluation_report.rules`. Each looks at one thing and may find something that
limits the level; the verdict is the worst level that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chromtransfer_plugin.evaluation.record import EvaluationRecord, LineResult, ModelResult
from chromtransfer_plugin.evaluation_report.rules import FLOOR, LEVELS, RULES, Case, Finding, Level
from chromtransfer_plugin.learning_curves import Diagnosis

_USE_IT = "Use it: rank windows by it, call open above 0.5."
_RANKS = ("ranking", "floor")  # rules that say how well a model ranks
_OF_INTEREST = ("given", "fine-tuned")


class Verdict(NamedTuple):
    """What is thought of one model on one line.

    Attributes
    ----------
    line, model : str
    level : str
        One of :data:`~chromtransfer_plugin.evaluation_report.rules.LEVELS`.
    sentence : str
        The level and what decided it.
    advice : str
        What to do next.
    reasons : tuple of Finding
        All that was found, what decided first.
    evaluation : str
        What the evaluation is called on the page; empty where only one record was judged.
    """

    line: str
    model: str
    level: Level
    sentence: str
    advice: str
    reasons: tuple[Finding, ...]
    evaluation: str = ""


def judge(
    record: EvaluationRecord, line: LineResult, model: ModelResult, learning: Diagnosis | None = None
) -> Verdict:
    """Judge one model on one line.

    Parameters
    ----------
    record : EvaluationRecord
        Of which ``line`` is part.
    line : LineResult
        Of which ``model`` is part.
    model : ModelResult
    learning : Diagnosis, optional
        What the learning curves of its training run show.
    """
    case = Case(record, line, model, learning)
    found = [finding for rule in RULES for finding in rule(case)]
    # The sort is stable: among equals the order of the rules decides.
    found.sort(key=lambda finding: -LEVELS.index(finding.level))
    level = found[0].level
    deciding = [finding for finding in found if finding.level == level]
    sentence = f"{level[0].upper()}{level[1:]}, because {_because(level, found)}."
    advice = " ".join(dict.fromkeys(finding.advice for finding in deciding if finding.advice))
    if level == "usable":
        advice = f"{_USE_IT} {advice}".strip()
    return Verdict(line.line, model.name, level, sentence, advice, tuple(found))


def _because(level: Level, found: Sequence[Finding]) -> str:
    """Name what decided; where the level is good, also how good it ranks."""
    deciding = [finding.text for finding in found if finding.level == level and finding.rule not in _RANKS]
    ranks = [finding.text for finding in found if finding.rule in _RANKS]
    if level == "usable":
        return "; ".join(ranks + [finding.text for finding in found if finding.rule == "calibration"])
    if level == "usable for ranking":
        return f"{'; '.join(ranks)}; but {'; '.join(deciding)}"
    deciding = [finding.text for finding in found if finding.level == level]
    good = [finding.text for finding in found if finding.rule == "ranking" and finding.level == "usable"]
    return f"{good[0]}, but {'; '.join(deciding)}" if level == "weak" and good else "; ".join(deciding)


def of_interest(line: LineResult) -> list[ModelResult]:
    """Choose the models that the verdict is about: given and fine-tuned ones; if there is none, all but the floor."""
    chosen = [model for model in line.models if model.kind in _OF_INTEREST]
    return chosen or [model for model in line.models if model.kind != FLOOR] or list(line.models)


def headlines(verdicts: Sequence[Verdict]) -> list[str]:
    """Sum up, a line for each model: ``zoo: usable on 2 of 3 lines (A549, K562); weak on 1 of 3 lines (MCF7).``."""
    found = []
    for model in dict.fromkeys(verdict.model for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.model == model]
        parts = []
        for level in LEVELS:
            lines = [verdict.line for verdict in own if verdict.level == level]
            if len(lines) == len(own):
                where = lines[0] if len(lines) == 1 else f"all {len(lines)} lines"
                parts.append(f"{level} on {where}")
            elif lines:
                parts.append(f"{level} on {len(lines)} of {len(own)} lines ({', '.join(lines)})")
        found.append(f"{model}: {'; '.join(parts)}.")
    return found
