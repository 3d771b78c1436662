"""Measure a reward model: step metrics, first-error F1, calibration, best-of-N, intervals, and the page to look at."""
