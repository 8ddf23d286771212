"""``chromtransfer report``."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("folders", type=_FILE, nargs=-1, required=True, metavar="RUN...")
@click.option(
    "-o", "--out", type=_FILE, default=Path("report.html"), show_default=True, help="HTML file to write."
)
@click.option("--title", default="Is the model good?", show_default=True, help="Heading of the page.")
@click.option("--verdicts", type=_FILE, help="Also write the verdicts as JSON, for programs.")
def report(folders: tuple[Path, ...], out: Path, title: str, verdicts: Path | None) -> None:
    """Write one HTML page on results: the verdict in words, then numbers, figures, data and how all was made.

    RUN is any number of folders: of `evaluate`, `efficiency`, `dataset build`, `dataset leaks`, and of training runs. The
    page is one file that loads nothing. Prints the verdict on each model and line.
    """
    from chromtransfer_plugin.evaluation_report import write_report

    written = write_report(folders, out, title=title, verdicts=verdicts)
    several = len({verdict.evaluation for verdict in written.verdicts}) > 1
    for verdict in written.verdicts:
        where = f"{verdict.evaluation}: " if several else ""
        click.echo(f"{where}{verdict.line}, {verdict.model}: {verdict.sentence} Next: {verdict.advice}")
    for path in (written.path, verdicts):
        if path is not None:
            click.echo(f"Written: {path}")
