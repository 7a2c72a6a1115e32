"""What the index finds: `afterview evaluate retrieval`.

scores         recall, IoU and average precision of a ranking (pure)
queries        a question as the index is asked it: as it is, or as a caption
worlds         the protocol over synthetic worlds
momentseeker   reads MomentSeeker's published files, of both releases
ranking        the protocol over them
table          figures for people (pure)
"""
