"""The files published with the paper: where they are and how to recognise them.

Source: the repository of the paper, at one commit. A git blob id is the SHA-1 of ``blob SIZE``, a zero byte and the
content, so a download, or a copy found anywhere, is identified by its bytes alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from chromtransfer_plugin.verify import digests

REPOSITORY = "https://github.com/anderssonlab/ChromTransfer"
COMMIT = "52167ab1da41331660f03fdcb977e0ce4e1b57eb"  # of 2023-02-28
ARCHIVE = "https://doi.org/10.5281/zenodo.7528544"
LICENSE = "GPL-3.0-only"  # of the repository, and so of the weights in it
# of the paper, NAR Genom Bioinform 5(2) lqad026
AUTHORS = ("Marco Salvatore", "Marc Horlacher", "Annalisa Marsico", "Ole Winther", "Robin Andersson")

# Path in the repository -> git blob id of the content.
MODEL_FILES = {
    "models/tensorflow1/rDHS/A549/model_compiled.h5": "0eeca181c762ebcbf5b14e1805e5973e34afdf4f",
    "models/tensorflow1/rDHS/GM12878/model_compiled.h5": "94d5fc08525cb55b17c4dc203350dd04b38a7ad1",
    "models/tensorflow1/rDHS/HCT116/model_compiled.h5": "d2ac723ad9496f9fb51de443649851476a98f70f",
    "models/tensorflow1/rDHS/HEPG2/model_compiled.h5": "d0cbdaf9688c603ed757517886b42ef0f7720b51",
    "models/tensorflow1/rDHS/K562/model_compiled.h5": "f85d3a59532e45c14d86ac6930d87aa702ee64d4",
    "models/tensorflow1/rDHS/MCF7/model_compiled.h5": "3ad2ac4a76502a081dfa75da2d012dd01cb7e315",
    "models/tensorflow1/tl_model_tf1/model_compiled.h5": "97456bbf0e6c5b8bd48e7d7a6b7ec0ccb2cbc0ee",
    "models/tensorflow1/tl_model_tf1/model_nocompiled.h5": "8bca5b0230395b5546d109f3aede2aaf3d7891bd",
    "models/tl_model_tf2/model_compiled.h5": "ccb871945dbf5ba491e4c93876e9aa9631f2669a",
    "models/tl_model_tf2/model_nocompiled.h5": "631568f2d18df6d806494f64e52d8a42b9e1ba16",
    "multiclass-baseline/train/model.multitask.Jan-5-2023.h5": "6ad8093982ad13ad8f2d07d9b702514f177dc65c",
}
REGION_FILES = {
    "multiclass-baseline/data/raw/test/A549.csv": "b20579d87e5ddec950c73ea506f265cc66ec88bc",
    "multiclass-baseline/data/raw/test/GM12878.csv": "f0bc21fe59784bf50a9d1bc53c2d983fdf4eeb1f",
    "multiclass-baseline/data/raw/test/HCT116.csv": "5f2b0c4e4db9f021bdc2f1736a1468fb0314e6c1",
    "multiclass-baseline/data/raw/test/HEPG2.csv": "fac07e5e09f633764ff98e2761225de5e49414c9",
    "multiclass-baseline/data/raw/test/K562.csv": "4f4d4589d3a34b3719a81308b695a7273b99ff1c",
    "multiclass-baseline/data/raw/test/MCF7.csv": "edf1b5e4a611c7aa668224f8851588cb1e396087",
    "multiclass-baseline/data/raw/train/A549.csv": "df3dc01a108285ad19baa0ce89ee392bf5913e21",
    "multiclass-baseline/data/raw/train/GM12878.csv": "18643072e1187cb94424f642548aeb7547f14e20",
    "multiclass-baseline/data/raw/train/HCT116.csv": "ff94cc7f208603be0b6c8b3c3261d9c79800c83f",
    "multiclass-baseline/data/raw/train/HEPG2.csv": "25f9a53ebf22675ad064367b19362794d5c5029b",
    "multiclass-baseline/data/raw/train/K562.csv": "fb020ea6083ddb2ed3a34fac521263b686d4761c",
    "multiclass-baseline/data/raw/train/MCF7.csv": "64a6d9b8fd1165581fbafc4552cffb43c3ff0637",
}
BLOB_IDS = {**MODEL_FILES, **REGION_FILES}

# Name in a model zoo -> paths in the repository, the preferred first. The four pre-trained files are one model, saved by
# two versions of TensorFlow with and without the state of its optimiser; the attribution folder repeats three models.
PRETRAINED = "pretrained"
MULTICLASS = "multiclass"
MODEL_PATHS: dict[str, tuple[str, ...]] = {
    PRETRAINED: (
        "models/tensorflow1/tl_model_tf1/model_compiled.h5",
        "models/tensorflow1/tl_model_tf1/model_nocompiled.h5",
        "models/tl_model_tf2/model_compiled.h5",
        "models/tl_model_tf2/model_nocompiled.h5",
        "gradient-attributions/models/Pre-Trained.h5",
    ),
    "A549": ("models/tensorflow1/rDHS/A549/model_compiled.h5",),
    "GM12878": ("models/tensorflow1/rDHS/GM12878/model_compiled.h5",),
    "HCT116": ("models/tensorflow1/rDHS/HCT116/model_compiled.h5",),
    "HEPG2": ("models/tensorflow1/rDHS/HEPG2/model_compiled.h5", "gradient-attributions/models/HepG2.h5"),
    "K562": ("models/tensorflow1/rDHS/K562/model_compiled.h5", "gradient-attributions/models/K562.h5"),
    "MCF7": ("models/tensorflow1/rDHS/MCF7/model_compiled.h5",),
    MULTICLASS: ("multiclass-baseline/train/model.multitask.Jan-5-2023.h5",),
}


def git_blob_id(path: str | os.PathLike[str]) -> str:
    """Give the git blob id of a file, 40 hexadecimal digits, read in pieces.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    return digests(Path(path), ["git_blob"])["git_blob"]


def published_path(blob_id: str) -> str | None:
    """Give the path in the published repository of the file with this git blob id; None if it is none of them."""
    return next((path for path, known in BLOB_IDS.items() if known == blob_id), None)


def model_name(path: str) -> str | None:
    """Give the zoo name of the model at a path in the published repository; None if there is no model."""
    return next((name for name, paths in MODEL_PATHS.items() if path in paths), None)
