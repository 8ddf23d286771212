"""Adapter files: a few kilobytes that, with the network they were trained on, give the adapted one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

import chromtransfer_plugin
from chromtransfer_plugin.checkpoint import load_state
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.models.chromtransfer import HEAD, ChromTransfer
from chromtransfer_plugin.transfer.adapters import (
    LowRank,
    adapter_state,
    adapters_of,
    attach_adapters,
    base_state,
    detach_adapters,
    load_adapters,
)

_FORMAT = "chromtransfer-adapters-1"


def base_sha256(module: nn.Module) -> str:
    """SHA-256 of what an adapter file leaves out: names, shapes and bytes of the frozen network.

    Of a ChromTransfer that is its trunk, since the file holds the head; of any other module, all but the adapters.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(base_state(module).items()):
        if isinstance(module, ChromTransfer) and name.startswith(f"{HEAD}."):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_adapters(module: nn.Module, path: str | Path, **facts: str) -> Path:
    """Write adapters, and the head if ``module`` is a ChromTransfer, to a safetensors file.

    Parameters
    ----------
    module : nn.Module
        Carries adapters of one kind, rank and alpha.
    path : path
        Replaced in one go when complete; its folder must exist.
    **facts : str
        More metadata, such as what it was trained on.

    Raises
    ------
    ChromTransferError
        If there are no adapters, they differ in kind, rank or alpha, or the file cannot be written.
    """
    adapters = adapters_of(module)
    kinds = {adapter.description() for adapter in adapters.values()}
    if len(kinds) != 1:
        raise ChromTransferError(
            f"{path}: expected adapters of one kind to save, the network carries {', '.join(sorted(kinds)) or 'none'}."
        )
    first = next(iter(adapters.values()))
    low_rank = {"rank": str(first.rank), "alpha": repr(first.alpha)} if isinstance(first, LowRank) else {}
    metadata = {
        **facts,
        "format": _FORMAT,
        "kind": first.kind,
        **low_rank,
        "layers": "\n".join(adapters),
        "base_sha256": base_sha256(module),
        "created_by": f"chromtransfer-plugin {chromtransfer_plugin.__version__}",
    }
    tensors = {f"adapter.{name}": tensor for name, tensor in adapter_state(module).items()}
    if isinstance(module, ChromTransfer):
        tensors |= {f"{HEAD}.{name}": tensor for name, tensor in module.head.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
    return Path(path)


def load_adapter_file(module: nn.Module, path: str | Path) -> dict[str, str]:
    """Attach the adapters of a file to the network they were trained on, and load its head.

    Parameters
    ----------
    module : nn.Module
        Without adapters; changed in place. Its kernels and statistics must be those of the training, bit for bit
        (for a ChromTransfer those of the trunk; its head must have the sizes of the file's).

    Returns
    -------
    dict
        The file's metadata.

    Raises
    ------
    ChromTransferError
        If the file is missing, damaged or no adapter file, or belongs to another network. Nothing is changed then.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ChromTransferError(f"{path}: cannot be read as a file of adapters ({error}).") from error
    if metadata.get("format") != _FORMAT or not {"kind", "layers", "base_sha256"} <= set(metadata):
        raise ChromTransferError(
            f"{path}: not a file of adapters: expected format '{_FORMAT}' in its metadata."
        )
    base = base_sha256(module)
    if metadata["base_sha256"] != base:
        raise ChromTransferError(
            f"{path}: these adapters were trained on another network: the SHA-256 of its weights is "
            f"{metadata['base_sha256'][:12]}..., of the given ones {base[:12]}.... Load them onto the pre-trained model "
            "they started from."
        )
    parts: dict[str, dict[str, torch.Tensor]] = {"adapter": {}, HEAD: {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    rank, alpha = int(metadata.get("rank", 1)), float(metadata.get("alpha", 1))
    attach_adapters(module, metadata["kind"], rank, alpha, metadata["layers"].split("\n"))
    try:
        load_adapters(module, parts["adapter"])
        if isinstance(module, ChromTransfer):
            load_state(module.head, parts[HEAD], f"{path} (head)")
    except ChromTransferError:
        detach_adapters(module)
        raise
    return metadata
