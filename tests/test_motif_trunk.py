"""The trunk of motifs and k-mers against plain Python, and the laws it must obey."""

from __future__ import annotations

import itertools
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from motif_cases import (
    COUNTS,
    LENGTHS,
    SITE,
    encoded,
    log_odds,
    matches,
    network,
    random_motifs,
    site_motif,
    windows,
)
from transfer_cases import make, snapshot, take_steps, training, weights

from chromtransfer_plugin.attribution import gradient_x_input
from chromtransfer_plugin.checkpoint import Card, load_model, save_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.motif_trunk import WIDTHS, KmerCounts, MotifGroup, MotifTrunk, motif_counts
from chromtransfer_plugin.onehot import encode, reverse_complement_codes
from chromtransfer_plugin.transfer import fine_tuning_model, transfer_trunk

MOTIFS = sum(COUNTS)


# --- k-mers ----------------------------------------------------------------------------------------------


def plain_counts(codes: np.ndarray, k: int) -> list[int]:
    """Count words of known letters under the alphabetically first of the two strands' readings."""
    seen: Counter[str] = Counter()
    text = "".join("ACGTN"[code] for code in codes)
    other = str.maketrans("ACGT", "TGCA")
    for i in range(len(text) - k + 1):
        word = text[i : i + k]
        if "N" not in word:
            seen[min(word, word[::-1].translate(other))] += 1
    words = ("".join(letters) for letters in itertools.product("ACGT", repeat=k))
    return [seen[word] for word in words if word <= word[::-1].translate(other)]


@pytest.mark.parametrize(("k", "n_features"), [(1, 2), (2, 10), (3, 32), (6, 2080)])
def test_counts_of_kmers(k, n_features):
    codes = windows(5, 200)
    codes[0], codes[1] = 0, 3  # 195 times AAAAAA on either strand
    counts = KmerCounts(k)(encoded(codes))
    assert counts.shape == (5, n_features)
    np.testing.assert_array_equal(counts, [plain_counts(row, k) for row in codes])
    assert counts[0, 0] == counts[1, 0] == 200 - k + 1


def test_the_convolution_counts_the_same_and_has_a_gradient():
    """By base, the gradient of the number of words is the number of words that the base is part of."""
    codes = windows(3, 50)
    X = encoded(codes)
    kmers = KmerCounts()
    wanted = kmers(X)
    X.requires_grad_()
    counts = kmers(X)
    assert counts.requires_grad
    np.testing.assert_array_equal(counts.detach(), wanted)
    counts.sum().backward()
    known = codes < 4
    words = np.array([[row[i : i + 6].all() for i in range(45)] for row in known])
    part_of = [[words[b, max(0, i - 5) : i + 1].sum() for i in range(50)] for b in range(3)]
    np.testing.assert_array_equal((X.grad * X.detach()).sum(dim=1), part_of)


def test_what_is_not_one_hot_takes_the_convolution():
    X = 0.95 * encoded(np.zeros((1, 6), np.uint8))
    assert KmerCounts()(X).max() == pytest.approx(0.7)  # 6 * 0.95 - 5
    X = torch.ones(1, 4, 6)
    assert (KmerCounts()(X) == 0).sum() == 0


