"""Questions, and the captions that a person would write for them. The first table was written before the rule (stream.ask.captions).

The second (HELD_OUT) was written after the rule was frozen, with other wordings. The frozen rule gave 10 of its 30 captions, and kept 90 of
their 95 content words. After that was noted, the rule learnt four of the forms that went wrong there: the table is no longer held out.
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

HELD_OUT = (
    (
        "What's the colour of the hatchback that blocked my driveway on Saturday morning?",
        "a hatchback blocking a driveway",
    ),
    ("Which delivery service brought the big box?", "a delivery service bringing a big box"),
    ("What was the jogger with the headphones listening to?", "a jogger with headphones"),
    ("What were the kids throwing at the window?", "kids throwing something at the window"),
    ("What did the plumber take out of his toolbox?", "a plumber taking something out of his toolbox"),
    ("Who keeps feeding the pigeons on the balcony?", "a person feeding the pigeons on the balcony"),
    ("Who was the last person to use the copier?", "a person using the copier"),
    ("Who's that at the side entrance?", "a person at the side entrance"),
    ("Where have my reading glasses got to?", "reading glasses"),
    ("Where did the forklift unload the pallets?", "a forklift unloading pallets"),
    ("Since when has the umbrella been lying on the lawn?", "an umbrella lying on the lawn"),
    ("When is the bakery window lit?", "a lit bakery window"),
    ("For how long did the stranger stare at the house?", "a stranger staring at the house"),
    ("How many suitcases does the tourist have?", "a tourist with suitcases"),
    ("How many swans swam across the pond between 07:00 and 09:15?", "swans swimming across the pond"),
    ("How far from the kerb is the scooter?", "a scooter near the kerb"),
    ("Was a ladder ever leaning on the garage?", "a ladder leaning on the garage"),
    (
        "Did the toddler, who had a red bucket, fall into the sandpit?",
        "a toddler with a red bucket falling into the sandpit",
    ),
    ("Has anybody watered my tomatoes since Thursday?", "a person watering tomatoes"),
    ("Were any of the dogs off the leash?", "dogs off the leash"),
    ("Didn't the crane lift a steel beam last Monday?", "a crane lifting a steel beam"),
    ("Would there have been a skateboard on the stairs?", "a skateboard on the stairs"),
    ("Why hasn't the window cleaner come?", "a window cleaner"),
    ("Is there nothing left in the fridge?", "an empty fridge"),
    ('Did a bus with the word "EXPRESS" on it go by this afternoon?', 'a bus with the word "EXPRESS" on it going by'),
    ("Was Mrs. Miller at her window around 6 in the evening?", "Mrs. Miller at her window"),
    ("I'd like to see every moment where a truck reverses into the bay.", "a truck reversing into the bay"),
    ("Give me pictures of the sunset over the harbour, please", "a sunset over the harbour"),
    ("Il y a un vélo devant la porte ?", "Il y a un vélo devant la porte ?"),
    ("Did it happen again?", "Did it happen again?"),
)
