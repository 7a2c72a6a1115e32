"""Questions to captions. The index encoder (SigLIP) was trained with captions of pictures: it finds "a car parked by the gate" better than
"What colour is the car that parked by the gate at noon?". A rule without a model, for English; pure.

It removes what a picture does not show (question words, times, "did you see", "show me", negations) and says what is left as a caption
does: "a person ringing the doorbell". Captions, texts in other languages, and questions of which nothing would be left stay as they are.
How well it does is measured on tables that people wrote (tests/stream/ask/caption_tables.py).
"""

import re
import unicodedata
from typing import Final

from afterview.stream.ask import caption_words as words
from afterview.stream.ask.caption import Caption
from afterview.stream.ask.caption_grammar import Kind, predicate, relative, shows_something, with_article

LONGEST: Final = 2000  # characters; a longer text is no question about a picture, and stays as it is

_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')
_TOKEN = re.compile(r"\x00\d+\x00|[^\W_][\w'’./:-]*[^\W_]|[^\W_]")
_SENTENCES = re.compile(r"(?<=[.!?;])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)\s+", re.I)
_AND_WHAT = re.compile(r",?\s+(?:and|but)\s+(?=(?:what|who|where|when|why|how|which|is|are|did|does)\b)", re.I)

_CONTRACTIONS: Final = (
    (re.compile(r"\b(what|who|where|when|how|there|it|that|he|she)['’]s\b", re.I), r"\1 is"),
    (re.compile(r"\b(\w+)['’]re\b", re.I), r"\1 are"),
    (re.compile(r"\b(\w+)['’](?:ve|d|ll|m)\b", re.I), r"\1"),
    (re.compile(r"\bcan['’]?t\b", re.I), "can not"),
    (re.compile(r"\bwon['’]t\b", re.I), "will not"),
    (re.compile(r"n['’]t\b", re.I), " not"),
    (re.compile(r"\bno one\b", re.I), "nobody"),
)

_CLOCK = (
    r"(?:\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s?[ap]\.?m\b\.?)?|\d{1,2}\s?(?:[ap]\.?m\b\.?|o['’]clock)|noon|midday|midnight|lunchtime|"
    r"(?:half past|quarter to|quarter past)\s\w+)"
)
_UNIT = r"(?:second|minute|hour|day|night|week|weekend|month|year)s?"
_COUNT = (
    r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|few|couple of|several|half an)"
)
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_PART = r"(?:morning|afternoon|evening)"
_DAY = rf"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?(?:\s(?:{_PART}|night))?)"
_ISO = r"\d{4}-\d{2}-\d{2}(?:[t\s]\d{1,2}:\d{2}(?::\d{2})?)?"
_NTH = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = rf"(?:{_ISO}|{_NTH}\s(?:of\s)?{_MONTH}|{_MONTH}\s{_NTH})"
_POINT = rf"(?:{_CLOCK}|{_DATE}|(?:last\s|this\s|next\s)?{_DAY}|yesterday|today|tonight|now|then|{_PART})"
_WHEN = r"(?:at|around|about|before|after|since|until|till|by|from|on|in|of|during|as of)"
_TIMES: Final = tuple(
    re.compile(rf"(?:,\s*)?\b(?:{form})(?![\w:])", re.I)
    for form in (
        rf"between\s{_POINT}\s(?:and|to)\s{_POINT}",
        rf"between\s\d{{1,2}}\sand\s{_POINT}",
        rf"from\s(?:\d{{1,2}}|{_POINT})\s(?:to|until|till)\s{_POINT}",
        r"the day before yesterday",
        rf"(?:(?:in|during|within|over|for|of)\s)?(?:the\s)?(?:last|past|previous)\s(?:{_COUNT}\s)?{_UNIT}",
        rf"(?:about\s)?{_COUNT}\s{_UNIT}\s(?:ago|earlier|before)",
        rf"(?:for|within|in)\s(?:the\s)?(?:first\s)?{_COUNT}\s{_UNIT}",
        rf"yesterday\s{_PART}|(?:(?:{_WHEN})\s)?(?:this|last|yesterday|every|early|late)\s(?:{_PART}|night|{_UNIT}|{_DAY})",
        rf"(?:in|during)\sthe\s(?:early\s|late\s)?(?:{_PART}|day|night)",
        rf"(?:(?:since|until|from|at|by|shortly|just)\s)?(?:{_WHEN}\s)?(?:{_CLOCK}|{_DATE}|(?:last\s|next\s)?{_DAY}|yesterday|today|tonight)",
        r"(?:right|just|by|until|even) now|now|at (?:the|this) moment|at present|recently|lately|earlier|so far|nowadays",
        r"(?:at|around|about|by|before|after|since|until)\s\d{1,2}(?=\W*$)",
        r"all (?:day|night|morning|afternoon)(?: long)?|the whole (?:day|night|time)|for the (?:first|last) time|most recently",
    )
)

