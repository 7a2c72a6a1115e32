"""Ablations of the small model: `afterview evaluate ablations`. Each row of configs/training/ablations.yaml is trained and asked.

plan      the configuration: rows as overrides of a recipe, and which runs there are (pure)
start     what all rows start from: bank, features, and the weights after "sentences"
train     MemAug and decoder of one row
ask       one row's questions, about worlds that all rows share
report    the table beside the paper's (pure)
queue     one run after another, resumable
"""
