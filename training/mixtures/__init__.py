"""Mixtures of short and long video, as in the paper's Figure 3, at small size: `afterview evaluate mixtures`.

plan      the configuration: worlds, the pipeline's settings, lessons and mixtures (pure)
worlds    worlds composed from a bank of frames, with their truth; no video is rendered or encoded
told      worlds with the questions that the pipeline kept about them, as token ids
lessons   batches of a mixture (pure)
ask       questions about held-out worlds, with the frames that the index recalls
report    the table beside the paper's finding (pure)
queue     all of it, one mixture after another, resumable
"""
