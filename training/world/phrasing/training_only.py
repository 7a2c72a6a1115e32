"""More wordings of the kinds of `things` and `course`, for training only: indirect questions with many openings, direct
ones, and questions that follow what they are about.

With few wordings a small model memorises sentences; with about a hundred it learns the words. No held-out wording may
be here (a test checks), but every word of one should be: the sentence is held out. Some questions start with a word of another kind
("When you saw it, what colour ..."), because a model that never sees such questions decides by the first word.
"""

from typing import Final

_ASKING: Final = (
    "Can you tell me",
    "Could you tell me",
    "Do you know",
    "Can you say",
    "Do you recall",
    "Do you remember",
)
_TELLING: Final = (
    "Tell me",
    "Please tell me",
    "I want to know",
    "I would like to know",
    "Please say",
    "Remind me",
    "Let me know",
)

# What a question may be about before it is put, and what is then asked of it.
_LEADS: Final = (
    "As {the} came up,",
    "While {the} was there,",
    "When you saw {the},",
    "When {the} was on display,",
    "At the time of {the},",
    "Back when {the} was shown,",
    "About {the}:",
)
_OF_IT: Final[dict[str, tuple[str, ...]]] = {
    "colour": ("what colour was it?", "which colour was it in?", "what was its colour?"),
    "shape": ("what shape was it?", "which shape was it?", "what was its shape?"),
    "size": ("was it big or small?", "how big was it?", "which size was it?"),
    "where": ("in which part of the picture was it?", "at which place was it?", "where was it?"),
    "motion": ("which way did it move?", "in which direction did it go?", "how did it move?"),
    "scene": ("which scene was it?", "what was behind it?", "which background was there?", "against what was it?"),
    "when": ("what time was it?", "at which moment was that?", "when was that?"),
    "duration": ("how long did it stay?", "for how many seconds was it there?", "how long was it visible?"),
}

# Clauses that follow any of the openings.
_CLAUSES: Final[dict[str, tuple[str, ...]]] = {
    "colour": ("what colour {the} was", "which colour {the} had", "the colour of {the}", "in what colour {the} was shown"),
    "shape": ("what shape {the} was", "which shape {the} had", "the shape of {the}", "what kind of shape {the} had"),
    "size": (
        "whether {the} was big or small", "if {the} was small or big", "how big {the} was", "the size of {the}",
        "what size {the} had", "how large {the} was",
    ),
    "where": (
        "where {the} was", "where {the} appeared", "where in the picture {the} was", "where in the frame {the} turned up",
        "in which part of the frame {the} appeared", "the place of {the}", "whereabouts {the} was",
    ),
    "motion": (
        "which way {the} moved", "in which direction {the} went", "how {the} moved", "the direction of {the}",
        "which direction {the} took",
    ),
    "scene": (
        "in which scene {the} appeared", "which scene {the} was in", "the scene behind {the}", "what background {the} had",
        "against which scene {the} was shown", "in front of what {the} appeared", "against what {the} was seen",
        "what the camera saw as {the} came up", "which background was there when {the} appeared",
    ),
    "digit": (
        "which digit was shown{qualifier}", "what digit was on the card{qualifier}", "the digit that appeared{qualifier}",
        "which number was on the card{qualifier}", "what numeral was shown{qualifier}",
    ),
    "word": (
        "which word was shown{qualifier}", "what the sign said{qualifier}", "the word on the sign{qualifier}",
        "which word could be read{qualifier}", "what was written on the sign{qualifier}",
    ),
    "exists": (
        "whether {a} appeared", "whether there was {a}", "whether you saw {a}", "whether {a} was shown", "if {a} appeared",
        "if you have seen {a}", "whether {a} turned up",
    ),
    "count": (
        "how many times {a} was shown", "how often {a} appeared", "how often {a} was seen", "how many times you saw {a}",
        "the number of times {a} was shown", "on how many occasions you saw {a}", "how often {a} turned up",
    ),
    "when": (
        "when {the} was shown", "at what time {the} appeared", "the time at which {the} appeared", "when you saw {the}",
        "at which moment {the} came", "when {the} turned up", "what time it was when {the} appeared",
    ),
    "last": (
        "when {the} last appeared", "when you last saw {the}", "the last time {the} appeared",
        "when {the} was shown most recently", "at what time {the} was last seen", "the latest time {the} appeared",
    ),
    "first": (
        "which was shown first, {one} or {two}", "which of {one} and {two} came first", "which was earlier, {one} or {two}",
        "whether {one} or {two} came first", "if {one} or {two} was earlier", "which of the two turned up first, {one} or {two}",
    ),
    "order": (
        "in which order {one}, {two} and {three} came", "in what order {one}, {two} and {three} were shown",
        "which came first, second and third of {one}, {two} and {three}", "how {one}, {two} and {three} followed in time",
    ),
    "before": (
        "what came right before {the}", "what was shown just before {the}", "the thing right before {the}",
        "which thing preceded {the}", "what was shown last before {the}",
    ),
    "after": (
        "what came right after {the}", "what was shown just after {the}", "the thing right after {the}",
        "which thing followed {the}", "what was shown next after {the}",
    ),
    "duration": (
        "how long {the} was shown", "for how long {the} stayed", "how many seconds {the} was visible",
        "for how long {the} could be seen", "how long {the} lasted",
    ),
    "gap": (
        "how much time was between {one} and {two}", "the time from {one} to {two}", "how much later {two} came than {one}",
        "by how much {one} was earlier than {two}",
    ),
    "now": (
        "what is shown right now", "what you see now", "what can be seen at this moment", "what is there right now",
        "what is on display now", "what is visible at present",
    ),
    "scene now": (
        "which scene is shown now", "what scene it is now", "the present scene", "what the camera is looking at now",
        "which background there is now", "which landscape is shown now",
    ),
    "scene seen": (
        "whether the {scene} was shown", "whether you saw the {scene}", "if the {scene} appeared",
        "whether the camera looked at the {scene}", "if the {scene} ever turned up",
    ),
    "scene before": (
        "which scene came before this one", "the previous scene", "what the previous scene was",
        "what scene was on view before the last change", "which scene the camera showed before this one",
    ),
}  # fmt: skip

