"""Attribution: which letters of a sequence a model looks at."""

from __future__ import annotations

from chromtransfer_plugin.attribution.completeness import Completeness, Explanation
from chromtransfer_plugin.attribution.deep_lift import deep_lift_shap
from chromtransfer_plugin.attribution.gradients import gradient_x_input
from chromtransfer_plugin.attribution.integrated import integrated_gradients
from chromtransfer_plugin.attribution.methods import attribute_codes
from chromtransfer_plugin.attribution.mutagenesis import agreement, ism
from chromtransfer_plugin.attribution.recovery import Recovery, motif_recovery
from chromtransfer_plugin.attribution.settings import Settings, parse_settings
from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.attribution.text import read_attributions, write_attributions

__all__ = [
    "AttributionStore",
    "Completeness",
    "Explanation",
    "Recovery",
    "Settings",
    "agreement",
    "attribute_codes",
    "deep_lift_shap",
    "gradient_x_input",
    "integrated_gradients",
    "ism",
    "motif_recovery",
    "parse_settings",
    "read_attributions",
    "write_attributions",
]
