"""A model that only finds frames: what it answers, of what, and what its memory holds."""
