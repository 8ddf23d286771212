"""The entrance to all methods by name: it gives what the methods give, and scores of all bases for TF-MoDISco."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from gradient_cases import random_codes
from ism_cases import Linear, make, sequences
from pydantic import ValidationError

from chromtransfer_plugin.attribution import (
    Settings,
    attribute_codes,
    deep_lift_shap,
    gradient_x_input,
    integrated_gradients,
    ism,
    parse_settings,
)
from chromtransfer_plugin.attribution.mutagenesis import Select
from chromtransfer_plugin.attribution.settings import MethodName
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.windowed import WindowedTrunk
from chromtransfer_plugin.onehot import one_hot

SHORT = {"steps": 7, "references": 3, "seed": 4}


def settings(method: str, **changes) -> Settings:
    return parse_settings(**{"method": method, **SHORT, **changes})


def test_each_method_is_the_function_of_its_name() -> None:
    model, codes = make(n_outputs=3), random_codes(3)
    common = {"output": "probability", "activation": "softmax", "target": 2}
    shuffled = {"references": 3, "seed": 4}
    wanted = {
        "gradient-x-input": gradient_x_input(model, codes, **common),
        "integrated-gradients": integrated_gradients(model, codes, steps=7, **common).scores,
        "deep-lift-shap": deep_lift_shap(model, codes, **shuffled, **common).scores,
        "ism": ism(model, codes, select="min", **common),
    }
    assert set(wanted) == set(get_args(MethodName))
    for method, scores in wanted.items():
        found, every = attribute_codes(
            model,
            codes,
            settings(method, objective="probability", select="min"),
            target=2,
            activation="softmax",
        )
        assert every is None
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, scores, err_msg=method)
    path = integrated_gradients(model, codes, steps=7, baseline="shuffled", **shuffled, **common).scores
    found, _ = attribute_codes(
        model,
        codes,
        settings("integrated-gradients", objective="probability", baseline="shuffled"),
        target=2,
        activation="softmax",
    )
    np.testing.assert_array_equal(found, path)


@pytest.mark.parametrize("method", get_args(MethodName))
def test_scores_of_all_bases(method: str) -> None:
    model, codes = make(dtype=torch.float32), random_codes(4)
    scores, none = attribute_codes(model, codes, settings(method))
    found, every = attribute_codes(model, codes, settings(method), hypothetical=True)
    assert none is None
    assert every.shape == (4, 4, codes.shape[1])
    assert every.dtype == np.float32
    np.testing.assert_array_equal(found, scores)
    assert (every[2, :, 5:9] == 0).all()
    assert (scores[2, 5:9] == 0).all()
    if method == "ism":
        np.testing.assert_allclose(every.sum(axis=1), 0, atol=1e-5)
    else:
        np.testing.assert_array_equal((every * one_hot(codes)).sum(axis=1), scores)


def test_signs_of_mutagenesis() -> None:
    """The stored score of a base that matters is below 0, its hypothetical one above."""
    weight = np.array([[1.0, 0], [9, 0], [2, 0], [0, 0]])  # C at the first position matters
    scores, every = attribute_codes(
        Linear(weight[None]), np.array([[1, 4]]), Settings(method="ism"), hypothetical=True
    )
    np.testing.assert_array_equal(scores, [[-9, 0]])
    np.testing.assert_array_equal(every[0], weight - [[3], [3], [3], [3]] * np.array([1, 0]))


@pytest.mark.parametrize("select", get_args(Select))
def test_selection_is_the_same_with_and_without_all_bases(select: str) -> None:
    model, codes = make(), sequences(2, 40, unknown=(3, 4))
    one, many = (
        attribute_codes(model, codes, settings("ism", select=select), hypothetical=h)[0]
        for h in (False, True)
    )
    np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6)
    assert np.abs(one).max() > 1e-4


@pytest.mark.parametrize("method", get_args(MethodName))
def test_rows_do_not_depend_on_other_rows(method: str) -> None:
    model, codes = make(dtype=torch.float32), random_codes(5)
    together, _ = attribute_codes(model, codes, settings(method))
    alone, _ = attribute_codes(model, codes[2:3], settings(method))
    np.testing.assert_array_equal(alone[0], together[2])


def test_windowed_mutagenesis_takes_one_whole_pass_for_each_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, parts = [], []
    reference, changes = WindowedTrunk.reference, WindowedTrunk.changes
    monkeypatch.setattr(
        WindowedTrunk,
        "reference",
        lambda self, X, margin: (passes.append(len(X)), reference(self, X, margin))[1],
    )
    monkeypatch.setattr(
        WindowedTrunk,
        "changes",
        lambda self, run, bases: (parts.append(bases[1:].numel()), changes(self, run, bases))[1],
    )
    attribute_codes(make(), sequences(2, 30), Settings(method="ism", batch_size=12))
    assert passes == [1, 1]
    assert sum(parts) == 2 * 3 * 30
    assert len(parts) == 2 * -(-30 // 4)  # four positions of three mutants


def test_settings_are_checked() -> None:
    assert parse_settings() == Settings()
    assert Settings().model_dump() == {
        "method": "gradient-x-input", "objective": "logit", "select": "largest", "ism_method": "auto", "steps": 50,
        "baseline": "zero", "references": 20, "seed": 1, "batch_size": None,
    }  # fmt: skip
    for values, message in (
        (
            {"method": "saliency"},
            "method='saliency' is not usable: .* 'gradient-x-input', 'integrated-gradients'",
        ),
        ({"stepz": 5}, "unknown key 'stepz'. Did you mean 'steps'"),
        ({"steps": 0}, "steps=0 is not usable"),
        ({"steps": "5"}, "steps='5' is not usable"),
        ({"steps": True}, "steps=True is not usable"),
        ({"batch_size": 0}, "batch_size=0 is not usable"),
        ({"seed": 2**32}, "seed=4294967296 is not usable"),
        ({"ism_method": "fast"}, "ism_method='fast' is not usable"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            parse_settings(**values)
    with pytest.raises(ValidationError, match="frozen"):
        Settings().steps = 3
