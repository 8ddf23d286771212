"""On a card every method of attribution gives the processor's numbers."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from chromtransfer_plugin.attribution.methods import attribute_codes
from chromtransfer_plugin.attribution.settings import MethodName, Settings
from chromtransfer_plugin.models.chromtransfer import ChromTransfer


@pytest.mark.gpu
@pytest.mark.parametrize("method", get_args(MethodName))
def test_a_card_gives_the_processors_scores(method: MethodName) -> None:
    torch.manual_seed(0)
    model = ChromTransfer(width=0.25, head=(8,)).eval()
    codes = np.random.default_rng(0).integers(0, 5, (3, 300)).astype(np.uint8)
    settings = Settings(method=method, steps=5, references=3)
    here, there = (
        attribute_codes(model, codes, settings, device=device, hypothetical=True)
        for device in ("cpu", "cuda")
    )
    for cpu, card in zip(here, there, strict=True):
        np.testing.assert_allclose(card, cpu, atol=1e-4 * np.abs(cpu).max())
