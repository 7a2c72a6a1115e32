"""How good the answers are: judged against the truth of worlds that were rendered, encoded and taken in like any other video.

judge      one answer against its truth (pure)     tables     accuracies, intervals, confusions (pure)
worlds     video -> memory -> questions -> answers
"""
