"""Evaluation: answers are judged against the truth of worlds that were rendered, encoded and ingested like any other video.

plan       which worlds, which questions (pure)     judge     one answer against its truth (pure)
choices    which lettered option it chooses (pure)   tables    accuracies, intervals, mistakes (pure)
recall_modes  how much is recalled (pure)          likelihood  how likely an answer begins with a text
worlds     video -> memory -> answers                quiz      the questions of the demo (pure)
results    rows and tables of a run, on disk          intervals  shares, means, paired differences (pure)
"""
