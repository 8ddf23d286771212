"""The paper's whole evaluation on real windows of all six lines, in one command.

Trains the baselines (binary, multi-class as really trained, multi-class repaired, fine-tuned), scores them, the zoo's
models, the un-tuned pre-trained one, a 6-mer regression and the authors' published scores on the same windows, runs the
data-efficiency analysis, and writes the HTML report and the generated part of docs/results/evaluation.md.

    python benchmarks/evaluation.py --data DIR --out DIR [--to docs/results]

Networks have a quarter of the paper's width and few epochs: what one CPU core trains in an hour. A run that was
stopped goes on when the same command is given again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from chromtransfer_plugin.commands import run
from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.reproduce import GENOME

BASELINES = ("kmer", "pretrained", "binary", "multiclass", "multiclass-fixed", "fine-tuned")
# The paper's rate and batch sizes are for 50,000 steps; a line has some 70 batches of 32 here.
SETTINGS = (
    "bf16=true",
    "max_epochs=8",
    "batch_size=32",
    "fine-tuned.lr=3e-4",
    "multiclass.max_epochs=12",
    "multiclass.batch_size=128",
    "multiclass-fixed.max_epochs=12",
    "multiclass-fixed.batch_size=128",
)
NETWORK = ("width=0.25", "bn_momentum=0.1")
EFFICIENCY = ("GM12878", "HEPG2")  # docs/results/efficiency.md has more
TABLES = ("metrics.tsv", "comparisons.tsv", "calibration.tsv")  # copied beside the document
MARK = "<!-- Everything below is written by benchmarks/evaluation.py -->"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of docs/real_data.md.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@click.option("--to", type=click.Path(path_type=Path), default=Path("docs/results"), show_default=True)
def main(data: Path, out: Path, to: Path) -> None:
    """Evaluate, then report."""
    make_folder(out)
    here = Path.cwd()
    evaluation = out / "evaluation"
    run("chromtransfer", *evaluate_arguments(data, evaluation), cwd=here)
    analyses = [efficiency(data, out, line) for line in EFFICIENCY]
    page, verdicts = out / "report.html", out / "verdicts.txt"
    run(
        "chromtransfer", "report", *map(str, [evaluation, *analyses]), "-o", str(page), cwd=here, log=verdicts
    )
    write_results(to / "evaluation.md", evaluation, analyses, verdicts)
    make_folder(to / "evaluation")
    for name in TABLES:
        shutil.copyfile(evaluation / name, to / "evaluation" / name)
    shutil.copyfile(page, to / "evaluation" / page.name)
    click.echo(f"{page}: {page.stat().st_size / 1e6:.1f} MB; {to / 'evaluation.md'}")


def evaluate_arguments(data: Path, out: Path) -> list[str]:
    arguments = ["evaluate", "--genome", str(data / GENOME), "--out", str(out)]
    arguments += [
        "--test",
        f"{data}/regions/test/{{line}}.csv",
        "--train",
        f"{data}/regions/train/{{line}}.csv",
    ]
    for line in CELL_LINES:
        arguments += ["--line", line]
    arguments += ["--model", "zoo={line}", "--pretrained", "pretrained"]
    for kind in BASELINES:
        arguments += ["--baseline", kind]
    arguments += ["--against", f"authors={data}/paper_scores/{{line}}.csv"]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    for setting in NETWORK:
        arguments += ["--network", setting]
    return arguments


def efficiency(data: Path, out: Path, line: str) -> Path:
    """Run the data-efficiency analysis of one line on features of the pre-trained trunk; returns its folder."""
    folder = out / f"efficiency-{line}"
    arguments = ["efficiency", "--genome", str(data / GENOME), "--positive", line]
    for part in ("train", "test"):
        arguments += [f"--{part}", str(data / "regions" / part / f"{line}.csv")]
    arguments += ["--pretrained", "pretrained", "--out", str(folder)]
    run("chromtransfer", *arguments, cwd=Path.cwd())
    return folder


def write_results(path: Path, evaluation: Path, analyses: list[Path], verdicts: Path) -> None:
    """Replace what stands below the mark in the document by the summary of this run."""
    head = path.read_text(encoding="utf-8").partition(MARK)[0] if path.exists() else "# Evaluation\n\n"
    summary = (evaluation / "evaluation.md").read_text(encoding="utf-8").removeprefix("# Evaluation\n")
    # The sections of the lines are long: their figures are in the tables beside the document, and in the page.
    summary = summary.partition(f"\n## {CELL_LINES[0]}\n")[0]
    words = [
        line
        for line in verdicts.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("Written")
    ]
    parts = [
        head.rstrip() + "\n",
        MARK,
        summary,
        "## Verdicts of the report\n",
        *(f"- {line}" for line in words),
    ]
    for folder in analyses:
        title = folder.name.replace("efficiency-", "Data efficiency, ")
        parts.append(f"\n## {title}\n\n{(folder / 'table.md').read_text(encoding='utf-8')}")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
