"""The words that the rule for captions knows (stream.ask.captions): English verbs of what cameras see, and what only a question needs."""

from functools import cache


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BE = _words("is are was were am be been being")
DO = _words("do does did")
HAVE = _words("has have had having")
MODAL = _words("can could will would shall should may might must")
AUXILIARIES = BE | DO | HAVE | MODAL
RELATIVES = _words("that who which")
ARTICLES = _words("the a an")
OWNERS = _words("my your our his her its their this these those")
QUANTIFIERS = _words("any some all every each no both many several")
DETERMINERS = ARTICLES | OWNERS | QUANTIFIERS
PREPOSITIONS = _words(
    "about above across after against along among around as at before behind below beneath beside besides between "
    "beyond by down for from in inside into near next of off on onto opposite out outside over past through to "
    "toward towards under underneath up upon with within without closest nearest"
)
# What a question is about when it names nobody; and what those words are in a picture.
PRONOUNS = {
    **dict.fromkeys(_words("anyone anybody someone somebody everyone everybody nobody one none"), "a person"),
    **dict.fromkeys(_words("anything something nothing everything"), "something"),
    **{"he": "a man", "she": "a woman", "they": "people", "him": "a man", "them": "people"},
}
UNSEEN = _words("i you we it there me us")  # subjects of which a picture shows nothing
FILLERS = _words(
    "ever already still yet really actually just also again please not never exactly perhaps maybe else currently "
    "then approximately only so even too"
)
MASS = _words(
    "weather snow water rain smoke fire luggage furniture traffic fog mud ice food rubbish garbage trash grass mail "
    "post clothing equipment money dust sand blood hay wood graffiti fruit laundry sunlight lightning"
)
PLURALS = _words("people men women children police mice geese feet teeth sheep cattle postmen firemen")
SINGULAR_IN_S = _words(
    "bus gas glass grass dress boss cross chess lens christmas bus campus cactus canvas iris tennis mattress"
)
ADJECTIVES = _words(
    "open closed shut locked unlocked empty full wet dry clean dirty broken lit dark bright red green blue yellow "
    "black white grey gray orange purple pink brown big small large tall short long old new young busy crowded "
    "quiet visible blocked free ready clear hot cold alone asleep awake parked damaged flooded frozen ajar upside"
)
# Past forms that describe how something is, and not what somebody does: they stay.
STATES = _words(
    "parked closed locked covered filled loaded tied chained dressed painted broken lit damaged blocked stuck "
    "stacked hung shut made marked written printed called named"
)
EMPTY_VERBS = _words("do happen go occur")  # alone they show nothing