# --- matches of motifs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 5, 6, 7, 23, 60, 61])
def test_features_are_those_of_plain_python(length):
    """Best match, best match in the centre (here everywhere) and mean, of every motif by length; then the k-mers."""
    codes = windows(2, length)
    motifs = sorted(random_motifs().values(), key=len)
    if length >= 60:  # sites of the longest motif, of which the kernel has the first 24 positions
        codes[0, 20:46] = motifs[-1].argmax(axis=1)
        codes[1, 20:46] = 3 - motifs[-1].argmax(axis=1)[::-1]
    with torch.no_grad():
        features = network().features(encoded(codes))
    assert features.shape == (2, 3 * MOTIFS + 2080)
    for row, sequence in zip(features.numpy(), codes, strict=True):
        found = [
            matches(motif, sequence, next((w for w in WIDTHS if w >= len(motif)), 24)) for motif in motifs
        ]
        best = [max(*forward, *reverse) for forward, reverse in found]
        mean = [np.mean(forward) + np.mean(reverse) for forward, reverse in found]
        np.testing.assert_allclose(row[: 3 * MOTIFS], [*best, *best, *mean], atol=1e-4)
        np.testing.assert_array_equal(row[3 * MOTIFS :], plain_counts(sequence, 6))
    if length >= 60:
        assert features[:, MOTIFS - 1].min() > 15


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_planted_site_scores_its_log_odds_on_either_strand(strand):
    codes = np.full((1, 100), 4, np.uint8)
    codes[0, 40 : 40 + len(SITE)] = encode(SITE)
    if strand == "-":
        codes = reverse_complement_codes(codes)
    (matrix,) = site_motif().values()
    bits = sum(log_odds(row, code) for row, code in zip(matrix, encode(SITE), strict=True))
    assert bits == pytest.approx(10 * np.log2(0.995 / 1.1 / 0.25))
    trunk = MotifTrunk([0, 1, 0, 0])
    trunk.fill(site_motif())
    best, centre, _ = trunk(encoded(codes))[0, :3].tolist()
    assert best == centre == pytest.approx(bits - 3, abs=1e-4)


@pytest.mark.parametrize(("middle", "counts"), [(199, False), (200, True), (400, True), (401, False)])
def test_the_centre_is_200_bp_around_the_middle_of_the_window(middle, counts):
    site = "TGACGTCATTGC"  # as long as the kernel, so that the middle of both is the same
    codes = np.full((1, 600), 4, np.uint8)
    codes[0, middle - 6 : middle + 6] = encode(site)
    trunk = MotifTrunk([0, 1, 0, 0])
    trunk.fill(site_motif(site))
    best, centre, _ = trunk(encoded(codes))[0, :3].tolist()
    assert best > 15
    assert (centre == best) is counts


@pytest.mark.parametrize("length", [3, 22, 199, 600, 601])
def test_a_sequence_and_its_reverse_complement_have_the_same_features(length):
    codes = windows(4, length, seed=2)
    model = network()
    with torch.no_grad():
        there, back = (model.features(encoded(c)) for c in (codes, reverse_complement_codes(codes)))
    torch.testing.assert_close(there, back, rtol=0, atol=1e-4)
    assert not torch.equal(there, model.features(encoded(codes[:, ::-1].copy())))


def test_windows_do_not_know_of_each_other():
    """Neither the size of the batch matters nor whether gradients are wanted (no chunks then)."""
    X, model = encoded(windows(9, 300)), network()
    whole = model.features(X)
    with torch.no_grad():
        chunks = model.features(X)
        single = torch.cat([model.features(x[None]) for x in X])
    assert whole.requires_grad
    torch.testing.assert_close(whole.detach(), chunks, rtol=0, atol=1e-4)
    torch.testing.assert_close(single, chunks, rtol=0, atol=1e-4)
    assert len(torch.unique(chunks, dim=0)) == 9


def test_a_window_of_unknown_bases_has_no_match_and_no_word():
    assert network().features(torch.zeros(2, 4, 600)).abs().max() == 0


def test_no_windows():
    with torch.no_grad():
        assert network()(torch.zeros(0, 4, 600)).shape == (0, 1)


def test_without_motifs_kmers_remain():
    codes = windows(2, 30)
    features = MotifTrunk([0, 0, 0, 0])(encoded(codes))
    np.testing.assert_array_equal(features, [plain_counts(row, 6) for row in codes])


# --- number formats --------------------------------------------------------------------------------------


def test_double_precision():
    X, model = encoded(windows(3, 100)), network()
    single = model.features(X)
    double = model.double().features(X.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double, single.double(), rtol=0, atol=1e-4)


