"""What the index finds: `afterview evaluate retrieval`.

scores         recall, IoU and average precision of a ranking (pure)
queries        a question as the index is asked it: as it is, or as a caption
worlds         the protocol over synthetic worlds
momentseeker   the protocol over MomentSeeker's published files
table          figures for people (pure)
"""
