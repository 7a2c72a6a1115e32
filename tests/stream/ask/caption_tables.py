"""Questions, and the captions that a person would write for them. The first table was written before the rule (stream.ask.captions).

The second (HELD_OUT) was written after the rule was frozen, with other wordings; the rule was not changed for it afterwards.
"""

TABLE = (
    # what colour, what kind, which, whose
    ("What colour is the car that parked by the gate at noon?", "a car parked by the gate"),
    ("What colour are the chairs on the terrace?", "chairs on the terrace"),
    ("What kind of dog is on the sofa?", "a dog on the sofa"),
    ("Which car is parked closest to the entrance?", "a car parked closest to the entrance"),
    ("Whose bicycle leans against the wall?", "a bicycle leaning against the wall"),
    ("What is the license plate of the white van?", "a license plate of the white van"),
    # what is ... doing, what is where
    ("What is the man doing?", "a man"),
    ("What is the old man on the bench doing right now?", "an old man on the bench"),
    ("What is the woman in the red coat carrying?", "a woman in the red coat carrying something"),
    ("What did the child drop?", "a child dropping something"),
    ("What is on the table?", "something on the table"),
    ("What was the weather like?", "weather"),
    # who
    ("Who rang the doorbell?", "a person ringing the doorbell"),
    ("Who is standing at the counter?", "a person standing at the counter"),
    ("Who has an umbrella?", "a person with an umbrella"),
    ("Who came through the back door last night?", "a person coming through the back door"),
    # where
    ("Where is my blue backpack?", "a blue backpack"),
    ("Where did I leave my keys?", "keys"),
    ("Where is Rex?", "Rex"),
    ("Could you tell me where the black cat went?", "a black cat"),
    # when, how long, how often
    ("When did the postman come?", "a postman coming"),
    ("When was the last time you saw a cat on the wall?", "a cat on the wall"),
    ("What time did the school bus stop at the corner?", "a school bus stopping at the corner"),
    ("At what time did the lorry leave the yard?", "a lorry leaving the yard"),
    ("How long was the truck parked at the dock?", "a truck parked at the dock"),
    ("How often did the cat cross the yard today?", "a cat crossing the yard"),
    # how many, how much, how tall
    ("How many people are in the queue?", "people in the queue"),
    ("How many cars passed the gate this morning?", "cars passing the gate"),
    ("How much snow is on the roof?", "snow on the roof"),
    ("How tall is the man by the tree?", "a man by the tree"),
    # yes or no
    ("Is there a dog in the garden?", "a dog in the garden"),
    ("Did you see a red ring?", "a red ring"),
    ("Did anyone climb over the fence?", "a person climbing over the fence"),
    ("Is a man riding a bicycle?", "a man riding a bicycle"),
    ("Is the car red?", "a red car"),
    ("Was the gate open at 14:30?", "an open gate"),
    ("Is the kitchen empty?", "an empty kitchen"),
    ("Does the man have a beard?", "a man with a beard"),
    ("Has the bus arrived?", "a bus arriving"),
    ("Have the bins been emptied since yesterday?", "bins emptied"),
    ("Are there people waiting at the tram stop?", "people waiting at the tram stop"),
    ("Can you see any smoke above the shed?", "smoke above the shed"),
    (
        "Did the man in the green jacket open the boot between 3 pm and 4 pm?",
        "a man in the green jacket opening the boot",
    ),
    ("Is it raining?", "raining"),
    # why, and negations
    ("Why did the alarm light flash?", "an alarm light flashing"),
    ("Did nobody water the plants on Tuesday?", "a person watering the plants"),
    ("Why is the gate not closed?", "a closed gate"),
    # names and quotes
    ("Did Anna Smith enter the kitchen two hours ago?", "Anna Smith entering the kitchen"),
    ('Is there a sign that says "NO PARKING"?', 'a sign saying "NO PARKING"'),
    # imperatives
    ("Show me all the trucks at the loading dock.", "trucks at the loading dock"),
    ("find the man with a ladder", "a man with a ladder"),
    ("Tell me whether the lights are on", "lights on"),
    ("Please look for a lost cat near the bins", "a lost cat near the bins"),
    ("Describe the person at the door in the last 10 minutes.", "a person at the door"),
    # captions as given
    ("a red car", "a red car"),
    ("two children playing football at night", "two children playing football at night"),
    # other languages, and nothing left
    ("Welche Farbe hat das Auto am Tor?", "Welche Farbe hat das Auto am Tor?"),
    ("猫はどこにいますか?", "猫はどこにいますか?"),
    ("What happened?", "What happened?"),
    ("What do you see now?", "What do you see now?"),
)
