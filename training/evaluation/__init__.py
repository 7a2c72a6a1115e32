"""How good the answers are: judged against the truth of worlds that were rendered, encoded and taken in like any other video.

plan       which worlds, which questions (pure)     judge     one answer against its truth (pure)
worlds     video -> memory -> answers                tables    accuracies, intervals, confusions (pure)
quiz       the demo's questions (pure)
"""
