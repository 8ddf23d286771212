"""The ``chromtransfer`` command: quick to start, plain about mistakes; and the package that it comes in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chromtransfer_plugin import __version__, configs_folder, doctor
from chromtransfer_plugin.cli import main

ROOT = Path(__file__).parents[1]
EXECUTABLE = Path(sys.executable).with_name("chromtransfer")
HEAVY = ("torch", "selene_sdk", "kipoi", "tangermeme", "pandas", "numpy", "matplotlib", "pyranges", "sklearn")


def invoke(*arguments: str | Path):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def one_line_error(*arguments: str | Path) -> str:
    """Output of a command that must fail with one plain line."""
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# --- start-up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import chromtransfer_plugin",
        "from chromtransfer_plugin.cli import main; main(['--help'], standalone_mode=False)",
        "from chromtransfer_plugin.cli import main; main(['configs', 'list'], standalone_mode=False)",
        "import chromtransfer_plugin.friendly, chromtransfer_plugin.defaults, chromtransfer_plugin.constants",
    ],
)
def test_starting_imports_nothing_heavy(code):
    listing = f"\nimport sys; print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + listing], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_core_modules_import_neither_selene_nor_kipoi():
    names = (
        "train",
        "training.fit",
        "transfer",
        "checkpoint",
        "dataset",
        "predict",
        "models.chromtransfer",
        "tiles",
    )
    code = "".join(f"import chromtransfer_plugin.{name}\n" for name in names)
    code += (
        "import sys; print([name for name in ('selene_sdk', 'kipoi', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version_and_help():
    assert invoke("--version").output == f"chromtransfer, version {__version__}\n"
    text = invoke("--help").output
    for command in ("configs", "demo", "doctor", "export", "reproduce", "simulate"):
        assert f"\n  {command} " in text
    for command in main.commands:
        result = invoke(command, "--help")
        assert result.exit_code == 0
        assert main.commands[command].help.splitlines()[0] in " ".join(result.output.split())


def test_every_public_name_can_be_imported_and_unknown_ones_are_refused():
    import chromtransfer_plugin

    for name in chromtransfer_plugin.__all__:
        assert getattr(chromtransfer_plugin, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'ChromTransfr'"):
        _ = chromtransfer_plugin.ChromTransfr


# --- configs ---------------------------------------------------------------------------------------------


def test_configs_are_listed_and_shown():
    lines = invoke("configs", "list").output.splitlines()
    names = [line.split()[0] for line in lines]
    assert names == sorted(
        path.relative_to(ROOT / "configs").as_posix() for path in ROOT.glob("configs/**/*.yml")
    )
    assert "chromtransfer/pretrain.yml" in names
    assert (
        lines[names.index("chromtransfer/pretrain.yml")]
        .split(maxsplit=1)[1]
        .startswith("Pre-train the Chrom")
    )
    text = (ROOT / "configs/chromtransfer/finetune.yml").read_text()
    for name in ("chromtransfer/finetune.yml", "chromtransfer/finetune"):
        assert invoke("configs", "show", name).output == text
    error = one_line_error("configs", "show", "finetune")
    assert (
        "there is no configuration 'finetune'. Known: chromtransfer/best.yml, chromtransfer/evaluate.yml, "
        in error
    )


def test_configs_are_copied_without_by_products_and_never_over_a_copy(tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "example" / "genome.fa.gz.genome-cache").mkdir(parents=True)
    for name in ("a.yml", "example/genome.fa.gz", "example/genome.fa.gz.fai", "example/genome.fa.gz.gzi"):
        (source / name).write_text("# x\n")
    monkeypatch.setattr(configs_folder, "configs_folder", lambda: source)
    result = invoke("configs", "copy", tmp_path / "mine")
    assert result.output == f"2 files written to {tmp_path / 'mine'}\n"
    copied = sorted(
        path.relative_to(tmp_path / "mine").as_posix() for path in (tmp_path / "mine").rglob("*.*")
    )
    assert copied == ["a.yml", "example/genome.fa.gz"]
    (tmp_path / "mine/a.yml").write_text("edited")
    assert "exists already; remove it or name another folder" in one_line_error(
        "configs", "copy", tmp_path / "mine"
    )
    assert (tmp_path / "mine/a.yml").read_text() == "edited"
    (tmp_path / "file").write_text("")
    assert "cannot be written" in one_line_error("configs", "copy", tmp_path / "file" / "below")


# --- doctor ----------------------------------------------------------------------------------------------


def test_doctor_finds_everything_working(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [EXECUTABLE, "doctor"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line[:22].strip(): line[23:] for line in done.stdout.splitlines()}
    assert lines["chromtransfer-plugin"] == __version__
    assert lines["selene-sdk"] == "0.6.0"
    assert lines["network"] == "works: 600 bp -> 1 logit"
    assert lines["Selene"] == "works: a YAML file with the operations ['train', 'evaluate'] loads"
    assert lines["Kipoi"] == "works: the adapter is a Kipoi model"
    assert lines["tangermeme"] == "works: gradient x input of 600 bases"
    assert lines["device"].startswith(("cpu (", "cuda"))


def test_doctor_runs_every_check_and_fails_if_one_does(monkeypatch):
    def broken() -> str:
        raise ImportError("no module named kipoi")

    works = "it is there"
    for name in ("network", "selene", "tangermeme"):
        monkeypatch.setattr(doctor, f"check_{name}", lambda: works)
    monkeypatch.setattr(doctor, "check_kipoi", broken)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "Kipoi                  FAILS: ImportError: no module named kipoi\n" in result.output
    assert result.output.count(f"works: {works}") == 3


# --- mistakes --------------------------------------------------------------------------------------------


def test_export_of_what_is_no_checkpoint(tmp_path):
    options = ("--name", "m", "--out", tmp_path / "zoo")
    assert f"{tmp_path}/nowhere: no such checkpoint folder" in one_line_error(
        "export", tmp_path / "nowhere", *options
    )
    (tmp_path / "old.pth.tar").write_bytes(b"")
    assert "pickle-based checkpoint" in one_line_error("export", tmp_path / "old.pth.tar", *options)
    assert not (tmp_path / "zoo").exists()


def test_reproduction_without_data(tmp_path):
    error = one_line_error("reproduce", "--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert str(tmp_path / "nowhere") in error


def test_usage_errors_are_clicks(tmp_path):
    for arguments in (
        ["export"],
        ["reproduce"],
        ["configs", "shwo"],
        ["nothing"],
        ["reproduce", "--line", "HeLa"],
    ):
        result = invoke(*arguments)
        assert result.exit_code == click.UsageError.exit_code
        assert "Error: " in result.stderr
        assert "Traceback" not in result.stderr


def test_the_executable_ends_with_code_1_and_one_line(tmp_path):
    done = subprocess.run(
        [EXECUTABLE, "configs", "show", "nothing"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: there is no configuration 'nothing'.")
    assert done.stderr.count("\n") == 1


# --- the wheel -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_wheel_holds_code_and_configs_and_no_by_products(tmp_path):
    source = tmp_path / "source"
    big = shutil.ignore_patterns(".venv", ".git", "build", "demo", "runs", ".*_cache")
    shutil.copytree(
        ROOT, source, ignore=lambda folder, names: big(folder, names) if Path(folder) == ROOT else []
    )
    (source / "configs/example/genome.fa.gz.fai").write_text("")  # what using the example leaves there
    (source / "configs/example/genome.fa.gz.genome-cache").mkdir(exist_ok=True)
    (source / "configs/example/genome.fa.gz.genome-cache/codes").write_text("")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "hatchling" in done.stderr:
        pytest.skip("pip cannot get hatchling here, so no wheel can be built")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {name for name in tracked.splitlines() if name.startswith("chromtransfer_plugin/")}
    wanted |= {f"chromtransfer_plugin/{name}" for name in tracked.splitlines() if name.startswith("configs/")}
    assert "chromtransfer_plugin/configs/chromtransfer/pretrain.yml" in wanted
    metadata = {name for name in names if ".dist-info/" in name}
    assert wanted <= names - metadata
    by_products = {
        name for name in names if name.endswith((".fai", ".gzi", ".pyc")) or "genome-cache" in name
    }
    assert not by_products
