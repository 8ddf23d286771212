"""Test models of a zoo: our own checks, and the official ``kipoi test``."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chromtransfer_plugin import commands
from chromtransfer_plugin.checkpoint import LoadedModel, load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.kipoi.description import EXPECTATION
from chromtransfer_plugin.kipoi.example import check_expectation
from chromtransfer_plugin.kipoi.group import TABLE, VARIANT_EFFECTS, check_group_names, listed
from chromtransfer_plugin.zoo.card import printable
from chromtransfer_plugin.zoo.listing import aligned
from chromtransfer_plugin.zoo.source import ZooEntry, existing_source, get_entry, search_path, verify

CHECKS = ("files", "loads", "predicts", "listed", "kipoi", "veff")


class ModelTest(NamedTuple):
    """Outcome of the tests of one model.

    Attributes
    ----------
    name : str
        Full name.
    outcome : dict of str to str
        For each of :data:`CHECKS` ``ok``, ``FAILED``, or ``-`` where it was not reached or not asked for: the files are
        complete and the weights fit their SHA-256; the network can be built and loaded; it gives the expected
        probabilities to 1e-5; the tables of its group have it; ``kipoi test`` passes, and does so for its
        variant-effect side, which a model outside any group does not have.
    remarks : list of str
        What failed, and why something was left out.
    """

    name: str
    outcome: dict[str, str]
    remarks: list[str]

    @property
    def passed(self) -> bool:
        """Nothing failed."""
        return "FAILED" not in self.outcome.values()


def check_models(
    names: Sequence[str | Path] = (), source: str | Path | None = None, *, with_kipoi: bool = True
) -> list[ModelTest]:
    """Test models, all of them even if one fails.

    Parameters
    ----------
    names : sequence of str or path
        Names or folders of models; empty: every model of the source, or of all that names are looked up in.
    source : path, optional
        As :func:`~chromtransfer_plugin.zoo.source.get_entry`.
    with_kipoi : bool
        Run ``kipoi test`` too, if Kipoi is installed, and for the variant-effect side if kipoiseq is. Either takes
        some seconds for each model.

    Raises
    ------
    ChromTransferError
        If a name is unknown or there is nothing to test.
    """
    if names:
        entries = [get_entry(name, source) for name in names]
    else:
        places = search_path() if source is None else [existing_source(source)]
        entries = [entry for place in places for entry in place.entries()]
    if not entries:
        raise ChromTransferError("there are no models to test.")
    return [check_entry(entry, with_kipoi=with_kipoi) for entry in entries]


def check_entry(entry: ZooEntry, *, with_kipoi: bool = True) -> ModelTest:
    """Test one model; see :class:`ModelTest`."""
    outcome, remarks = dict.fromkeys(CHECKS, "-"), []
    try:
        loaded: list[LoadedModel] = []
        for check, step in (
            ("files", lambda: _files(entry)),
            ("loads", lambda: loaded.append(load_model(entry.folder))),
            ("predicts", lambda: check_expectation(entry.folder / EXPECTATION, *loaded[0])),
            ("listed", lambda: _listed(entry)),
        ):
            outcome[check] = "FAILED"
            step()
            outcome[check] = "ok"
    except ChromTransferError as error:
        remarks.append(str(error))
    if with_kipoi and outcome["listed"] == "ok":
        if Path(sys.executable).with_name("kipoi").exists():
            for check, folder in _kipoi_folders(entry):
                said = _kipoi_test(folder)
                outcome[check] = "FAILED" if said else "ok"
                remarks += [said] if said else []
        else:
            remarks.append("`kipoi` is not installed: `kipoi test` was not run.")
    return ModelTest(entry.name, outcome, remarks)


def _files(entry: ZooEntry) -> None:
    problem = verify(entry)
    if problem:
        raise ChromTransferError(problem)


def _listed(entry: ZooEntry) -> None:
    if not entry.group:
        return
    check_group_names(entry.folder.name, entry.group)
    for group in (entry.folder.parent, _variant_effects(entry).parent):
        if entry.folder.name not in listed(group):
            raise ChromTransferError(
                f"{group / TABLE}: does not have {entry.folder.name}, so Kipoi cannot find it. Write it "
                f"again: chromtransfer zoo card {entry.folder} --rebuild"
            )


def _variant_effects(entry: ZooEntry) -> Path:
    """By which folder, that need not exist, Kipoi knows the variant-effect side of a model of a group."""
    group = entry.folder.parent
    return group.with_name(f"{group.name}{VARIANT_EFFECTS}") / entry.folder.name


def _kipoi_folders(entry: ZooEntry) -> list[tuple[str, Path]]:
    """Give the checks that ``kipoi test`` makes, and of which folder."""
    found = [("kipoi", entry.folder)]
    if entry.group and importlib.util.find_spec("kipoiseq"):
        found.append(("veff", _variant_effects(entry)))
    return found


def _kipoi_test(folder: Path) -> str:
    """Run the official executable; return what went wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "kipoi.log"
        try:
            # From another folder, as a user would: every path must be found from anywhere.
            commands.run("kipoi", "test", str(folder.resolve()), "--source=dir", cwd=Path(temporary), log=log)
        except ChromTransferError:
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
            said = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "")
            return f"`kipoi test {folder}` failed{': ' + said if said else '; its message is above'}"
    return ""


def checks_text(tests: Sequence[ModelTest]) -> str:
    """Write outcomes as a table, remarks below it."""
    rows = [("model", *CHECKS), *((test.name, *test.outcome.values()) for test in tests)]
    remarks = [f"  {test.name}: {remark}" for test in tests for remark in test.remarks]
    failed = sum(not test.passed for test in tests)
    verdict = f"{failed or len(tests)} of {len(tests)} models {'FAILED' if failed else 'passed'}"
    return printable("\n".join([aligned(rows), *remarks, verdict]))
