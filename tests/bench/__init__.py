"""Benchmarks. Each prints figures and ratios of one run. `make bench` runs all of them and writes RESULTS.md."""
