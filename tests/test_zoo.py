"""The model zoo: finding, installing, checking and describing models; ``chromtransfer zoo``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from kipoi_cases import break_weights, digests, make_checkpoint
from zoo_cases import CLASSES, NAMES, SCORES, edit_card, make_checkpoints, make_source

from chromtransfer_plugin.checkpoint import load_model, read_card
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.kipoi.group import add_to_group, register
from chromtransfer_plugin.zoo import install as install_module
from chromtransfer_plugin.zoo import source as source_module
from chromtransfer_plugin.zoo.card import card_text
from chromtransfer_plugin.zoo.check import CHECKS, check_entry, check_models
from chromtransfer_plugin.zoo.install import install
from chromtransfer_plugin.zoo.listing import aligned, overview, overview_text
from chromtransfer_plugin.zoo.source import (
    ZooSource,
    existing_source,
    find_model,
    get_entry,
    installed_zoo,
    packaged_zoo,
)

GROUP = "ChromTransfer"
REPOSITORY = Path(__file__).parents[1] / "model_zoo"

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return make_checkpoints(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def shared_source(checkpoints, exported, tmp_path_factory):
    """Models of a group, and one in a folder of its own."""
    source = make_source(tmp_path_factory.mktemp("zoo"), checkpoints)
    shutil.copytree(exported, source / "tiny")
    return source


@pytest.fixture
def source(shared_source, tmp_path):
    return shutil.copytree(shared_source, tmp_path / "source")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and no models that come with the package."""
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
    for module in (source_module, install_module):
        monkeypatch.setattr(module, "packaged_zoo", lambda: None)
    return tmp_path / "cache"


