"""The model: vision tower, projector, MemAug, splice, language model, checkpoints.

Importing this package is cheap: `model.checkpoint.preset` and `model.vision.preprocess` need neither torch nor
transformers.
"""
