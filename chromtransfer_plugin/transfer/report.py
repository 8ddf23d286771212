"""Which tensors of a network moved, bit for bit: the proof that what was frozen stayed frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

import torch

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import BANK, HEAD, LEVELS, level_of

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Moved(NamedTuple):
    """Names of the tensors of which some bit changed, and of the others, each in the model's order."""

    moved: list[str]
    unmoved: list[str]

    def summary(self) -> str:
        """A few lines for the run log; neighbouring levels of which the same can be said share one."""
        n = len(self.moved) + len(self.unmoved)
        lines = [f"{len(self.moved)} of {n} tensors moved (compared bit for bit)"]
        by_level = [(level, self._of(level)) for level in (*LEVELS, BANK, HEAD)]
        told = [(level, text) for level, text in by_level if text]
        for (_, text), run in groupby(told, key=lambda item: (item[0] == HEAD, item[1])):
            levels = [level for level, _ in run]
            title = levels[0] if len(levels) == 1 else f"{levels[0]} to {levels[-1]}"
            lines.append(f"  {title if levels[0] == HEAD else f'trunk {title}'}: {text}")
        return "\n".join(lines)

    def _of(self, level: str) -> str:
        moved, unmoved = ([n for n in names if level_of(n) == level] for names in self)
        kinds = {"weights": False, "batch-norm statistics": True}
        shares = {
            kind: _share(
                sum(name.endswith(_STATISTICS) == statistics for name in moved),
                sum(name.endswith(_STATISTICS) == statistics for name in unmoved),
            )
            for kind, statistics in kinds.items()
        }
        return ", ".join(f"{share} {kind} moved" for kind, share in shares.items() if share)


def _share(moved: int, unmoved: int) -> str:
    if moved + unmoved == 0:
        return ""
    return "no" if moved == 0 else "all" if unmoved == 0 else f"{moved} of {moved + unmoved}"


def what_moved(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> Moved:
    """Compare two state dicts of one network bit for bit, parameters and buffers.

    Parameters
    ----------
    before, after : mapping of str to torch.Tensor
        State dicts; ``before`` must be a copy, since ``state_dict()`` shares the model's memory.

    Raises
    ------
    ChromTransferError
        If a name is in one of them only, or a tensor changed its shape or type.
    """
    for name in [*before, *after]:
        if name not in before or name not in after:
            where = "after" if name in before else "before"
            raise ChromTransferError(
                f"what_moved: '{name}' is missing {where} training: merge or detach adapters before comparing."
            )
    moved = [name for name in before if not _same_bits(before[name], after[name], name)]
    return Moved(moved, _without(before, moved))


def _without(names: Iterable[str], left_out: Iterable[str]) -> list[str]:
    out = set(left_out)
    return [name for name in names if name not in out]


def _same_bits(a: torch.Tensor, b: torch.Tensor, name: str) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ChromTransferError(
            f"what_moved: '{name}' was {tuple(a.shape)} {a.dtype} and is {tuple(b.shape)} {b.dtype} now."
        )
    # As bytes: NaN equals itself then, and -0 is not +0.
    left, right = (t.detach().cpu().contiguous().flatten().view(torch.uint8) for t in (a, b))
    return torch.equal(left, right)
