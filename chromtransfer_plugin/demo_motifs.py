"""The demonstration's last step: do the fine-tuned models read the motifs that were planted, and no others?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from chromtransfer_plugin.attribution.run import attribute_file
from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.dataset import load_windows
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.motifs.analysis import compare, write_comparison
from chromtransfer_plugin.motifs.planted import (
    PlantedCheck,
    check_planted,
    check_relatives,
    control_motifs,
    similarity,
    touching,
)
from chromtransfer_plugin.motifs.sites import MOTIFS, find_sites
from chromtransfer_plugin.regions import region_ids, write_bed
from chromtransfer_plugin.simulate import (
    CONSTITUTIVE_MOTIFS,
    LINE_MOTIFS,
    SimulatedData,
    jaspar_matrix,
)

STORE, RESULTS = "attributions", "motifs"
MADE = (STORE, f"{STORE}.run.json", RESULTS)
# At the paper's P <= 1e-5 a motif that was not planted has some 5 sites in 400 windows, too few to test it.
_THRESHOLD = 2e-4
_SHUFFLES = 100  # of each line motif; about a third of them have a hundred sites off the planted ones


class MotifResult(NamedTuple):
    """What the two analyses of motifs gave.

    Attributes
    ----------
    check : PlantedCheck
        Of planted motifs and controls.
    first : dict of str to str
        The motif of JASPAR 2022 with the highest D in each model, and at either end of the difference.
    problems : list of str
        Of both analyses.
    """

    check: PlantedCheck
    first: dict[str, str]
    problems: list[str]

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "planted": self.check.motifs.to_dict(orient="records"),
            "controls": self.check.controls,
            f"first in {MOTIFS}": self.first,
            "problems": self.problems,
        }


def analyse_motifs(out: Path, data: SimulatedData, seed: int) -> MotifResult:
    """Attribute both fine-tuned models over the positives of both lines, and compare them.

    Parameters
    ----------
    out : Path
        Folder of the demonstration, with ``LINE/finetuned``; receives ``attributions`` and ``motifs``.
    data : SimulatedData
    seed : int
        Of the controls.
    """
    lines = list(LINE_MOTIFS)
    genome = Genome(data.genome)
    for line in lines:
        windows, _ = load_windows(genome, data.lines[line], positive=line)
        table = windows.take(windows.targets[:, 0] == 1).table
        write_bed(table.assign(name=region_ids(table)), out / line / "positives.bed")
    attribute_file(
        [f"{line}={out / line / 'finetuned'}" for line in lines],
        [f"{line}={out / line / 'positives.bed'}" for line in lines],
        out / STORE,
        genome=data.genome,
        device="cpu",
    )
    with AttributionStore(out / STORE) as store:
        whole = compare(store, *lines)
        write_comparison(whole, out / RESULTS, figures=None)
        names = [name for group in (*LINE_MOTIFS.values(), CONSTITUTIVE_MOTIFS) for name in group]
        planted = {name: jaspar_matrix(name).T for name in names}
        line_motifs = [name for group in LINE_MOTIFS.values() for name in group]
        controls = control_motifs(planted, line_motifs, whole.motifs, _SHUFFLES, seed)
        panel = planted | controls
        hits = find_sites(store, store.rows(), panel, threshold=_THRESHOLD)
        # where a planted site lies a control is not unplanted: words that share a piece with it match there
        beside = hits["motif"].isin(controls) & touching(hits, data.sites)
        table = compare(store, *lines, motifs=panel, hits=hits[~beside], threshold=_THRESHOLD).table
    check = check_planted(table, LINE_MOTIFS, controls)
    tested = {name: whole.motifs[name] for name in whole.table["motif"]}
    relatives = check_relatives(whole.table, LINE_MOTIFS, similarity(tested, planted, whole.motifs))
    return MotifResult(check, _first(whole.table, lines), [*check.problems, *relatives])


def _first(table: pd.DataFrame, lines: list[str]) -> dict[str, str]:
    table = table.set_index("motif")
    a, b = lines
    return {
        a: str(table[f"{a}.D"].idxmax()),
        b: str(table[f"{b}.D"].idxmax()),
        f"{a} - {b}": str(table["diff.D"].idxmax()),
        f"{b} - {a}": str(table["diff.D"].idxmin()),
    }


def describe(result: MotifResult) -> str:
    """Return what the demonstration prints of it."""
    counts = result.check.controls
    first = "; ".join(f"{name}: {motif}" for name, motif in result.first.items())
    shown = result.check.motifs.round(3).to_string(index=False)
    verdict = "as planted" if not result.problems else "NOT as planted: " + "; ".join(result.problems)
    return (
        f"Motifs that the fine-tuned models read (D and rank among planted motifs and controls)\n\n{shown}\n\n"
        f"{counts['significant']} of {counts['tested']} control motifs are significant, "
        f"{counts['read']} of them with D above 0; largest D {counts['largest_D']:.3f}\n"
        f"first of {MOTIFS} by D: {first}\n{verdict}"
    )