def invoke(*arguments: str | Path):
    result = CliRunner().invoke(main, ["zoo", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# --- finding ---------------------------------------------------------------------------------------------


def test_entries_in_order(source):
    entries = ZooSource(source).entries()
    assert [entry.name for entry in entries] == [*(f"{GROUP}/{name}" for name in NAMES), "tiny"]
    assert [entry.group for entry in entries] == [GROUP] * 5 + [""]
    assert not any(entry.problem for entry in entries)
    assert entries[3].card.outputs == list(CLASSES)
    k562 = entries[1]
    assert k562.folder == source / GROUP / "K562"
    assert k562.size == sum(path.stat().st_size for path in k562.folder.iterdir())


def test_models_are_found_by_full_and_by_short_name(source, checkpoints, cache):
    assert find_model("K562") is None
    shutil.copytree(source, installed_zoo())
    zoo = installed_zoo()
    assert zoo == cache / "zoo"
    assert find_model("K562") == find_model(f"{GROUP}/K562") == zoo / GROUP / "K562"
    assert find_model("tiny") == zoo / "tiny"
    assert find_model("k562") is find_model("Other/K562") is find_model(GROUP) is find_model("") is None
    add_to_group(checkpoints["K562"], "K562", zoo, "Other")
    with pytest.raises(
        ChromTransferError, match=r"2 models .* ChromTransfer/K562, Other/K562. Give the full"
    ):
        find_model("K562")
    assert find_model("Other/K562") == zoo / "Other" / "K562"


def test_the_models_of_the_package_are_found_after_the_installed_ones(cache, monkeypatch):
    assert packaged_zoo() == REPOSITORY
    for module in (source_module, install_module):
        monkeypatch.setattr(module, "packaged_zoo", packaged_zoo)
    assert find_model("chromtransfer-demo") == REPOSITORY / "chromtransfer-demo"
    install("chromtransfer-demo")
    assert find_model("chromtransfer-demo") == cache / "zoo" / "chromtransfer-demo"


def test_unknown_names_list_close_ones(source):
    for name, close in (
        ("k562", "Did you mean ChromTransfer/K562?"),
        ("multclass", "Did you mean ChromTransfer/multiclass?"),
        ("chromtransfer/mcf7", "Did you mean ChromTransfer/MCF7?"),
        ("zzz", "Known: ChromTransfer/pretrained, ChromTransfer/K562, ChromTransfer/MCF7"),
    ):
        with pytest.raises(ChromTransferError, match=f"no model '{name}' in {source}. {close}"):
            get_entry(name, source)


def test_sources_that_are_none(source, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "empty", "holds no models"),
        (tmp_path / "file", "is no folder"),
        (source / GROUP, f"is a group of models, not a source. Name the folder above: {source}"),
        (source / GROUP / "K562", f"is a model, not a source. Name the folder above: {source}"),
        (source / "tiny", f"is a model, not a source. Name the folder above: {source}"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            existing_source(path)
    assert ZooSource(tmp_path / "absent").entries() == []


# --- installing ------------------------------------------------------------------------------------------


def test_installed_models_are_the_same_files(source, cache):
    for name in ("K562", f"{GROUP}/short", "tiny", source / GROUP / "MCF7"):
        install(name, source)
    before, after = digests(source), digests(cache / "zoo")
    assert [entry.name for entry in ZooSource(cache / "zoo").entries()] == [
        *(f"{GROUP}/{name}" for name in ("K562", "MCF7", "short")),
        "tiny",
    ]
    assert {path for path in after if before.get(path) != after[path]} == {
        f"{GROUP}/models.tsv",
        f"{GROUP}-veff/models.tsv",
    }
    assert all(test.passed for test in check_models(with_kipoi=False))


def test_installing_next_to_other_example_windows(source, checkpoints, cache):
    make_source(cache / "zoo", {"HEPG2": checkpoints["K562"]}, seed=9)
    target = install("MCF7", source)
    assert digests(target)["model.safetensors"] == digests(source / GROUP / "MCF7")["model.safetensors"]
    assert digests(target)["expect.h5"] != digests(source / GROUP / "MCF7")["expect.h5"]
    assert all(test.passed for test in check_models([target], with_kipoi=False))


def test_nothing_damaged_is_installed(source, cache):
    break_weights(source / GROUP / "K562")
    (source / GROUP / "short" / "card.json").unlink()
    card = json.loads((source / GROUP / "MCF7" / "card.json").read_text())
    (source / GROUP / "MCF7" / "card.json").write_text(json.dumps(card | {"members": 300}))
    break_expectation(source / GROUP / "multiclass", 1e-3)
    for name, message in (
        ("K562", "damaged, not installed: SHA-256 of the weights differs"),
        ("short", "damaged, not installed: card.json missing"),
        ("MCF7", "belong to another architecture"),
        ("multiclass", "differ from the expected ones by up to 0.001"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            install(name, source)
    assert not list((cache / "zoo").rglob("*.*"))


def test_installed_models_are_replaced_only_on_demand(source, checkpoint, cache):
    target = install("K562", source)
    before = digests(cache)
    for name in ("K562", target):
        with pytest.raises(ChromTransferError, match=r"(exists|is installed) already"):
            install(name, source)
    assert digests(cache) == before
    assert install("K562", source, overwrite=True) == target
    assert digests(cache) == before
    with pytest.raises(ChromTransferError, match="is a checkpoint, not a model of a zoo"):
        install(checkpoint)


# --- checking --------------------------------------------------------------------------------------------


def break_expectation(folder: Path, change: float) -> None:
    with h5py.File(folder / "expect.h5", "r+") as file:
        file["preds"][2, 0] += change


def test_each_damage_fails_the_check_that_is_for_it(source):
    group = source / GROUP
    break_weights(group / "K562")
    break_expectation(group / "MCF7", 2e-5)
    break_expectation(group / "pretrained", 5e-6)  # within the tolerance
    card = json.loads((group / "short" / "card.json").read_text())
    card["architecture"]["head"] = [8]
    (group / "short" / "card.json").write_text(json.dumps(card))
    shutil.copytree(group / "multiclass", group / "unlisted")
    (group / "multiclass" / "expect.h5").unlink()
    outcome = {
        test.name: (test.outcome, test.remarks) for test in check_models(source=source, with_kipoi=False)
    }
    wanted = {
        "pretrained": (["ok", "ok", "ok", "ok"], None),
        "K562": (["FAILED", "-", "-", "-"], "truncated or changed"),
        "MCF7": (["ok", "ok", "FAILED", "-"], "differ from the expected ones by up to 2e-05"),
        "multiclass": (["FAILED", "-", "-", "-"], "expect.h5 missing"),
        "short": (["ok", "FAILED", "-", "-"], "another architecture"),
        "unlisted": (["ok", "ok", "ok", "FAILED"], "Kipoi cannot find it"),
    }
    for name, (values, remark) in wanted.items():
        found, remarks = outcome[f"{GROUP}/{name}"]
        assert list(found.values()) == [*values, "-", "-"], name
        assert [remark is not None and remark in text for text in remarks] == [True] * (remark is not None)


def test_nan_is_no_reproduction(source):
    with h5py.File(source / GROUP / "K562" / "expect.h5", "r+") as file:
        file["inputs"][0] = np.zeros((4, 600))  # no known base: NaN
    assert check_models(["K562"], source, with_kipoi=False)[0].outcome["predicts"] == "FAILED"


def test_kipoi_test_is_run_and_its_failure_reported(source, monkeypatch, capsys):
    add = source / GROUP / "models.tsv"
    add.write_text(add.read_text().replace("""""\"MIT\"""" "", "{"))  # no YAML: Kipoi alone sees it
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    tests = {test.name: test for test in check_models(["pretrained", "K562"], source)}
    assert tests[f"{GROUP}/K562"].outcome == dict.fromkeys(tests[f"{GROUP}/K562"].outcome, "ok")
    failed = tests[f"{GROUP}/pretrained"]
    assert list(failed.outcome.values()) == ["ok", "ok", "ok", "ok", "FAILED", "ok"]
    assert not failed.passed
    assert "`kipoi test" in failed.remarks[0]


def test_the_variant_effect_side_is_tested_too(source, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    side = source / f"{GROUP}-veff"
    template = (side / "model-template.yaml").read_text()
    (side / "model-template.yaml").write_text(template.replace("SeqIntervalDl", "NoSuchDl"))
    failed = check_models(["K562"], source)[0]
    assert list(failed.outcome.values()) == ["ok", "ok", "ok", "ok", "ok", "FAILED"]
    assert f"`kipoi test {side / 'K562'}` failed" in failed.remarks[0]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # without kipoiseq
    assert check_models(["K562"], source)[0].outcome["veff"] == "-"
    (side / "models.tsv").unlink()  # a source of an older version has none
    unlisted = check_models(["K562"], source, with_kipoi=False)[0]
    assert unlisted.outcome["listed"] == "FAILED"
    assert f"{side / 'models.tsv'}: does not have K562" in unlisted.remarks[0]


def test_without_kipoi_our_own_checks_remain(source, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    test = check_models(["K562"], source)[0]
    assert list(test.outcome.values()) == ["ok", "ok", "ok", "ok", "-", "-"]
    assert test.remarks == ["`kipoi` is not installed: `kipoi test` was not run."]


# --- the models of this repository ------------------------------------------------------------------------

SHIPPED = ZooSource(REPOSITORY).entries()


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_shipped_models_pass(entry):
    import kipoi

    test = check_entry(entry, with_kipoi=False)
    assert test.passed, test.remarks
    model = kipoi.get_model(str(entry.folder), source="dir")  # what `kipoi test` does, in this process
    with h5py.File(model.test.expect) as file:
        np.testing.assert_allclose(model.predict_on_batch(file["inputs"][:]), file["preds"][:], atol=1e-5)
        np.testing.assert_allclose(model.pipeline.predict_example(), file["preds"][:], atol=1e-5)
    if entry.group:
        assert (entry.folder / "README.md").read_text() == card_text(entry.name, entry.card)


@pytest.mark.parametrize("group", sorted({entry.group for entry in SHIPPED} - {""}))
def test_shipped_groups_are_up_to_date(group, tmp_path):
    kept = shutil.ignore_patterns("*.genome-cache")
    copy = shutil.copytree(REPOSITORY / group, tmp_path / group, ignore=kept)
    before = digests(copy)
    assert register(tmp_path, group) == [entry.folder.name for entry in SHIPPED if entry.group == group]
    assert digests(copy) == before


# --- cards and lists ------------------------------------------------------------------------------------------------


def test_readme_is_the_card(source):
    folder = source / GROUP / "multiclass"
    assert (folder / "README.md").read_text() == card_text(f"{GROUP}/multiclass", read_card(folder))


def test_overview(source):
    edit_card(source / GROUP / "K562", scores=SCORES, train_windows=5024)
    per_output = {name: {"auroc": value} for name, value in (("HEPG2", 0.5), ("K562", 0.75))}
    edit_card(
        source / GROUP / "MCF7",
        members=[{"train_windows": 800}, {"train_windows": 801}],
        scores={"test": per_output, "train": {"auroc": 1.0}},
    )
    path = source / GROUP / "multiclass" / "card.json"
    path.write_text(path.read_text().replace("CC0-1.0", "unknown; published ones are GPL"))
    break_weights(source / "tiny")
    (source / GROUP / "short" / "card.json").write_text("[" * 200_000)
    rows = {row["name"]: row for row in overview(source)}
    k562, mcf7 = rows[f"{GROUP}/K562"], rows[f"{GROUP}/MCF7"]
    assert (k562["auroc"], k562["windows"], k562["license"]) == (0.91234, 5024, "CC0-1.0")
    assert (mcf7["auroc"], mcf7["windows"], mcf7["members"]) == (0.625, 800, 2)
    assert rows[f"{GROUP}/multiclass"]["outputs"] == list(CLASSES)
    assert rows[f"{GROUP}/pretrained"]["network"] == "motifs"
    assert "SHA-256" in rows["tiny"]["problem"]
    assert "outputs" not in rows[f"{GROUP}/short"]
    lines = [line.split() for line in overview_text(list(rows.values())).splitlines()]
    assert lines[0] == [str(source)]
    assert lines[1] == ["model", "outputs", "network", "windows", "AUROC", "licence", "MB"]
    assert [f"{GROUP}/K562", "K562", "residual", "5,024", "0.912", "CC0-1.0", "0.1"] in lines
    assert [
        f"{GROUP}/MCF7",
        "HEPG2,",
        "K562",
        "residual",
        "x",
        "2",
        "800",
        "0.625",
        "CC0-1.0",
        "0.1",
    ] in lines
    assert lines[7][:2] == ["tiny", "(damaged)"]
    assert lines[5][:2] != lines[6][:2] == [f"{GROUP}/short", "damaged"]


# --- docs ------------------------------------------------------------------------------------------------


def test_the_documentation_says_what_is(tmp_path, monkeypatch, capsys):
    text = (REPOSITORY.parent / "docs" / "zoo.md").read_text()
    monkeypatch.chdir(tmp_path)
    make_checkpoint(tmp_path / "runs" / "mine" / "best_model")
    lines = re.search(r"```python\n(.*?)```", text, re.S)[1].strip().splitlines()
    names: dict = {}
    exec("\n".join(lines[:-2]), names)
    assert eval(lines[-2], names) == ["ChromTransfer/mine"]
    assert eval(lines[-1], names) is True
    assert set(re.findall(r"`zoo (\w+)", text)) == set(main.commands["zoo"].commands)
    checks = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert tuple(checks) == CHECKS


# --- the command -----------------------------------------------------------------------------------------


def test_zoo_list_and_card(source):
    rows = json.loads(invoke("list", "--source", source, "--json").stdout)
    assert [row["name"] for row in rows] == [*(f"{GROUP}/{name}" for name in NAMES), "tiny"]
    assert f"{GROUP}/pretrained" in invoke("list", "--source", source).stdout
    readme = source / GROUP / "K562" / "README.md"
    text = readme.read_text()
    assert invoke("card", "K562", "--source", source).stdout == text
    readme.unlink()
    (source / GROUP / "models.tsv").unlink()
    assert invoke("card", "K562", "--source", source).stdout == text
    assert not readme.exists()
    assert invoke("card", source / GROUP / "K562", "--rebuild").exit_code == 0
    assert readme.read_text() == text
    assert check_models(["K562"], source, with_kipoi=False)[0].passed


def test_zoo_add_install_and_test(source, tmp_path):
    run = make_checkpoint(tmp_path / "run", outputs=("HEPG2",), seed=4)
    arguments = (
        "--name",
        "HEPG2",
        "--source",
        source,
        "--doc",
        "Liver.",
        "--author",
        "Ada",
        "--author",
        "Bob",
    )
    added = invoke("add", run, *arguments)
    assert added.output.startswith(f"model written to {source / GROUP / 'HEPG2'}\n"), added.output
    zoo = load_model(source / GROUP / "HEPG2").card.training["zoo"]
    assert zoo == {"doc": "Liver.", "authors": ["Ada", "Bob"]}
    assert "exists already" in invoke("add", run, *arguments).stderr
    result = invoke("install", "HEPG2", "K562", "--from", source)
    assert result.exit_code == 0, result.output
    result = invoke("test", "--all", "--source", installed_zoo(), "--no-kipoi")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2 of 2 models passed")
    break_weights(installed_zoo() / GROUP / "K562")
    result = invoke("test", "HEPG2", "K562", "--no-kipoi")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "1 of 2 models FAILED")
    assert invoke("add", run, "--name", "mine", "--group", "Own").exit_code == 0  # to the installed ones
    assert find_model("mine") == installed_zoo() / "Own" / "mine"


def test_a_name_of_two_lines_does_not_break_the_table():
    assert aligned([("model", "outputs", "MB"), ("G/m", "a\tb\nDAMAGED", "0.5")]).splitlines() == [
        "  model  outputs      MB",
        "  G/m    a b DAMAGED  0.5",
    ]


def test_one_model_that_cannot_be_installed_does_not_stop_the_others(source, cache):
    result = invoke("install", "nothing", "K562", "--from", source)
    assert result.exit_code == 1
    assert "there is no model 'nothing'" in result.stderr
    assert result.stderr.endswith("1 of 2 not installed.\n")
    assert (installed_zoo() / GROUP / "K562" / "card.json").is_file()


def test_zoo_says_what_is_wrong(source, tmp_path):
    for arguments, message in (
        (("install", "k562", "--from", source), "Did you mean ChromTransfer/K562?"),
        (("install", "K562", "--from", tmp_path / "absent"), "there is no such folder"),
        (("card", "nothing"), "there is no model 'nothing'"),
        (("test", "nothing"), "there is no model 'nothing'"),
        (("list", "--source", tmp_path), "holds no models"),
        (("add", tmp_path, "--name", "m"), "not a checkpoint"),
        (("add", source / "tiny", "--name", "a b"), "model name 'a b'"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 1, arguments
        assert result.stderr.startswith("Error: "), result.output
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert invoke("test").exit_code == invoke("test", "--all", "K562").exit_code == 2
    assert "say where to find them (--from)" in invoke("install", "K562").stderr
    assert invoke("list").stdout.startswith("no models;")
