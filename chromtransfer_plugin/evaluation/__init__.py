"""Is a model good? Many models on the same windows: every metric with intervals, paired tests, calibration."""
