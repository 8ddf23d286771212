"""The model card that is generated from the record on a card."""

from __future__ import annotations

from zoo_cases import SCORES

from chromtransfer_plugin.checkpoint import Card
from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.zoo.card import card_text, scores


def make_card(outputs=("K562",), **fields) -> Card:
    fields.setdefault("architecture", Architecture(n_outputs=len(outputs)))
    return Card(outputs=list(outputs), **fields)


def test_card_tells_what_the_record_says():
    card = make_card(
        trained_on="5,000 windows of chr1",
        license="GPL-3.0-or-later",
        weights_sha256="ab12",
        source={"file": "K562.h5", "keras": {"variant": "finetuned|flat"}},
        training={"train_windows": 5024, "train_positives": 731, "validation_windows": 1256, "scores": SCORES,
                  "protocol": "finetune", "seed": 1, "zoo": {"doc": "Open in K562.", "authors": ["Ada"]}},
    )  # fmt: skip
    text = card_text("ChromTransfer/K562", card)
    assert text.startswith("# ChromTransfer/K562\n\nOpen in K562.\n\nChromTransfer network: 600 bp of DNA in")
    for line in (
        "| Outputs | K562 (sigmoid) |",
        "| Network | ChromTransfer, residual trunk of width 1, hidden layers of the head: 512-128 |",
        "| Windows | trained on 5,024 (731 positive), validated on 1,256 |",
        "| Procedure | protocol finetune; seed 1 |",
        "| Licence | GPL-3.0-or-later |",
        "| Cite | https://doi.org/10.1093/nargab/lqad026 |",
        "| SHA-256 of the weights | `ab12` |",
        "| test | K562 | 1,204 | 321 | 0.912 (0.890 to 0.930) | 0.800 | accuracy 0.500; chr2 and chr3 |",
        # Without --from, it would be the package's own K562.
        "chromtransfer zoo install --from ZOO ChromTransfer/K562",
        "| keras.variant | finetuned\\|flat |",
        "- Trained on: 5,000 windows of chr1",
        "- 15% of its training windows are positive: where the share is another, as in a whole genome, take its "
        "probabilities as ranks.",
        "Authors: Ada. Version 0.1. Generated from `card.json`, which has the whole record.",
    ):
        assert line in text.splitlines(), line
    assert "SMOKE" not in text
    assert card_text("ChromTransfer/K562", Card.model_validate_json(card.model_dump_json())) == text


def test_a_motif_trunk_reads_both_strands_and_says_so():
    card = make_card(architecture=Architecture(n_outputs=1, trunk="motifs", motifs=[2, 0, 0, 0]))
    text = card_text("G/m", card)
    assert (
        "| Network | ChromTransfer, known motifs and counts of 6-mers (trunk motifs) in the place of" in text
    )
    assert "A sequence and its reverse complement get the same probabilities." in text
    assert "plus strand" not in text
    assert "Only the plus strand is read." in card_text("G/m", make_card())


def test_impossible_counts_are_not_made_a_share():
    for n, positives in ((0, 0), (10, 11), (10, -1), ("10", 1), (10**400, 10**401)):
        card = make_card(training={"train_windows": n, "train_positives": positives})
        assert "positive: where" not in card_text("G/m", card)


def test_windows_of_an_ensemble():
    records = [{"train_windows": n, "validation_windows": 500} for n in (1000, 1000, 1001)]
    card = make_card(members=3, training={"members": records})
    line = "| Windows | each network: trained on 1,000, validated on 500; or trained on 1,001, validated on 500 |"
    assert line in card_text("G/m", card).splitlines()
    card.training["train_windows"] = 1500
    assert "| Windows | trained on 1,500 |" in card_text("G/m", card).splitlines()
    card.training["members"] = ["runs/a", 3]
    assert "| Windows | trained on 1,500 |" in card_text("G/m", card).splitlines()


def test_card_without_a_record_says_so():
    text = card_text("G/m", make_card())
    assert "None are recorded for this model." in text
    assert "nothing here says how good it is" in text
    assert "Where the weights come from" not in text
    assert "chromtransfer zoo install G/m" in text.splitlines()
    assert "**SMOKE TEST, NOT A TRAINED MODEL.**" in card_text("G/m", make_card(training={"smoke": True}))


def test_scores_of_several_outputs():
    per_output = {name: {"n": 10, "auroc": value} for name, value in (("A549", 0.5), ("K562", 0.75))}
    card = make_card(("A549", "K562"), training={"scores": {"test": {"accuracy": 0.25, **per_output}}})
    assert [(row.where, row.output, row.values) for row in scores(card)] == [
        ("test", "", {"accuracy": 0.25}),
        ("test", "A549", {"n": 10, "auroc": 0.5}),
        ("test", "K562", {"n": 10, "auroc": 0.75}),
    ]
    assert "| test | all |  |  |  |  | accuracy 0.250 |" in card_text("G/m", card)
    card.training["scores"] = per_output  # without the name of a split
    assert [(row.where, row.output) for row in scores(card)] == [("", "A549"), ("", "K562")]
    for nonsense in (None, 3, [], {"test": "good"}, {"test": {"auroc": "high"}}, {"test": [1]}):
        card.training["scores"] = nonsense
        assert scores(card) == []


def test_a_card_cannot_steer_the_terminal_or_break_its_tables():
    doc = "bell\x07 \x1b[31mred\x1b[0m\u202eleft"
    card = make_card(("a|b\nc",), trained_on="x\n| y |", training={"zoo": {"doc": doc}}, license="l" * 5000)
    text = card_text("G/m", card)
    assert "bell [31mred[0mleft" in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "| Outputs | a\\|b c (sigmoid) |" in text
    assert max(map(len, text.splitlines())) < 600
