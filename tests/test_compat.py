"""Each work-around for a defect of Selene is still needed, and Selene's own trainer runs with them.

When one of the first tests fails, the library has been mended: delete the work-around in ``selene/compat.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
import torch
from kipoi_cases import make_checkpoint
from selene_cases import SeleneServer, write_example

from chromtransfer_plugin.selene import compat

# Without our package, the two faults; the import of the package then mends both.
_FAULTS = """
import sys, torch, numpy as np, matplotlib.pyplot as plt
import selene_sdk.evaluate_model, selene_sdk.utils.performance_metrics
state = {"min_loss": np.float64(0.5), "weights": torch.zeros(2)}
torch.save(state, "selene.pth.tar")

def faults():
    found = []
    try:
        torch.load("selene.pth.tar")
    except Exception as error:
        found.append(type(error).__name__)
    try:
        plt.style.use("seaborn-colorblind")
    except Exception as error:
        found.append(type(error).__name__)
    return found

print(faults())
import chromtransfer_plugin.selene
chromtransfer_plugin.selene.compat.apply()  # twice does no harm
print(faults())
"""


def test_the_work_arounds_are_needed_and_mend_the_faults(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FAULTS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    without, mended = done.stdout.splitlines()
    assert without == "['UnpicklingError', 'OSError']"
    assert mended == "[]"


def test_selene_still_asks_for_the_style_and_stores_the_number():
    """The code that the work-arounds are for is still in Selene."""
    import selene_sdk.train_model
    from selene_sdk.utils import performance_metrics

    assert "seaborn-colorblind" in Path(performance_metrics.__file__).read_text()
    assert "np.average(batch_losses)" in Path(selene_sdk.train_model.__file__).read_text()


def test_selene_still_assigns_weights_by_position():
    """Why checkpoints are loaded by name before Selene's loader sees them."""
    from selene_sdk.utils import load_model_from_state_dict

    model = torch.nn.Linear(2, 2, bias=True)
    load_model_from_state_dict({"any": torch.full((2, 2), 7.0), "name": torch.zeros(2)}, model)
    assert (model.weight == 7).all()


def test_selene_still_encodes_unknown_bases_as_quarters():
    import selene_sdk.sequences

    from chromtransfer_plugin.selene import Genome

    assert selene_sdk.sequences.Genome.sequence_to_encoding("AN").tolist() == [[1, 0, 0, 0], [0.25] * 4]
    assert Genome.sequence_to_encoding("ANacgt").tolist() == [
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        *np.eye(4).tolist(),
    ]


