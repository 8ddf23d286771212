"""Devices, evaluation mode, and prediction of logits and probabilities."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from chromtransfer_plugin.device import describe, device_of, evaluating, pick_device
from chromtransfer_plugin.errors import ChromTransferError, keyword_names, reject_unknown, require_integers
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.predict import predict_logits, probabilities


@pytest.fixture(scope="module")
def model() -> ChromTransfer:
    """A network with statistics of data, so that logits differ between sequences."""
    torch.manual_seed(0)
    model = ChromTransfer(width=0.125, head=(8,), head_bn=False, n_outputs=2, bn_momentum=1.0, dropout=0)
    with torch.no_grad():
        model.train()(torch.from_numpy(one_hot(codes(64))))
    return model.eval()


def codes(n: int, length: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


# --- devices ---------------------------------------------------------------------------------------------


def test_devices_are_what_was_asked_for():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert describe(torch.device("cpu")) == f"cpu ({torch.get_num_threads()} threads)"


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "mps", "meta"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(ChromTransferError, match=f"device '{name}' .* use auto, cpu, cuda or cuda:N"):
        pick_device(name)


def test_cuda_never_falls_back_silently(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ChromTransferError, match=r"'cuda' was asked for but this torch .* sees 0 CUDA device"
    ):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(
        ChromTransferError,
        match=r"sees 2 CUDA device.*`device: cpu` in a YAML file, CHROMTRANSFER_DEVICE=cpu",
    ):
        pick_device("cuda:2")


def test_evaluating_restores_modes_and_settings_after_an_error():
    model = ChromTransfer(width=0.0625).train()
    model.trunk.eval()
    modes = [module.training for module in model.modules()]
    tf32 = torch.backends.cudnn.allow_tf32

    def fail() -> None:
        with evaluating(model, "cpu") as device:
            assert device == torch.device("cpu")
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            assert not torch.backends.cudnn.allow_tf32
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert torch.backends.cudnn.allow_tf32 == tf32
    model(torch.randn(2, 4, 30)).sum().backward()  # its parameters still take gradients
    assert device_of(torch.nn.Identity()) == torch.device("cpu")


# --- prediction ------------------------------------------------------------------------------------------


def test_codes_and_one_hot_give_the_logits_of_the_network(model):
    X = codes(7)
    with torch.no_grad():
        wanted = model(torch.from_numpy(one_hot(X))).numpy()
    assert wanted.std() > 0.01
    for sequences in (X, one_hot(X), torch.from_numpy(X), one_hot(X).astype(np.float64)):
        for batch_size in (3, 256):
            logits = predict_logits(model, sequences, batch_size=batch_size)
            assert logits.dtype == np.float32
            np.testing.assert_allclose(logits, wanted, atol=1e-5)


def test_a_window_without_any_known_base_has_no_score(model):
    X = codes(3)
    X[1] = 4
    X[2, 1:] = 4
    logits = predict_logits(model, X)
    assert np.isnan(logits).all(axis=1).tolist() == [False, True, False]
    assert not np.isnan(logits[[0, 2]]).any()
    assert np.isnan(predict_logits(model, one_hot(X))[1]).all()


def test_nothing_to_predict_is_an_empty_answer(model):
    assert len(predict_logits(model, codes(0))) == 0


@pytest.mark.parametrize("shape", [(3,), (3, 5, 80), (2, 2, 2, 2)])
def test_other_arrays_are_refused(model, shape):
    with pytest.raises(ChromTransferError, match=re.escape(f"got shape {shape}")):
        predict_logits(model, np.zeros(shape, np.float32))
    with pytest.raises(ChromTransferError, match="float32"):
        predict_logits(model, np.zeros((3, 80), np.float32))


def test_probabilities_by_hand():
    z = np.array([[0.0, np.log(3)], [-np.log(3), 0.0]])
    np.testing.assert_allclose(probabilities(z), [[0.5, 0.75], [0.25, 0.5]])
    np.testing.assert_allclose(probabilities(z, "softmax"), [[0.25, 0.75], [0.25, 0.75]])
    assert isinstance(probabilities(torch.zeros(1, 1)), torch.Tensor)


# --- messages --------------------------------------------------------------------------------------------


def test_keywords_of_a_function():
    def function(self, a, b=1, *rest, c, **unknown):
        pass

    assert keyword_names(function) == {"a", "b", "c"}
    assert keyword_names(function, without=["b"]) == {"a", "c"}
    with pytest.raises(
        ChromTransferError, match=r"x: unknown key 'bb'\. Did you mean 'b'\? Known keys: a, b, c"
    ):
        reject_unknown("x", {"a": 1, "bb": 2}, keyword_names(function))
    with pytest.raises(ChromTransferError, match=r"unknown key 'zzz'\. Known keys"):
        reject_unknown("x", {"zzz": 1}, {"a"})


@pytest.mark.parametrize("value", ["3", 2.5, -1, True])
def test_whole_numbers(value):
    require_integers("x", a=3, b=None, c=0)
    with pytest.raises(ChromTransferError, match=f"x: n={value!r} is not usable: expected a whole number"):
        require_integers("x", n=value)
