"""The learning rate of every step: warm-up, cosine, and Keras' reduction on a plateau."""

from __future__ import annotations

import math

from chromtransfer_plugin.defaults import Training
from chromtransfer_plugin.errors import ChromTransferError


class LearningRate:
    """Factor of the learning rate at each step.

    It depends on the step and, on a plateau, on the losses of the finished epochs; both survive in :meth:`state`.

    Parameters
    ----------
    settings : Training
        ``schedule``, ``warmup_epochs`` and ``plateau_*``.
    steps_per_epoch : int
    total_epochs : int
        Where the cosine ends.

    Notes
    -----
    The plateau is Keras' ReduceLROnPlateau (``mode="min"``, cooldown 0, no floor; spec 2.3): after ``patience`` epochs in
    a row without ``loss < best - min_delta`` the rate is multiplied. torch's class of the same name waits one epoch
    longer for the same ``patience``, and ignores reductions by less than 1e-8.

    Raises
    ------
    ChromTransferError
        If the warm-up takes the whole run.
    """

    def __init__(self, settings: Training, steps_per_epoch: int, total_epochs: int) -> None:
        self.settings = settings
        self._warmup = round(settings.warmup_epochs * steps_per_epoch)
        self._total = total_epochs * steps_per_epoch
        if self._warmup >= self._total:
            raise ChromTransferError(
                f"training: warmup_epochs={settings.warmup_epochs:g} is not shorter than the run of {total_epochs} "
                "epochs. Lower warmup_epochs or raise max_epochs."
            )
        self.new_phase()

    def new_phase(self) -> None:
        """Forget the reductions of the phase before; warm-up and cosine span the whole run."""
        self._best = math.inf
        self._wait = 0
        self._reductions = 0

    def factor(self, step: int) -> float:
        """Multiplier of the learning rate for a step, 0-based.

        The warm-up of W steps rises from 1/W to 1. The cosine falls from 1 to 0 over the remaining steps and
        would reach 0 one step after the last: no step is wasted.
        """
        if step < self._warmup:
            shape = (step + 1) / self._warmup
        elif self.settings.schedule == "cosine":
            done = min(1.0, (step - self._warmup) / (self._total - self._warmup))
            shape = (1 + math.cos(math.pi * done)) / 2
        else:
            shape = 1.0
        return shape * self.settings.plateau_factor**self._reductions

    def after_epoch(self, monitored: float) -> None:
        """Take note of the loss (with its L2 penalty, as Keras monitors it) after an epoch."""
        if self.settings.schedule != "plateau":
            return
        if monitored < self._best - self.settings.plateau_min_delta:
            self._best, self._wait = monitored, 0
            return
        self._wait += 1
        if self._wait >= self.settings.plateau_patience:
            self._reductions, self._wait = self._reductions + 1, 0

    def state(self) -> dict[str, float | int]:
        """What :meth:`restore` needs; strict JSON (no ``best`` before the first finite loss)."""
        state: dict[str, float | int] = {"wait": self._wait, "reductions": self._reductions}
        return state | ({"best": self._best} if math.isfinite(self._best) else {})

    def restore(self, state: dict[str, float | int]) -> None:
        """Go on from a :meth:`state`."""
        self._best = float(state.get("best", math.inf))
        self._wait, self._reductions = int(state["wait"]), int(state["reductions"])
