"""How each result was made: commands, settings, versions, device, inputs and their hashes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chromtransfer_plugin.efficiency.record import EfficiencyRecord
from chromtransfer_plugin.evaluation.record import EvaluationRecord
from chromtransfer_plugin.evaluation_report.markup import details, escape, note, table
from chromtransfer_plugin.preparation.manifest import Manifest

Facts = Mapping[str, Any]


def run_part(
    evaluations: Sequence[tuple[str, EvaluationRecord]],
    efficiencies: Sequence[tuple[str, EfficiencyRecord]],
    datasets: Sequence[tuple[str, Manifest]],
    runs: Sequence[tuple[str, Facts]],
    missing: Sequence[str],
) -> str:
    """Write the section.

    Parameters
    ----------
    runs : sequence of (str, mapping)
        Training runs, and what their ``run.json`` holds; empty if they have none.
    missing : sequence of str
        Training runs that could not be shown.
    """
    parts = [_record("Evaluation", name, record) for name, record in evaluations]
    parts += [_record("Data efficiency", name, record) for name, record in efficiencies]
    parts += [_manifest(name, manifest) for name, manifest in datasets]
    parts += [_training(name, facts) for name, facts in runs]
    parts += [note(text) for text in missing]
    return "".join(parts)


def _record(what: str, name: str, record: EvaluationRecord | EfficiencyRecord) -> str:
    facts: dict[str, Any] = {"Genome": record.genome, "Device": record.device}
    if isinstance(record, EvaluationRecord):
        facts["Seconds"] = f"{record.seconds:,.0f}"
    return details(
        f"{what}: {escape(name)}",
        _command(record.command)
        + _facts("Where it ran", facts)
        + _facts("Settings", record.settings)
        + _facts("Versions", record.versions),
    )


def _manifest(name: str, manifest: Manifest) -> str:
    inputs = [
        [escape(file.role), escape(file.path), f"{file.bytes:,}", f"<code>{escape(file.sha256)}</code>"]
        for file in manifest.inputs
    ]
    files = [[escape(file), f"<code>{escape(sha256)}</code>"] for file, sha256 in manifest.files.items()]
    return details(
        f"Data set: {escape(name)}",
        table("Files that were read", ["For", "File", "Bytes", "SHA-256"], inputs, text=(1, 3))
        + table("Tables that were written", ["File", "SHA-256"], files, text=(1,))
        + _facts("Parameters", manifest.parameters)
        + _facts("Versions", manifest.versions),
    )


def _training(name: str, facts: Facts) -> str:
    if not facts:
        return details(f"Training run: {escape(name)}", note("It has no run.json."))
    rest = {
        key: value for key, value in facts.items() if key not in ("command", "settings", "versions", "card")
    }
    card = facts.get("card")
    return details(
        f"Training run: {escape(name)}",
        _command(facts.get("command"))
        + _facts("Where and on what it ran", rest)
        + (_facts("Model", card) if isinstance(card, Mapping) else "")
        + "".join(
            _facts(key.capitalize(), facts[key])
            for key in ("settings", "versions")
            if isinstance(facts.get(key), Mapping)
        ),
    )


def _command(command: Any) -> str:
    if not isinstance(command, list) or not command:
        return ""
    words = [Path(str(command[0])).name, *map(str, command[1:])]
    return f"<pre><code>{escape(shlex.join(words))}</code></pre>\n"


def _facts(caption: str, facts: Facts) -> str:
    rows = [[escape(key), escape(_text(value))] for key, value in facts.items()]
    return table(caption, ["", ""], rows, text=(1,), stack=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
