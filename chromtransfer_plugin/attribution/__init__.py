"""Attribution: which letters of a sequence a model looks at."""

from __future__ import annotations

from chromtransfer_plugin.attribution.gradients import gradient_x_input
from chromtransfer_plugin.attribution.mutagenesis import agreement, ism
from chromtransfer_plugin.attribution.recovery import Recovery, motif_recovery
from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.attribution.text import write_attributions

__all__ = [
    "AttributionStore",
    "Recovery",
    "agreement",
    "gradient_x_input",
    "ism",
    "motif_recovery",
    "write_attributions",
]
