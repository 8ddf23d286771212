"""Settings of all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Read by torch when it is imported, also in the processes that tests start. The networks of the tests are so small
# that several threads mostly wait for each other, by a factor of ten where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # its parallel loops set torch's number of threads too


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder for the configuration file that importing Kipoi writes."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("CHROMTRANSFER_DEVICE", raising=False)
        yield folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    from kipoi_cases import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("run") / "best_model")


@pytest.fixture(scope="module")
def exported(home, checkpoint, tmp_path_factory) -> Path:
    from chromtransfer_plugin.kipoi.export import export_model

    return export_model(checkpoint, "tiny", tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def original(home, tmp_path_factory) -> Path:
    """Zoo source of two models, as `source` hands out copies of it."""
    from kipoi_cases import make_checkpoint

    from chromtransfer_plugin.kipoi.group import add_to_group

    folder = tmp_path_factory.mktemp("source")
    for seed, name in enumerate(("one", "two")):
        add_to_group(make_checkpoint(folder / f".{name}", seed=seed), name, folder)
        shutil.rmtree(folder / f".{name}")
    return folder


@pytest.fixture
def source(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "source"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A Keras file with nothing wrong."""
    from keras_cases import build, write

    return write(tmp_path_factory.mktemp("keras") / "sound.h5", build(wide=2))


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """The same with the weights alone."""
    from keras_cases import build, write

    return write(tmp_path_factory.mktemp("keras") / "bare.h5", build(wide=2), weights_only=True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium that logs its console and every request; the test is skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        pytest.skip("needs Chromium and chromedriver (apt install chromium-driver)")
    pytest.importorskip(
        "selenium", reason="selenium is not installed (pip install 'chromtransfer-plugin[dev]')"
    )
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--no-first-run", "--window-size=1280,800",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(driver_program))
    yield driver
    driver.quit()
