"""docs/transfer.md: its examples run, and its numbers are true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from transfer_cases import LEVELS, pretrained, training

from chromtransfer_plugin.checkpoint import Card, save_model
from chromtransfer_plugin.defaults import FINETUNE, FROZEN, HEADS, Training
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.transfer import apply_phase, attach_adapters, load_adapter_file, phases

TEXT = (Path(__file__).parents[1] / "docs/transfer.md").read_text()


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


def test_every_mode_has_a_row_and_an_example_that_is_valid():
    modes = set(get_args(Training.model_fields["trainable"].annotation))
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == modes | {"trainable"}
    shown = set()
    for example in yaml.safe_load_all(block("yaml")):
        base = {"finetune": FINETUNE, "frozen": FROZEN}[example.pop("protocol")]
        assert example.pop("upto", "stem") in LEVELS
        shown.add(Training(**{**base.model_dump(), **example}).trainable)
    assert shown == modes
    assert ", ".join(f"`{level}`" for level in LEVELS) in TEXT


@pytest.mark.parametrize("mode", get_args(Training.model_fields["trainable"].annotation))
def test_numbers_of_parameters(mode):
    model, settings = ChromTransfer(**HEADS["finetune"].model_dump()), training(mode)
    if mode in ("lora", "ia3"):
        attach_adapters(model.trunk, mode, settings.adapter_rank)
    apply_phase(model, phases(model, settings)[-1], settings)
    n = sum(p.numel() for p in model.parameters() if p.requires_grad)
    row = re.search(rf"^\| `{mode}` \|.*$", TEXT, re.MULTILINE)[0]
    assert f"{n:,}" in row


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = pretrained()
    save_model(source, "runs/pretrain/best_model", Card(architecture=source.architecture, outputs=["open"]))
    names: dict = {}
    exec(block("python"), names)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(
        "transfer from runs/pretrain/best_model: 142 tensors transferred, 4 new, 4 trainable"
    )
    # After one step B has moved and with it every kernel; nothing else of the trunk has.
    assert "25 of 146 tensors moved (compared bit for bit)" in out
    assert out[-1] == "  head: all weights moved"
    assert "  trunk stem: 1 of 4 weights moved, no batch-norm statistics moved" in out
    base = names["ChromTransfer"](width=0.125, head=(16,), head_bn=False)
    base.trunk.load_state_dict(source.trunk.state_dict())
    assert load_adapter_file(base, "adapters.safetensors")["kind"] == "lora"