STOCK = """---
ops: [train, evaluate]
model: {
    path: !import chromtransfer_plugin.selene.model.__file__,
    class: ChromTransfer,
    class_args: {width: 0.0625, head: [8], head_bn: False, bn_momentum: 0.3}
}
sampler: !obj:selene_sdk.samplers.RandomPositionsSampler {
    reference_sequence: !obj:selene_sdk.sequences.Genome {input_path: configs/example/genome.fa},
    target_path: targets.bed.gz,
    features: [open],
    seed: 3,
    sequence_length: 600,
    center_bin_to_predict: 200,
    test_holdout: [chr2],
    validation_holdout: [chr3]
}
train_model: !obj:selene_sdk.TrainModel {
    batch_size: 16,
    max_steps: STEPS,
    report_stats_every_n_steps: 2,
    n_validation_samples: 32,
    n_test_samples: 32,
    save_checkpoint_every_n_steps: 2,
    report_gt_feature_n_positives: 1,
    scheduler_kwargs: {patience: 16, factor: 0.8}RESUME
}
lr: 0.01
random_seed: 1
output_dir: OUT
create_subdirectory: False
...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stock")
    write_example(folder)
    table = pd.read_csv(folder / "configs/example/pretrain.csv", names=["region", "label"])
    parts = table.loc[table["label"] == "open", "region"].str.extract(r"(.+):(\d+)-(\d+)")
    (folder / "targets.bed").write_text("".join(f"{c}\t{s}\t{e}\topen\n" for c, s, e in parts.to_numpy()))
    pysam.tabix_index(str(folder / "targets.bed"), preset="bed", force=True)
    return folder


def test_selenes_own_trainer_and_sampler_train_our_network_and_resume(folder):
    server = SeleneServer(folder)
    try:
        for out, steps, more in (
            ("first", 5, ""),
            ("second", 9, ", checkpoint_resume: first/checkpoint.pth.tar"),
        ):
            text = STOCK.replace("OUT", out).replace("STEPS", str(steps)).replace("RESUME", more)
            (folder / f"{out}.yml").write_text(text)
            done = server.run(f"{out}.yml", folder)
            assert done.code == 0, done.err
    finally:
        server.close()
    compat.apply()
    first, second = (torch.load(folder / out / "checkpoint.pth.tar") for out in ("first", "second"))
    assert (first["arch"], first["step"], second["step"]) == ("ChromTransfer", 4, 8)
    log = (folder / "second/selene_sdk.train_model.log").read_text()
    assert "Resuming from checkpoint: step 4" in log
    # Five steps and then five more; a new start would have taken nine.
    assert [int(state["optimizer"]["state"][0]["step"]) for state in (first, second)] == [5, 10]
    for out in ("first", "second"):
        predictions = np.load(folder / out / "test_predictions.npz")["data"]
        assert predictions.shape == (32, 1)
        assert predictions.std() > 0
        loss = pd.read_csv(folder / out / "selene_sdk.train_model.validation.txt", sep="\t")["loss"]
        assert loss.between(0.1, 5).all()


# --- faults of Selene that docs/selene.md names; there is no work-around for them ----------------------


@pytest.mark.parametrize(
    ("n_ref", "n_alt", "right"), [(1, 1, True), (3, 3, True), (1, 4, True), (4, 1, False)]
)
def test_selene_scores_deletions_on_a_shifted_sequence(tmp_path, n_ref, n_alt, right):
    from selene_sdk.predict._variant_effect_prediction import _process_alt

    from chromtransfer_plugin.selene import Genome

    rng = np.random.default_rng(1)
    text, position, length = "".join(rng.choice(list("ACGT"), 400)), 200, 60
    (tmp_path / "g.fa").write_text(f">c\n{text}\n")
    ref, alt = text[position - 1 : position - 1 + n_ref], text[position - 1] + "TTT"[: n_alt - 1]
    centre = position + n_ref // 2  # what Selene centres its window on; positions are 1-based as in VCF
    start, end = centre - length // 2, centre + length // 2
    genome = Genome(str(tmp_path / "g.fa"))
    window = genome.get_encoding_from_coords("c", start, end)
    got = genome.encoding_to_sequence(_process_alt("c", position, ref, alt, start, end, window, genome))
    assert len(got) == length
    mutated = text[: position - 1] + alt + text[position - 1 + n_ref :]
    assert (got in mutated) == right


def test_selene_ignores_the_learning_rate_of_the_command_line(capsys):
    from selene_sdk.utils.config_utils import add_config_keys

    _, configs = add_config_keys({"ops": ["train"], "lr": 0.01}, lr=0.5)
    assert configs["lr"] == 0.01
    assert "Using the `lr` value input" in capsys.readouterr().out


def test_scientific_notation_needs_a_point_in_selenes_yaml():
    from selene_sdk.utils.config import load

    assert load("[1e-3, 1.0e-3, 0.001]") == ["1e-3", 0.001, 0.001]


# --- Kipoi: what tests/test_kipoi.py does not show -------------------------------------------------------


@pytest.fixture
def kipoi_home(tmp_path, monkeypatch) -> Path:
    """A home folder for the configuration file that importing Kipoi writes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_kipoi_still_looks_for_expectations_in_the_working_folder(kipoi_home, monkeypatch):
    import kipoi.cli.main

    from chromtransfer_plugin.kipoi import compat as kipoi_compat
    from chromtransfer_plugin.kipoi.export import export_model

    model = export_model(make_checkpoint(kipoi_home / "run"), "tiny", kipoi_home / "zoo")
    monkeypatch.chdir(kipoi_home)
    monkeypatch.setattr(kipoi_compat, "anchor_expectation", lambda *_: None)
    with pytest.raises(FileNotFoundError, match=r"expect\.h5"):
        kipoi.cli.main.cli_test("test", [str(model), "--source=dir"])


def test_kipoi_still_cannot_replace_a_parquet_file(kipoi_home):
    from kipoi.writers import ParquetFileBatchWriter

    from chromtransfer_plugin.errors import ChromTransferError
    from chromtransfer_plugin.kipoi import ChromTransferModel  # noqa: F401  (applies the work-arounds)

    path = kipoi_home / "out.parquet"
    path.write_text("an earlier result")
    with pytest.raises(ChromTransferError, match="exists already and Kipoi cannot replace it"):
        ParquetFileBatchWriter(str(path))
    writer = ParquetFileBatchWriter.__new__(ParquetFileBatchWriter)
    with pytest.raises(FileExistsError):
        ParquetFileBatchWriter.__init__.__wrapped__(writer, str(path))
