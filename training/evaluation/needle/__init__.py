"""Needles in a haystack of video (VideoChat-Flash, arXiv 2501.00574): depth by length, and chains of clues with decoys.

plan       which cells, which items (pure)            haystack   features of background frames and pictures, encoded once
items      items of the synthetic world (pure)        published  items of files in the published format
asking     one question under one recall mode         running    all cells, resumable
report     tables (pure)                              heatmap    the picture of depth by length
"""