_DIRECT: Final[dict[str, tuple[str, ...]]] = {
    "colour": (
        "{the}: what colour?", "Describe the colour of {the}.", "The colour of {the}?", "What colour did you see on {the}?",
        "In what colour was {the}?", "As for {the}, what colour was it?", "What was the colour that {the} had?",
        "{the} was of what colour?",
    ),
    "shape": (
        "{the}: what shape?", "Describe the shape of {the}.", "The shape of {the}?", "Which shape did you see, in {the}?",
        "{the} was of what shape?", "As for {the}, which shape was it?", "What was {the} shaped like?",
        "What was the shape that {the} had?",
    ),
    "size": (
        "How large was {the}?", "{the}: big or small?", "Was {the} large or small?", "The size of {the}?",
        "As for {the}, was it small or big?", "Was {the} a small one or a big one?",
    ),
    "where": (
        "{the} was where?", "Whereabouts was {the}?", "In what place was {the}?", "Where could {the} be seen?",
        "Where on the screen was {the}?", "Where did {the} turn up?", "Where exactly was {the}?",
        "In what part of the picture was {the} shown?", "Where was {the} in the picture?",
        "Where in the picture did you see {the}?", "As for {the}, where was it?", "In which place on the screen was {the}?",
    ),
    "motion": (
        "Which way was {the} going?", "In what direction was {the} moving?", "Where was {the} going?",
        "What direction did {the} take?", "Where did {the} go?", "As for {the}, which way did it go?",
    ),
    "scene": (
        "Which background did {the} have?", "In front of which scene was {the}?", "What was the background of {the}?",
        "What was the camera looking at when {the} was shown?", "Which landscape was behind {the}?",
        "What was the camera pointed at when {the} came up?", "What did the camera show when {the} was there?",
        "When {the} was shown, where was the camera looking?", "What was to be seen behind {the}?",
        "On what background was {the} shown?", "What landscape was there when you saw {the}?",
        "Where was the camera looking when {the} appeared?", "As for {the}, which scene was it in?",
        "Against what was {the} seen?", "Against which scene was {the} shown?", "Against what backdrop was {the} visible?",
        "Against which landscape did you see {the}?", "Against what did {the} stand out?", "On which background was {the} seen?",
        "In front of what was {the} shown?", "In front of which background did you see {the}?",
        "Behind {the}, which scene was there?", "With which scene behind it was {the} shown?",
        "What did the camera see as {the} came up?", "What was the camera filming while {the} was there?",
        "At which scene did the camera look as {the} was shown?", "What had the camera in view when you saw {the}?",
    ),
    "digit": (
        "What number was shown{qualifier}?", "Which number did the card show{qualifier}?", "What numeral appeared{qualifier}?",
        "Which digit was on display{qualifier}?", "Which numeral did you see{qualifier}?", "What was on the card{qualifier}?",
        "Which digit could be read{qualifier}?", "Was there a digit{qualifier}, and which?",
        "When you saw the digit{qualifier}, which one was it?", "When the card appeared{qualifier}, what number did it show?",
        "As the card came up{qualifier}, which digit was on it?", "What figure was on the card{qualifier}?",
        "Is there a number that was shown{qualifier}, and which?", "What was the number{qualifier}?",
        "Which number did you see{qualifier}?", "What did the card say{qualifier}?", "What figure appeared{qualifier}?",
        "What stood on the card{qualifier}?",
    ),
    "word": (
        "What word was on display{qualifier}?", "Which word was written{qualifier}?", "What did you read{qualifier}?",
        "What was written on the sign{qualifier}?", "What could be read on the sign{qualifier}?",
        "Which word could be read{qualifier}?", "Was there a word{qualifier}, and which?",
        "When you saw the word{qualifier}, which one was it?", "When the sign appeared{qualifier}, what was written on it?",
        "As the sign came up{qualifier}, which word was on it?", "What text was written{qualifier}?",
        "Was anything written{qualifier}, and what?", "What did it say{qualifier}?", "What was there to read{qualifier}?",
        "What was printed{qualifier}?", "What was it that was written{qualifier}?", "What stood on the sign{qualifier}?",
        "What did you see written{qualifier}?", "What was spelled out{qualifier}?", "What had been written{qualifier}?",
        "What could be read{qualifier}?",
    ),
    "exists": (
        "Did you ever see {a}?", "Did {a} come up?", "Did {a} turn up?", "Has there ever been {a}?", "Was {a} ever on display?",
        "Was {a} visible at any time?", "At any time, was there {a}?", "Do you recall {a}?", "Do you remember {a}?",
        "Was {a} among the things you saw?", "Is {a} something that appeared?", "When you look back, was there {a}?",
        "Has {a} been on display?", "Was {a} seen?", "Has {a} been seen?", "Was {a} there?", "Did you at any time see {a}?",
    ),
    "count": (
        "How many times did {a} turn up?", "How often was {a} on display?", "How often did {a} show up?",
        "Count how often {a} was seen.", "On how many occasions was {a} shown?", "So far, how often was {a} shown?",
        "Up to now, how many times did {a} turn up?", "In all, on how many occasions was {a} visible?",
        "When you saw {a}, how many times was that?", "In total, how often did {a} appear?",
        "In total, how many times was {a} shown?", "How many times could {a} be seen?", "How many times was {a} on display?",
    ),
    "when": (
        "{the} appeared when?", "What time was it when {the} appeared?", "When did {the} turn up?",
        "When was {the} on display?", "At what moment was {the} shown?", "At what time was {the} on display?",
        "When was it that {the} came up?", "What was the time of {the}?", "When exactly did {the} appear?",
        "At what point was {the} shown?", "When was {the} there?", "When could {the} be seen?", "When was {the} visible?",
    ),
    "last": (
        "When did {the} last turn up?", "When was the latest time {the} appeared?", "At what time was {the} last on display?",
        "What was the last time that {the} was shown?", "When was {the} most recently shown?", "When was {the} last visible?",
        "When could {the} last be seen?", "At what point was {the} last shown?",
    ),
    "first": (
        "Did {one} or {two} come first?", "Did {one} or {two} appear first?", "Which turned up first, {one} or {two}?",
        "Which of the two came first: {one} or {two}?", "Of {one} and {two}, which was shown first?",
        "Was it {one} or {two} that came first?", "Which of the two was shown earlier, {one} or {two}?",
        "When you saw {one} and {two}, which came first?", "About {one} and {two}: which was shown earlier?",
        "Was {one} first or {two}?", "Did you see {one} or {two} earlier?", "Had {one} or {two} been shown earlier?",
        "Of the two, which did you see first: {one} or {two}?", "Which was the first to appear, {one} or {two}?",
        "Between {one} and {two}, which came first?", "Which of these came first: {one} or {two}?",
        "What was shown first: {one} or {two}?", "Of {one} and {two}, which turned up earlier?",
        "Which did you see earlier, {one} or {two}?", "Which was seen first, {one} or {two}?",
        "Which one was earlier, {one} or {two}?",
    ),
    "order": (
        "List {one}, {two} and {three} in order of time.", "List in the order shown: {one}, {two}, {three}.",
        "From the earliest to the latest: {one}, {two}, {three}?", "How did {one}, {two} and {three} follow in time?",
    ),
    "before": (
        "What preceded {the}?", "Which thing came just before {the}?", "What had been shown right before {the}?",
        "What thing was shown directly before {the}?",
    ),
    "after": (
        "What followed {the}?", "Which thing came just after {the}?", "What was shown next after {the}?",
        "What thing was shown directly after {the}?", "Once {the} had gone, what came first?",
    ),
    "duration": (
        "How long did {the} last?", "How many seconds did {the} stay?", "For how many seconds was {the} on display?",
        "How long was {the} there, from start to end?",
    ),
    "gap": (
        "How much later did {two} come than {one}?", "How long after {one} was {two} shown?",
        "By how much was {one} earlier than {two}?",
    ),
    "now": (
        "What is on display now?", "What is on display right now?", "What is visible at present?",
        "Is anything shown now, and what?", "Which thing do you see at present?", "At this moment, what is shown?",
        "Now, what do you see?", "Right now, what is there?", "At the moment, which thing do you see?",
        "Is there anything in the picture now, and what is it?", "Is something shown at the moment, and which thing?",
        "Do you see anything right now, and what?", "Is anything there now, and what?", "At present, which thing is there?",
        "At this moment, is anything visible, and what?", "When you look now, what is there?",
        "What thing can you see at present?", "What can you see right now?", "What can be seen at the moment?",
        "Currently, what is visible?", "Right now, what can you see?", "At the moment, what can be seen?",
        "What does the picture show now?", "At the moment, what is on display?", "What is there to see right now?",
        "At present, what is shown?", "Which thing are you looking at?", "At the moment, what do you look at?",
    ),
    "scene now": (
        "What is the present scene?", "Which scene is on view now?", "Where is the camera looking now?",
        "What landscape is shown now?", "Which landscape do you see at the moment?", "At this moment, which scene is shown?",
        "Which scene do you see at present?", "Right now, which background is shown?", "At the moment, what scene is it?",
        "When you look now, which scene is there?", "Where is the camera pointed now?", "What background is there at present?",
        "What does the camera show now?",
    ),
    "scene seen": (
        "Did the {scene} ever appear?", "Did the {scene} turn up?", "Has the {scene} been on view at any time?",
        "Did you ever see the {scene}?", "Do you recall the {scene}?", "Did the camera look at the {scene}?",
        "When you look back, was the {scene} there?", "Is the {scene} something that was shown?",
        "Was the {scene} ever on view?", "Did the camera ever show the {scene}?", "Was the {scene} ever shown?",
    ),
    "scene before": (
        "What was the previous scene?", "What was on view before this scene?", "Which scene preceded this one?",
        "Before the latest change, which scene was on view?", "Which scene was there until this one came?",
    ),
}  # fmt: skip


def more_wordings(kind: str) -> tuple[str, ...]:
    """Wordings of a kind for training alone; none for a kind without them."""
    clauses, of_it = _CLAUSES.get(kind, ()), _OF_IT.get(kind, ())
    asked = [f"{opening} {clause}?" for clause in clauses for opening in _ASKING]
    told = [f"{opening} {clause}." for clause in clauses for opening in _TELLING]
    led = [f"{lead} {question}" for question in of_it for lead in _LEADS]
    return (*_DIRECT.get(kind, ()), *led, *asked, *told)
