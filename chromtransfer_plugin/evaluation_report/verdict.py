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

_USE_IT = "Use it: rank windows by it, read its probabilities as they are, call open above 0.5."
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
    """

    line: str
    model: str
    level: Level
    sentence: str
    advice: str
    reasons: tuple[Finding, ...]


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
    texts = [finding.text for finding in deciding[: 3 if level == "usable" else 2]]
    sentence = f"{level[0].upper()}{level[1:]}, because {'; '.join(texts)}."
    advice = " ".join(dict.fromkeys(finding.advice for finding in deciding if finding.advice))
    if level == "usable":
        advice = f"{_USE_IT} {advice}".strip()
    return Verdict(line.line, model.name, level, sentence, advice, tuple(found))


def of_interest(line: LineResult) -> list[ModelResult]:
    """Choose the models that the verdict is about: given and fine-tuned ones; if there is none, all but the floor."""
    chosen = [model for model in line.models if model.kind in _OF_INTEREST]
    return chosen or [model for model in line.models if model.kind != FLOOR] or list(line.models)


def headline(verdicts: Sequence[Verdict]) -> str:
    """Sum up many verdicts in a line, the best first: ``Usable: 4 of 6. Weak: 2 of 6 (MCF7, A549).``."""
    parts = []
    several = len({verdict.model for verdict in verdicts}) > 1
    for level in LEVELS:
        names = [f"{v.line} {v.model}" if several else v.line for v in verdicts if v.level == level]
        if names:
            shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            parts.append(f"{level[0].upper()}{level[1:]}: {len(names)} of {len(verdicts)} ({shown}).")
    return " ".join(parts)