_SEE = r"(?:see|seen|saw|notice|noticed|spot|spotted|find|observe|observed|detect|remember|recall|know|recogni[sz]e)"
_THING = r"(?:pictures?|images?|frames?|photos?|moments?|footage|clips?|scenes?|videos?)"
_LEADS: Final = tuple(
    re.compile(rf"^(?:{form})(?=[\s,:]|$)[\s,:]*", re.I)
    for form in (
        r"please|hey|hi|hello|ok|okay|so|well|and|but|also|now|camera|afterview",
        r"(?:can|could|would|will) (?:you|we|i|anyone|anybody|someone|somebody)(?: please| kindly)?"
        r"(?= (?:tell|show|find|check|look|describe|list|count|give|search|say)\b)",
        rf"(?:have|has|had|did|do|does|can|could) (?:you|we|i|the camera|anyone|anybody)(?: ever| even| also| not)* {_SEE}",
        r"(?:do|would) you (?:happen to )?(?:know|mind telling me)|(?:i|we) (?:would )?(?:want|like|need)(?: to (?:know|see|find))?",
        r"i wonder|i(?: am)? (?:wondering|looking for|searching for)|any idea|do you think|is it (?:true|possible|correct) that",
        r"(?:tell|show|give|get|fetch|find|bring) (?:me|us)|let (?:me|us) (?:know|see)",
        r"(?:look|search|check|scan) for|(?:look|watch) out for",
        r"find|describe|locate|identify|display|check|(?:list|count|show)(?! of\b)(?=\s+\w)",
        rf"(?:all |some |every |the |any |a |an )*{_THING} (?:of|with|showing|where|in which|that show)",
        r"whether|if|about|out",
        rf"when (?:was|is) the (?:last|first) time(?: that)?|when did (?:you|we|i) (?:last|first) {_SEE}",
        rf"(?:the (?:last|first) time )(?:that )?(?=(?:you|we|i) {_SEE})|(?:you|we|i) (?:have |last )?{_SEE}",
        r"(?:is|are|was|were|has|have|had|will|would|could) there(?: been| be)?(?: not)?(?: ever| already| still)*",
        r"there (?:is|are|was|were)",
    )
)  # fmt: skip

_QUALITY = (
    r"colou?rs?|time|size|shape|day|date|direction|speed|age|height|length|number|"
    r"(?:kinds?|sorts?|types?|makes?|brands?|models?|breeds?) of"
)
_FRAMES: Final[tuple[tuple[str, Kind], ...]] = (
    (rf"(?:at|by|until|in|from|on|since|of) (?:what|which) (?:{_QUALITY})", "then"),
    (rf"what (?:{_QUALITY})", "then"),
    (rf"(?:what|which) (?:is|was|are|were) the (?:exact |approximate )?(?:{_QUALITY}|position|location)(?: of)?", "then"),
    (r"(?:since|until|by|from) when|(?:for|since) how long", "then"),
    (r"how (?:many times|often)", "then"),
    (r"how (?:many|much)(?: of (?:the|these|those|my))?|(?:which|what)(?: one)? of (?:the|these|those|my)|whose|which", "some"),
    (r"how (?:long|tall|big|far|old|fast|wide|high|deep|large|small|heavy|late|early|full|busy|close|well|loud)", "then"),
    (r"where(?:abouts)?|(?:from|to) where", "where"),
    (r"why|how|when", "then"),
    (r"(?:with|to|for|by|from)? ?(?:whom|who)", "who"),
    (rf"what (?:do|did|can|could|have) (?:you|we|i)(?: ever)? {_SEE}", "then"),
    (r"what", "what"),
)  # fmt: skip
_BEGINNINGS: Final = tuple((re.compile(rf"^(?:{form})(?=\s|$)\s*", re.I), kind) for form, kind in _FRAMES)