BASES = _words(
    "accept appear approach argue arrive ask attach bark beat bend bite block blow board bounce break bring brush "
    "build burn buy call carry catch change charge chase check chew clap clean clear climb close collapse collect "
    "come cook cough cover crash crawl cross cry cut cycle dance deliver dig disappear dive do drag draw drink drip "
    "drive drop eat empty enter escape exit explode fall feed fetch fight fill film fix flash flee float flood fly "
    "fold follow forget fry grill gallop get give go grab greet hand hammer hang happen have help hide hit hold "
    "honk hop hug hunt hurry jog join jump keep kick kiss kneel knock land laugh lay lean leap leave let lie lift "
    "light limp load lock look lose make march meet melt mend mount move mow occur open overtake pace pack paint "
    "park pass paste pat pay peel pet phone photograph pick play plant point pour pray press pull push put queue "
    "race rain raise rake reach read recover remove repair rest return ride ring rise roll row run rush sail say "
    "scratch scream sell shake shave shine shoot shout shovel show shut sing sink sit skate ski sleep slide slip "
    "smash smile smoke sneeze sniff snow speak spill spin splash spray squat stand start steal steer step stop "
    "strike stroke stumble sweep swim swing take talk tap tear tell throw tie tip touch tow trip turn type unload "
    "unlock use visit wait wake walk wander wash watch water wave wear weigh wheel whistle wipe work wrap write "
    "yawn"
)
_IRREGULAR = {
    "beat": "beat beaten", "bend": "bent", "bite": "bit bitten", "blow": "blew blown", "break": "broke broken", "bring": "brought",
    "build": "built", "burn": "burnt", "buy": "bought", "catch": "caught", "come": "came come", "cut": "cut", "dig": "dug",
    "do": "did done", "draw": "drew drawn", "drink": "drank drunk", "drive": "drove driven", "eat": "ate eaten", "fall": "fell fallen",
    "feed": "fed", "fight": "fought", "flee": "fled", "fly": "flew flown", "forget": "forgot forgotten", "let": "let",
    "get": "got gotten", "give": "gave given", "go": "went gone",
    "hang": "hung", "hide": "hid hidden", "hit": "hit", "hold": "held", "keep": "kept", "kneel": "knelt", "lay": "laid",
    "lean": "leant", "leap": "leapt", "leave": "left", "lie": "lay lain", "light": "lit", "lose": "lost", "make": "made", "meet": "met",
    "overtake": "overtook overtaken", "pay": "paid", "put": "put", "ride": "rode ridden", "ring": "rang rung", "rise": "rose risen",
    "run": "ran run", "say": "said", "sell": "sold", "shake": "shook shaken", "shine": "shone", "shoot": "shot", "shut": "shut",
    "sing": "sang sung", "sink": "sank sunk", "sit": "sat", "sleep": "slept", "slide": "slid", "speak": "spoke spoken", "spill": "spilt",
    "spin": "spun", "stand": "stood", "steal": "stole stolen", "strike": "struck", "sweep": "swept", "swim": "swam swum",
    "swing": "swung", "take": "took taken", "tear": "tore torn", "tell": "told", "throw": "threw thrown", "wake": "woke woken",
    "wear": "wore worn", "write": "wrote written",
}  # fmt: skip
_DOUBLED = _words(
    "forget let chop clap cut dig drag drip drop get grab hit hop hug jog knit mop nap pat pet plan put rub run "
    "shop shut sit skip slip spin squat step stop swim tap trip tip wrap chat"
)  # fmt: skip

# Words of other languages that English has not; enough to tell that a question is in none of our words.
FOREIGN = _words(
    "der das dem den ist sind und ein eine einen wer wo wann welche welcher wie nicht hat haben warum auf mit le la "
    "les est un une où qui quand quel quelle combien des du dans sur avec pourquoi que el los las es qué quién "
    "dónde cuándo cuántos una por con hay está en del il lo gli è che chi dove quando quanti della nel di sono c'è "
    "de het een er wie waar wanneer hoeveel zijn niet staat welke met o os uma onde quem quantos não tem är och ett "
    "en det vem när var hur många på jest gdzie kto kiedy czy ile nie w na"
) - _words("a an as at in is on no o w")  # fmt: skip


@cache
def _forms() -> dict[str, str]:
    """Past forms and participles to the verb."""
    forms = {past: base for base, pasts in _IRREGULAR.items() for past in pasts.split()}
    for base in sorted(BASES):
        forms.setdefault(_past(base), base)
    return forms


def past_of(word: str) -> str | None:
    """The verb of which this is a past form or a participle."""
    return _forms().get(word)


def third_of(word: str) -> str | None:
    """The verb of which this is the form with he, she or it."""
    if not word.endswith("s"):
        return None
    ends = [word[:-1], word[:-2] if word.endswith("es") else "", word[:-3] + "y" if word.endswith("ies") else ""]
    return next((base for base in ends if base in BASES), None)


def ing(base: str) -> str:
    """The form of a verb that says what somebody is doing."""
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return base[:-1] + "ing"
    return base + (base[-1] if base in _DOUBLED else "") + "ing"


def _past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + (base[-1] if base in _DOUBLED else "") + "ed"
