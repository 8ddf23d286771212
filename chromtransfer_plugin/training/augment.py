"""Random shifts and reverse complements of training windows, on their base codes and on their device."""

from __future__ import annotations

import numpy as np
import torch

from chromtransfer_plugin.onehot import N_CODE

# Last words of the seeds used here, apart from those of `sampling`; a zero would be the generator of `epoch_order`.
_FLIP, _OFFSET = 3, 4


def draws(
    n: int, seed: int, epoch: int, reverse_complement: bool, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``n`` windows are reverse-complemented in an epoch, and how far each is shifted.

    The entry of window ``i`` is a pure function of (seed, epoch, i): of no other window, batch, worker or device.

    Parameters
    ----------
    n : int
        Number of windows.
    reverse_complement : bool
        If False no window is flipped, otherwise each with probability 1/2.
    shift : int
        Largest shift in bp to either side; each offset from -shift to shift is equally likely.

    Returns
    -------
    flip : numpy.ndarray (n,) bool
    offset : numpy.ndarray (n,) int64
    """
    flip = np.zeros(n, dtype=bool)
    offset = np.zeros(n, dtype=np.int64)
    if reverse_complement:
        flip = np.random.default_rng([seed, epoch, 0, _FLIP]).random(n) < 0.5
    if shift:
        offset = np.random.default_rng([seed, epoch, 0, _OFFSET]).integers(-shift, shift, n, endpoint=True)
    return flip, offset


def augment_codes(
    codes: torch.Tensor, flip: torch.Tensor | None, offset: torch.Tensor | None, flank: int
) -> torch.Tensor:
    """Crop windows out of their flanks, then reverse-complement some.

    Parameters
    ----------
    codes : torch.Tensor (B, L + 2 * flank) uint8
        Base codes, 4 = unknown, of windows and ``flank`` bp on either side.
    flip : torch.Tensor (B,) bool or None
        Windows to reverse-complement; None: none of them.
    offset : torch.Tensor (B,) int64 or None
        Shift in bp, from -flank to flank, positive towards higher coordinates; None: 0.
        An offset beyond the flank is an index out of range for torch.
    flank : int
        At least 0.

    Returns
    -------
    torch.Tensor (B, L) uint8
        On the device of ``codes``; ``codes`` itself, or a view of it, if there is nothing to do.
    """
    length = codes.shape[1] - 2 * flank
    if offset is not None and flank:
        index = torch.arange(flank, flank + length, device=codes.device) + offset[:, None]
        windows = codes.gather(1, index)
    else:
        windows = centre(codes, flank)
    if flip is None:
        return windows
    # uint8 wraps 3 - 4 to 255, which the maximum brings back to 4.
    return torch.where(flip[:, None], (3 - windows.flip(1)).clamp(max=N_CODE), windows)


def centre(codes: torch.Tensor, flank: int) -> torch.Tensor:
    """Windows without their flanks, for evaluation: (B, L + 2 * flank) -> (B, L), a view."""
    return codes[:, flank : codes.shape[1] - flank]
