"""Long runs that look for growth and leaks: `python -m tests.soak NAME`. Never in CI; their reports are committed beside them."""