def test_under_bfloat16_autocast_matches_are_rounded_and_counts_exact():
    """A float matrix product of letters and powers of four would be rounded here, to numbers of other words."""
    codes = windows(3, 600)
    codes[0] = 3
    X, model = encoded(codes), network()
    with torch.no_grad():
        wanted = model.features(X)
        with torch.autocast("cpu", torch.bfloat16):
            features = model.features(X)
    assert torch.equal(features[:, 3 * MOTIFS :], wanted[:, 3 * MOTIFS :])
    torch.testing.assert_close(features[:, : 3 * MOTIFS], wanted[:, : 3 * MOTIFS], rtol=0.02, atol=0.1)


def test_in_bfloat16_counts_go_beyond_256():
    """Adding up ones in bfloat16 ends at 256."""
    X = encoded(np.zeros((1, 600), np.uint8))
    features = network().bfloat16().features(X.bfloat16())
    assert features.dtype == torch.bfloat16
    assert features[0, 3 * MOTIFS] == torch.tensor(595).bfloat16()


# --- filling ---------------------------------------------------------------------------------------------


def test_kernels_are_log_odds_of_both_strands_whatever_the_order_of_the_motifs():
    model = network()
    again = MotifTrunk(COUNTS)
    again.fill(dict(reversed(random_motifs().items())))
    assert snapshot(model.trunk).keys() == snapshot(again).keys()
    assert all(torch.equal(a, b) for a, b in zip(model.trunk.parameters(), again.parameters(), strict=True))
    first = next(m for m in random_motifs().values() if len(m) == 6)
    kernel = model.trunk.get_submodule("bank.0.conv").weight
    assert kernel[0, 2, 1].item() == pytest.approx(log_odds(first[1], 2), abs=1e-5)
    assert kernel[1, 1, 6].item() == pytest.approx(log_odds(first[1], 2), abs=1e-5)
    assert kernel[0, :, 6:].abs().max() == kernel[1, :, :2].abs().max() == 0
    assert all((g.conv.bias == -3).all() for g in model.trunk.bank if isinstance(g, MotifGroup))


def test_motifs_are_counted_by_length():
    assert motif_counts(random_motifs()) == (2, 2, 1, 2)
    lengths = (1, 8, 9, 12, 13, 16, 17, 40)
    assert motif_counts({str(n): np.full((n, 4), 0.25) for n in lengths}) == (2, 2, 2, 2)


def test_another_number_of_motifs_is_refused_with_the_right_one():
    trunk = MotifTrunk([2, 2, 2, 1])
    before = snapshot(trunk)
    with pytest.raises(ChromTransferError) as error:
        trunk.fill(random_motifs())
    assert str(error.value) == (
        "motifs: the network was made for [2, 2, 2, 1] motifs by length, the source has [2, 2, 1, 2]: "
        "set `motifs: [2, 2, 1, 2]` in the network's settings."
    )
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.state_dict().items())


# --- checkpoints and transfer ----------------------------------------------------------------------------


def test_a_checkpoint_needs_no_source_of_motifs(tmp_path, monkeypatch):
    model = network(feature_norm=True, feature_dropout=0.5)
    model.train()(encoded(windows(8, 100)))  # statistics of its own
    model.eval()
    save_model(model, tmp_path / "model", Card(architecture=model.architecture, outputs=["open"]))
    monkeypatch.setitem(sys.modules, "pyjaspar", None)
    loaded, card = load_model(tmp_path / "model")
    assert card.architecture.trunk == "motifs"
    X = encoded(windows())
    assert torch.equal(loaded(X), model(X))
    assert loaded(X).std() > 1e-3
    names = list(model.trunk.state_dict())
    assert names == [f"bank.{i}.conv.{what}" for i in range(4) for what in ("weight", "bias")]


