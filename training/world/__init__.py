"""The synthetic world: scripted video with its truth. Needs numpy, PIL and pydantic; only `video` and `make` write files.

vocabulary                          words, colours, places, splits
config, story, script, twists       seed -> story (pure)
scenery, sprites, covers, render    story, t -> picture
history                             what was seen until t, and how to name it
facts, twist_facts, questions       what can be asked at t
phrasing                            in which words
cameras                             several cameras that share a story
truth                               JSON and captions
video                               H.264 file with its truth
make                                all files of a world
"""

from afterview.training.world.config import WorldConfig
from afterview.training.world.history import settled_time
from afterview.training.world.questions import QuestionPlan, WorldQuestion, multiple_choice, questions_at
from afterview.training.world.render import Renderer
from afterview.training.world.script import make_script
from afterview.training.world.story import Event, Script, StorySegment
from afterview.training.world.truth import VideoFacts, read_truth, truth_of, truth_path
from afterview.training.world.vocabulary import split_of
from afterview.training.world.world import World

__all__ = [
    "Event",
    "WorldQuestion",
    "QuestionPlan",
    "Renderer",
    "Script",
    "StorySegment",
    "VideoFacts",
    "World",
    "WorldConfig",
    "make_script",
    "multiple_choice",
    "questions_at",
    "read_truth",
    "settled_time",
    "split_of",
    "truth_of",
    "truth_path",
]
