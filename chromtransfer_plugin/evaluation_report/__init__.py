"""One self-contained HTML page on evaluations, training runs, data sets and data efficiency; the verdict first."""
