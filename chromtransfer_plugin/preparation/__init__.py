"""Data sets from ENCODE files: windows, accessibility calls, line-specific positives, negatives, genome tiles."""
