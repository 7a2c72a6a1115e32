"""The way of weights to this machine: what a model needs, what is here, and how the rest is fetched from the hub. Needs no torch."""
