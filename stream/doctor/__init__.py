"""Checks of this machine, of a configuration and its cameras, and of a memory. Each has a limit of time, and names a remedy."""