def caption_of(text: str) -> Caption:
    """The caption of a picture that would answer the question. Pure; never raises, never empty unless the text is."""
    given = text.strip()
    if len(given) > LONGEST:
        return Caption(given, "as given")
    if _is_foreign(given):
        return Caption(given, "other language")
    quotes: list[str] = []

    def kept(match: re.Match[str]) -> str:
        quotes.append(match[0])
        return f"\x00{len(quotes) - 1}\x00"

    masked = _QUOTED.sub(kept, given.replace("\x00", " "))
    parts = [part for sentence in _SENTENCES.split(masked) for part in _AND_WHAT.split(sentence) if part.strip()]
    made = [_sentence(part, among=len(parts) > 1) for part in parts]
    if not any(asks for asks, _ in made):
        return Caption(given, "as given")
    caption = ", ".join(dict.fromkeys(" ".join(tokens) for _, tokens in made if tokens))
    for number, quote in enumerate(quotes):
        caption = caption.replace(f"\x00{number}\x00", quote)
    if not caption:
        return Caption(given, "nothing left")
    return Caption(caption, "as given" if caption == given else "rule")


def _is_foreign(text: str) -> bool:
    """Whether this is not English: another script, or more words of other languages than of English."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum(not unicodedata.name(letter, "").startswith("LATIN") for letter in letters) > len(letters) / 3:
        return True
    found = [word.lower() for word in _TOKEN.findall(_QUOTED.sub(" ", text))]
    foreign = sum(word in words.FOREIGN for word in found)
    english = sum(word in _ENGLISH for word in found)
    return foreign > english or text.startswith(("¿", "¡")) or (text.endswith("?") and len(found) > 2 and not english)


_ENGLISH = (
    words.AUXILIARIES | words.DETERMINERS | words.PREPOSITIONS | words.RELATIVES | words.UNSEEN | words.PRONOUNS.keys()
    | frozenset(("what", "where", "when", "why", "how", "whose", "and", "or", "not", "find", "show"))
) - words.FOREIGN  # fmt: skip


def _sentence(sentence: str, *, among: bool) -> tuple[bool, list[str]]:
    """Whether it asks or orders something, and the words of its caption. among: it is one of several sentences."""
    text = sentence.strip()
    asks = text.endswith("?")
    for pattern, written in _CONTRACTIONS:
        text = pattern.sub(written, text)
    text, led = _without_leads(text.rstrip("?!.;:, "))
    first = _TOKEN.findall(text)[:2]
    asks = (
        asks or led or _framed(text)[1] > 0 or (len(first) == 2 and _begins_question(*(word.lower() for word in first)))
    )
    if not asks and not among:
        return False, []
    for pattern in _TIMES:
        text = pattern.sub(" ", text)
    text = text.strip()
    kind, start = _framed(text)
    tokens = [token for token in _TOKEN.findall(text[start:]) if token.lower() not in words.FILLERS]
    caption = with_article(relative(predicate(kind, relative(tokens))))
    return asks, caption if shows_something(caption) else []


def _without_leads(text: str) -> tuple[str, bool]:
    """Without 'please', 'can you tell me whether', 'show me', 'did you see' at its beginning; and whether one of them asks."""
    led = False
    while True:
        for number, lead in enumerate(_LEADS):
            if (match := lead.match(text)) and match.end():
                text, led = text[match.end() :], led or number > 0
                break
        else:
            return text, led


def _begins_question(first: str, second: str) -> bool:
    """Whether it begins as a question does, which need not end in a question mark."""
    return first in words.AUXILIARIES and (second in words.DETERMINERS | words.UNSEEN | words.PRONOUNS.keys())


def _framed(text: str) -> tuple[Kind, int]:
    """With what a question begins, and where that ends."""
    for frame, kind in _BEGINNINGS:
        if match := frame.match(text):
            return kind, match.end()
    return "", 0
