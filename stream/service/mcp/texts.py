"""What assistants are told of the tools: when to use which, and what they cannot do. It goes into every prompt, so it is short."""

INSTRUCTIONS = """Afterview watches cameras and remembers one frame per second of video, for days. Ask it what was seen.
Begin with `cameras` for names, zones and spans. Use `ask` for questions in words, `search` to find frames that look like a description,
`timeline` for when a camera recorded, `frame` to look at one moment. Answers come with evidence (frames, with links) and coverage (what
the answer could know): say so if the coverage has gaps. An answer that is not there within 8 s has a handle; call `answer_status` with it.
Times without an offset are in the camera's zone. Nothing here changes or deletes anything."""

TITLES = {
    "ask": "Ask about what cameras saw",
    "search": "Find frames",
    "cameras": "List cameras",
    "timeline": "When a camera recorded",
    "frame": "Look at one frame",
    "answer_status": "Fetch a late answer",
}

DESCRIPTIONS = {
    "ask": """Answer one question in words about what cameras have seen: "Did a parcel arrive today?", "What is at the door now?".
A model looks at the remembered frames of the span, and names the frames that its answer rests on (evidence) and how much was
recorded (coverage). Ask one short question at a time; give `cameras` and a span (`start`, `at`, `last`) where you know them: it
is faster and more exact. For the present leave the span out, or use `last`. It hears no sound and knows no names of people. It
cannot count over days or compute, and may be wrong: check the evidence with `frame`. May return a handle for `answer_status`
instead of the answer.""",
    "search": """Find the frames that look most like a description in words ("a red car", "a person with a ladder"). Returns
times, frame numbers and links, best first. It always returns the most similar frames, also when nothing like it was seen: look at
the best ones with `frame`, or ask about their time with `ask`. Use `ask` for yes-or-no questions.""",
    "cameras": """List the cameras that you may see: name, id, whether each is recorded now and if not why, its time zone, and
from when to when its frames are remembered. Also says what time it is. Takes no arguments.""",
    "timeline": """Say when one camera recorded: spans with frames, gaps with their reasons (lost, paused, not recording ...), and
spans that are no longer remembered. Use it when an answer's coverage has gaps, or before you say that nothing happened. Shows the
newest 20 entries of each kind. It does not say what was seen.""",
    "frame": """Get one frame of a camera: the newest, the last one at or before a time, or the one of a number that `ask` or
`search` gave. Returns its exact time and a link to its picture; with `picture` true the picture itself, which costs much of your
context.""",
    "answer_status": """Fetch an answer that took longer than 8 s, by the handle that `ask` or `search` returned. Waits up to 8 s;
if the answer is still not there, call it again. A handle works for 15 minutes after its last use, for the user who asked.""",
}