def test_a_trunk_of_motifs_is_transferred_to_its_like(tmp_path):
    source, target = network(1), network(2, head=[])
    with torch.no_grad():
        for parameter in source.trunk.parameters():
            parameter += torch.randn_like(parameter)
    head = snapshot(target.head)
    copied = transfer_trunk(source, target)
    assert copied == [f"trunk.{name}" for name in source.trunk.state_dict()]
    assert all(
        torch.equal(a, b) for a, b in zip(source.trunk.parameters(), target.trunk.parameters(), strict=True)
    )
    assert all(torch.equal(head[name], tensor) for name, tensor in target.head.state_dict().items())
    save_model(source, tmp_path, Card(architecture=source.architecture, outputs=["open"]))
    report = fine_tuning_model(tmp_path, target, "head")
    assert report.transferred == copied
    assert report.new == report.trainable == ["head.0.weight", "head.0.bias"]


@pytest.mark.parametrize(
    ("source", "target", "upto"),
    [
        (make, network, None),
        (network, make, None),
        (network, network, "stem"),
        (network, lambda: network(motifs=[1, 1, 1, 1]), None),
    ],
)
def test_trunks_that_do_not_fit_are_refused(source, target, upto):
    into = target()
    before = snapshot(into)
    with pytest.raises(
        ChromTransferError, match=r"transfer: .*A trunk of motifs is transferred whole, to its like"
    ):
        transfer_trunk(source(), into, upto)
    assert all(torch.equal(before[name], tensor) for name, tensor in into.state_dict().items())


@pytest.mark.parametrize(
    ("trainable", "wanted"),
    [
        ("head", set()),
        ("bitfit", {f"trunk.bank.{i}.conv.bias" for i in range(4)}),
        ("full", {f"trunk.bank.{i}.conv.{what}" for i in range(4) for what in ("weight", "bias")}),
    ],
)
def test_what_moves_in_a_mode(trainable, wanted):
    from chromtransfer_plugin.transfer import phases

    model, settings = network(), training(trainable)
    (phase,) = phases(model, settings)
    assert take_steps(model, phase, settings) == weights(model, "head") | wanted


# --- attribution -----------------------------------------------------------------------------------------


def test_gradient_times_input_at_a_planted_site_is_its_log_odds():
    """With the head reading one best match, each base of the site gets its bits, and no other base gets anything."""
    model = ChromTransfer(trunk="motifs", motifs=[0, 1, 0, 0], head=[], head_bn=False)
    model.trunk.fill(site_motif())
    with torch.no_grad():
        model.head[0].weight.zero_()[0, 0] = 1
    codes = np.random.default_rng(3).integers(0, 4, (1, 200)).astype(np.uint8)
    codes[0, 80 : 80 + len(SITE)] = encode(SITE)
    scores = gradient_x_input(model, codes)[0]
    wanted = np.zeros(200)
    (matrix,) = site_motif().values()
    wanted[80 : 80 + len(SITE)] = [log_odds(row, c) for row, c in zip(matrix, encode(SITE), strict=True)]
    np.testing.assert_allclose(scores, wanted, atol=1e-5)


def test_deeplift_explains_the_whole_difference_to_its_references():
    """Without rules of our own: every module of the trunk is one that tangermeme knows, used once."""
    from tangermeme.deep_lift_shap import deep_lift_shap

    model, X = network(), encoded(np.random.default_rng(0).integers(0, 4, (3, 60)).astype(np.uint8))
    scores, references = deep_lift_shap(
        model, X, device="cpu", n_shuffles=3, random_state=0, return_references=True
    )
    with torch.no_grad():
        ours, theirs = model(X)[:, 0], model(references.flatten(0, 1)).view(3, 3).mean(dim=1)
    torch.testing.assert_close(scores.sum(dim=(1, 2)), ours - theirs, rtol=0, atol=1e-5)
    assert (ours - theirs).abs().max() > 0.01


def test_every_kind_of_feature_reaches_the_input():
    X = encoded(windows(1, 60))
    for column in (0, MOTIFS, 2 * MOTIFS):
        model = network()
        X = X.detach().requires_grad_()
        features = model.features(X)
        best = column + int(features[0, column : column + MOTIFS].argmax())
        features[0, best].backward()
        assert X.grad.abs().sum() > 0.01
    assert max(LENGTHS.values()) > WIDTHS[-1]  # the set has a motif that loses its end
