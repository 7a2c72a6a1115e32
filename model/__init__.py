"""How video is understood: vision tower, projector, MemAug, splice, language model, checkpoints.

Importing this package imports nothing heavy: `model.preset` and `model.preprocess` need neither torch nor transformers.
"""
