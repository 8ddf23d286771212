"""Scores looked up in tables and summarised at once, against sums and maxima written out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from motif_cases import COUNTS

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.motif_tables import summarise
from chromtransfer_plugin.models.substitutions import Substitutions, TogetherSubstituted


def example(n: int = 5, length: int = 40, k: int = 3, columns: int = 14):
    rng = np.random.default_rng(1)
    tables = rng.normal(size=(k * 20, columns)).astype(np.float32)
    tables[:, 3] = -1  # never above 0
    rows = (rng.integers(0, 20, (n, length, k)) + 20 * np.arange(k)).astype(np.int32)
    return torch.from_numpy(rows), torch.from_numpy(tables)


@pytest.mark.parametrize(
    ("start", "low", "high"), [(10, 17, 23), (10, 0, 0), (0, 0, 5), (15, 36, 40), (20, 12, 18), (3, 0, 40)]
)
@pytest.mark.parametrize("k", [1, 3])
def test_summaries_are_those_of_the_scores_written_out(start, low, high, k):
    rows, tables = example(k=k)
    scores = tables.numpy()[rows.numpy()].sum(axis=2, dtype=np.float64)
    outside = np.maximum(scores, 0)
    outside[:, low:high] = 0
    best, centre, total, kept = (part.numpy() for part in summarise(rows, tables, start, low, high))
    np.testing.assert_allclose(best, outside.max(axis=1), rtol=1e-6)
    wanted = outside[:, start : 40 - start].max(axis=1) if start < 20 else np.zeros_like(best)
    np.testing.assert_allclose(centre, wanted, rtol=1e-6)
    np.testing.assert_allclose(total, outside.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(kept, scores[:, low:high], rtol=1e-5, atol=1e-6)
    assert (best[:, 3] == 0).all()


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_share_the_sequences_and_change_no_bit(threads):
    rows, tables = example()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        wanted = summarise(rows, tables, 10, 17, 23)
        torch.set_num_threads(threads)
        found = summarise(rows, tables, 10, 17, 23)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other in zip(wanted, found, strict=True):
        assert torch.equal(one, other)


def test_no_sequences():
    rows, tables = example()
    shapes = [tuple(part.shape) for part in summarise(rows[:0], tables, 10, 17, 23)]
    assert shapes == [(0, 14), (0, 14), (0, 14), (0, 6, 14)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_show_in_the_logits(value):
    torch.manual_seed(1)
    model = ChromTransfer(trunk="motifs", motifs=COUNTS, head=(4,), head_bn=False).eval()
    next(iter(model.trunk.bank)).conv.weight.data[0, 0, 0] = value
    codes = torch.zeros(2, 60, dtype=torch.uint8)
    copies = Substitutions(29, torch.tensor([0]), torch.tensor([2], dtype=torch.uint8))
    with torch.inference_mode():
        (logits,) = TogetherSubstituted([model])(codes, copies)
    assert not torch.isfinite(logits).any()


def test_without_a_folder_for_machine_code_it_is_compiled_anew(tmp_path):
    """numba refuses to cache where it cannot write; that must not stop anyone."""
    script = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"  # no place is good enough
        "import torch\n"
        "from chromtransfer_plugin.models.motif_tables import summarise\n"
        "rows = torch.zeros(1, 3, 1, dtype=torch.int32)\n"
        "print(summarise(rows, torch.ones(1, 2), 0, 0, 0)[2].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[[3.0, 3.0]]\n"), done.stderr
