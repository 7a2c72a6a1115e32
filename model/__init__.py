"""How video is understood: vision tower, projector, MemAug, splice, language model, checkpoints.

Importing this package imports nothing heavy: `model.checkpoint.preset` and `model.vision.preprocess` need neither torch nor transformers.
"""
