"""Plain messages under other projects' executables, and nothing changed anywhere else."""

from __future__ import annotations

import sys
import warnings

import pytest

from chromtransfer_plugin import friendly
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError


@pytest.fixture
def hooks(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    return monkeypatch


@pytest.mark.parametrize(
    "program", ["/usr/bin/kipoi", "/lib/site-packages/kipoi/__main__.py", "/bin/selene_sdk"]
)
def test_friendly_messages_under_the_executables(hooks, capsys, program):
    hooks.setattr(sys, "argv", [program])
    friendly.install()
    hook = sys.excepthook
    friendly.install()
    assert sys.excepthook is hook
    error = ChromTransferError("genome.fa: no such file.")
    hook(type(error), error, None)
    assert capsys.readouterr().err == "Error: genome.fa: no such file.\n"
    hook(KeyError, KeyError("other"), None)
    assert "KeyError: 'other'" in capsys.readouterr().err
    assert warnings.formatwarning("m", friendly.ChromTransferWarning, "f", 1) == "Warning: m\n"
    assert warnings.formatwarning("m", UserWarning, "f", 1, "") == "f:1: UserWarning: m\n"


@pytest.mark.parametrize("program", ["/usr/bin/pytest", "", "/home/kipoi/script.py"])
def test_other_programs_keep_their_hooks(hooks, program):
    hooks.setattr(sys, "argv", [program])
    friendly.install()
    assert sys.excepthook is sys.__excepthook__


def test_our_own_command_warns_in_one_line(hooks):
    hooks.setattr(sys, "argv", ["/usr/bin/chromtransfer"])
    main(["configs", "list"], standalone_mode=False)
    assert warnings.formatwarning("m", friendly.ChromTransferWarning, "f", 1) == "Warning: m\n"
