"""Import of Keras files without TensorFlow: published ChromTransfer weights become checkpoints of this package."""

from __future__ import annotations

from chromtransfer_plugin.keras.importer import Imported, architecture_from_config, read_config, read_keras
from chromtransfer_plugin.keras.write import import_keras

__all__ = ["Imported", "architecture_from_config", "import_keras", "read_config", "read_keras"]
