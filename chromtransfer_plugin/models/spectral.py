"""Convolutions of short pieces of sequence as products in the frequency domain, with few and large matrix products.

A trunk's kernels of 5 to 20 taps cost a direct convolution as many multiplications per position, input and output
channel. Cut into tiles, transformed by a discrete Fourier transform (real, so about three real products per pair of
frequencies), multiplied and put together again, they cost about two, plus the transforms. The result is the same up to
rounding, and everything is a product of dense matrices, because the positions are the outermost axis in memory.
"""

from __future__ import annotations

from functools import cache

import torch

_SIZES = (12, 16, 20, 24, 28, 32, 40, 48, 64)  # of transforms
# The cost of reading and writing one number between the products, in multiplications; measured on a server core.
_TRAFFIC = 16


@cache
def _transforms(size: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrices (n_points, size) from a tile to its points and (size, n_points) back from products at the points.

    The points are the frequency 0, for an even size the highest one, and for every other frequency its real part plus
    its imaginary part, its real part, and its imaginary part: Gauss's three products of two complex numbers.
    """
    j = torch.arange(size, dtype=torch.float64)
    forth, back = [torch.ones(1, size, dtype=torch.float64)], [torch.ones(size, 1, dtype=torch.float64)]
    if size % 2 == 0:
        signs = 1.0 - 2.0 * (j % 2)
        forth.append(signs[None])
        back.append(signs[:, None])
    for frequency in range(1, (size + 1) // 2):
        angle = 2 * torch.pi * frequency * j / size
        cos, sin = angle.cos(), angle.sin()
        forth.append(torch.stack([cos - sin, cos, -sin]))
        back.append(torch.stack([2 * (cos - sin), -2 * sin, -2 * cos], dim=1))
    pair = torch.cat(forth), torch.cat(back, dim=1) / size
    return pair[0].to(device, dtype), pair[1].to(device, dtype)


def _n_points(size: int) -> int:
    return 2 + 3 * (size // 2 - 1) if size % 2 == 0 else 1 + 3 * (size // 2)


class SpectralKernel:
    """The kernel of a 'same' convolution, ready to be applied to changes of a few positions.

    Parameters
    ----------
    weight : torch.Tensor
        (out_channels, in_channels, taps), as of ``nn.Conv1d``.
    scale : torch.Tensor or None
        (in_channels,): the input is to be multiplied by it.

    Attributes
    ----------
    left, right : int
        How many positions before and after a changed input position the output changes: an even kernel is padded
        with one zero less on the left, so it reaches one position further to the left.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor | None = None) -> None:
        taps = weight.detach().double().permute(2, 1, 0).flip(0)
        self._taps = taps if scale is None else taps * scale.double()[:, None]
        self._dtype = weight.dtype
        self._spectra: dict[int, torch.Tensor] = {}
        self.n_taps, self.in_channels, self.out_channels = taps.shape
        self.left, self.right = self.n_taps // 2, (self.n_taps - 1) // 2

    def spectrum(self, size: int) -> torch.Tensor:
        """(n_points, in_channels, out_channels) factors of the points of :func:`_transforms`."""
        if size not in self._spectra:
            # The frequencies of the kernel from those of the impulse; real + imaginary, real, imaginary points.
            points = _transforms(size, torch.float64, self._taps.device)[0][:, : self.n_taps]
            values = torch.einsum("pt,tio->pio", points, self._taps)
            first = 1 + (size % 2 == 0)
            real, imaginary = values[first + 1 :: 3].clone(), values[first + 2 :: 3].clone()
            values[first::3], values[first + 1 :: 3], values[first + 2 :: 3] = (
                real,
                imaginary - real,
                real + imaginary,
            )
            self._spectra[size] = values.to(self._dtype)
        return self._spectra[size]


@cache
def _best_size(rows: int, taps: int, in_channels: int, out_channels: int) -> int:
    """Size of transform with the least work for an input of so many positions."""

    def cost(size: int) -> float:
        tiles = -(-rows // (size - taps + 1))
        product = tiles * in_channels * out_channels
        transforms = rows * in_channels + (rows + tiles * (taps - 1)) * out_channels
        traffic = _TRAFFIC * tiles * (in_channels + out_channels)
        return _n_points(size) * (product + transforms + traffic)

    return min((size for size in _SIZES if size >= taps), key=cost)


def add_convolutions(
    X: torch.Tensor, kernels: list[SpectralKernel], outputs: list[torch.Tensor], skip: int
) -> None:
    """Add the convolutions of one input with several kernels to what stands in their outputs.

    Parameters
    ----------
    X : torch.Tensor
        (rows, B, in_channels), contiguous; zero outside of these rows.
    kernels : list of SpectralKernel
        With the same number of taps.
    outputs : list of torch.Tensor
        For each kernel (out_rows, B, out_channels), contiguous. The full result has ``rows + taps - 1`` rows, of which
        those from ``skip`` on are added.
    skip : int
    """
    rows, _, channels = X.shape
    taps = kernels[0].n_taps
    size = _best_size(rows, taps, channels, sum(kernel.out_channels for kernel in kernels))
    forth, back = _transforms(size, X.dtype, X.device)
    step = size - taps + 1
    starts = range(0, rows, step)
    flat = X.view(rows, -1)
    points = X.new_empty(len(forth), len(starts), flat.shape[1])
    for tile, start in enumerate(starts):
        part = flat[start : start + step]
        torch.mm(forth[:, : len(part)], part, out=points[:, tile])
    points = points.view(len(forth), -1, channels)
    for kernel, output in zip(kernels, outputs, strict=True):
        products = torch.bmm(points, kernel.spectrum(size)).view(len(forth), len(starts), -1)
        target = output.view(len(output), -1)
        for tile, start in enumerate(starts):
            low = max(start, skip)
            # The last tile may be shorter than the others: what would follow it is zero.
            high = min(start + size, skip + len(output), rows + taps - 1)
            if low < high:
                target[low - skip : high - skip].addmm_(back[low - start : high - start], products[:, tile])
