"""Which of the lettered options an answer chooses. Strict: an answer that names two options, or none clearly, chooses none. Pure.

Benchmarks are scored by it, so a doubtful answer is a wrong one, never a lucky one. An option counts if the answer

    is its letter              B   b.   (B)   **B**   [B]   "B"
    begins with it             B. red   (B) red   B, because it is red   B is correct
    names it as the answer     Answer: B   The answer is (B).   \\boxed{B}   <answer>B</answer>   I choose B   C'est B   答案是B
    is its text                red   The answer is red   B. red

and nothing in the answer chooses another one, or rejects this one (`B is wrong`, `(B) can be ruled out`). `A red circle` begins with an
article, not with a letter: it is option A only if that is the text of option A. A letter alone is the letter that the prompt asks for, also
where an option's text is a letter; a small one that is another option's text chooses none.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from afterview.stream.ask.options import LETTERS

_WRAPPED = (
    re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL),
)
# A thought that was cut off decides nothing, and one whose first mark stands in the prompt ends here.
_THOUGHT = re.compile(r"<think>(?:.*</think>|.*)|^.*</think>", re.IGNORECASE | re.DOTALL)
_OPENING = re.compile(
    r"^(?:[\s#>\-]|\\[(\[]|assistant\s*:|(?:so|thus|hence|therefore|sure|yes|ok|okay|well|definitely|certainly|probably)\b[,:!.]?\s)+",
    re.IGNORECASE,
)
_RESIDUE = re.compile(r"<\|[^|>]*\|>|</?s>")  # of a chat's template
_STYLE = re.compile(r"\\(?:text|mathrm|mathbf|textbf|rm|bf)\s*\{([^{}]*)\}")
_MARKS = str.maketrans({
    "*": " ", "`": " ", "_": " ", "$": " ", "\u00a0": " ",
    "\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u3002": ".", "\u2192": ":", "\u3001": ",", "\u300c": '"', "\u300d": '"',
    "\u3010": "(", "\u3011": ")", "\u300a": "(", "\u300b": ")", "\u3014": "(", "\u3015": ")",
})  # fmt: skip

# What says that the answer follows. Latin words end at a space or a colon, Chinese and Japanese ones directly before the letter.
_NAMED = r"(?:answer|ans|option|choice|response|letter)"
_BE = r"(?:\s+(?:is|was|would\s+be|should\s+be|must\s+be)\b)?"
_SURE = r"(?:\s*(?:definitely|clearly|certainly|probably|likely|most\s+likely|therefore|thus)\b)?"
_LEADS = re.compile(
    r"(?:"
    rf"\b{_NAMED}\s+(?:to|for|here|in|from|based\s+on|according\s+to|(?:that|which)\s+best)\b[^.:;!?\n]{{0,80}}?\s+(?:is|should\s+be)\b"
    rf"{_SURE}\s*:?\s*(?:{_NAMED}\b\s*:?)?"
    rf"|\b{_NAMED}\b[\"']?\.?{_BE}{_SURE}\s*[:=]?\s*(?:{_NAMED}\b\s*:?)?"
    r"|\b(?:actually|rather|instead),?(?=\s+[\(\[\"']?[A-Ha-h]\b)"
    rf"|\b(?:it\s+is|it's|it\s+(?:should|must)\s+be|that\s+is|that's|this\s+is|(?:correct|right|best)\s+one\s+is|choose|pick|select"
    rf"|(?:i|we)(?:'d|\s+would)?\s+(?:say|answer|think|believe)(?:\s+that)?|(?:go|going)\s+with)\b{_SURE}\s*:?\s*(?:{_NAMED}\b\s*:?)?"
    r"|\b(?:c'est|est|r\u00e9ponse|ist|lautet|antwort|es|respuesta|risposta|\u00e8|resposta|\u00e9|antwoord(?:\s+is)?|svar)\b\s*:?\s*(?:la\b|die\b|der\b)?"
    r"|\b(?:\u043e\u0442\u0432\u0435\u0442)\b\s*:?"
    r"|(?:\u7b54\u6848|\u7b54\u3048|\u6b63\u89e3|\u9009\u9879|\u9009\u62e9|\u9009)\s*(?:\u5e94\u8be5)?(?:\u662f|\u4e3a|\u306f)?\s*:?|\uc815\ub2f5\uc740|\ub2f5\uc740"
    r")\s*",
    re.IGNORECASE,
)
_ALONE = r"(?![A-Za-z0-9]|'[A-Za-z])"
_LETTER = rf"[\(\[\{{\"']*\s*([A-Ha-h]){_ALONE}(?:\s*[\)\]\}}\"']+)?"
_AFTER_LEAD = re.compile(_LETTER)
_ENDS = re.compile(
    r"\s*(?:$|\.(?![A-Za-z0-9])|[:;,!\n)]|(?<=\s)[\-\u2013\u2014]|[\-\u2013\u2014](?=\s)|\u3067\u3059|(?:because|since|as)\b)",
    re.IGNORECASE,
)
_IS_RIGHT = re.compile(
    r"\s+is\s+(?:the\s+)?(?:(?:correct|right|best|true|my|final|most\s+likely)\b\s*)*(?:answer|option|choice)?\s*"
    r"(?:$|[.,;!\n]|(?:because|since|as|based\s+on|given|in)\b)",
    re.IGNORECASE,
)
_FAR: Final = 400  # characters: how far before a lead a denial is looked for, and how much longer than an option its telling may be
_BETWEEN: Final = " \n.):,;-\u2013\u2014"  # of a letter and its text
_NOT: Final = r"(?:not|no(?!\s+doubt)|never|cannot|\w+n't|wrong|incorrect|false|untrue|unlikely|ruled\s+out|eliminated|excluded)\b"
_DENIES = re.compile(rf"\b(?:{_NOT}|(?:neither|nor|nicht|keine?|pas|(?:i|we)\s+doubt)\b)", re.IGNORECASE)
# What follows a letter that is named to be rejected: `is not`, `, which is wrong`, `: not shown`, `can be ruled out`.
_REJECTED = re.compile(
    r"\s*(?:"
    rf"(?:,?\s*(?:which|that|however,?)\s+)?(?:(?:is|was|are|do|does|did|can|could|must|should|would|seems|looks)\s+)*(?:\w+ly\s+|also\s+)?(?:be\s+)?{_NOT}"
    rf"|[,:;.\-\u2013\u2014]\s*{_NOT}|(?:contradicts|fails|lacks|has\s+no|may|might|could)\b|,?\s*(?:but|however)\b"
    rf"|[,:;.\-\u2013\u2014]\s*(?:it|this|that)\s+(?:is|was)\s+(?:wrong|incorrect|false|untrue|ruled\s+out)\b"
    r")",
    re.IGNORECASE,
)
# What takes a lead back that stands directly behind it: `whether the answer is`, `except option`, `I would rule out option`.
_NOT_SO = re.compile(
    r"(?:\b(?:if|whether|except|than|instead\s+of|unlike|least\s+likely|non|n\u00e3o|mistake\s+to"
    r"|(?:rule|ruled|ruling)\s+out|(?:eliminat|exclud|reject|discard|avoid|dismiss)(?:e|ed|es|ing|s)?)\s+(?:the\s+|\w+\s+)?"
    r"|\u4e0d(?:\u80fd|\u5e94\u8be5|\u5e94|\u53ef\u4ee5|\u4f1a)?\s*)$",
    re.IGNORECASE,
)
_LONE = re.compile(rf"(?<![A-Za-z0-9'\\])([A-H]){_ALONE}")
_ARTICLE = re.compile(r"\s+(?!or\b|and\b|nor\b|is\b|but\b|to\b)[a-z]")
_BEFORE_ARTICLE = re.compile(r"(?:it|th(?:at|is))\b|.*\b(?:think|believe|that)$", re.IGNORECASE)
_JOINS = re.compile(r"\s*[)\]]*\s*(?:or|and|nor|/|&|\+|,|o|ou|oder|und|et)\s*[(\[]*\s*([a-h])(?![\w'])", re.IGNORECASE)


def chosen(answer: str, options: Mapping[str, str] | None = None) -> str | None:
    """The letter that an answer chooses, or None. options: the text of each letter; without them every letter from A to H is one."""
    text = _bare(answer)
    for pattern in _WRAPPED:
        if inner := [found.strip() for found in pattern.findall(text)]:
            said = {chosen(_STYLE.sub(r"\1", one), options) for one in inner}
            rejected = any(_REJECTED.match(text, found.end()) for found in pattern.finditer(text))
            return said.pop() if len(said) == 1 and not rejected else None
    offered = set(options) if options else set(LETTERS)
    told = _told(text, options or {})
    whole = [text] if len(text) <= _FAR + max(map(len, (options or {"": ""}).values())) else []
    if _is_another_text([*whole, *told], options or {}):
        return None
    if (named := _text_of(whole, options or {})) or (named := _with_its_letter([*whole, *told], options or {})):
        return named.pop() if len(named) == 1 else None
    named = _text_of([*told, *_first_sentences(told)], options or {})
    found = [*_at_the_start(text, options or {}), *_after_leads(text, options or {})]
    letters = named | {letter for letter, _ in found}
    if not found:
        return named.pop() if len(named) == 1 else None
    if len(letters) != 1 or not letters <= offered:
        return None
    (letter,) = letters
    rests = [text[end:].lstrip(_BETWEEN) for _, end in found]
    if letter == "A" and re.match(r"A:\s", text) and options and not _plain(rests[0]).startswith(_plain(options["A"])):
        return None  # of `A: The car is blue.` it stands for the answer
    if any(_says(rest, option) for rest in rests for other, option in (options or {}).items() if other != letter):
        return None
    own = (options or {}).get(letter, "")
    if any(_rejects(_after(text, own, end), own) for _, end in found):
        return None
    bare = _without_text(text, own, [end for _, end in found])
    return letter if not bare.endswith("?") and not _others(bare, letter, offered, options or {}) else None


def _without_text(text: str, option: str, ends: Sequence[int]) -> str:
    """The answer without the text of the option that it chooses, where that follows the letter: its words name no other option, and its
    question mark asks nothing."""
    words = r"\s+".join(re.escape(word) for word in _bare(option).rstrip(".").split())
    for end in sorted(ends, reverse=True):
        start = len(text) - len(text[end:].lstrip(_BETWEEN))
        if (
            words
            and (told := re.compile(words + r"(?!\w|\W*(?:or|nor|oder|ou)\b)", re.IGNORECASE).match(text, start))
            is not None
        ):
            text = f"{text[:start]}{text[told.end() :]}".rstrip()
    return text


def _after(text: str, option: str, end: int) -> str:
    """What follows a letter that ends at `end`, and the text of its option if that comes first."""
    without = _without_text(text, option, [end])
    return text[end:] if without == text else without[len(text) - len(text[end:].lstrip(_BETWEEN)) :]


def _rejects(rest: str, option: str) -> bool:
    """Whether what follows a letter takes it back. `B. No, he stays` begins to say an option whose own text begins with `No`."""
    found = _REJECTED.match(rest)
    said = "" if found is None else found[0].strip(_BETWEEN).lower()
    return found is not None and said != _plain(option).split(",")[0].split(" ")[0]


def _bare(answer: str) -> str:
    """The answer without emphasis, typographic marks, and words such as `so` before it."""
    text = _RESIDUE.sub(" ", _THOUGHT.sub(" ", unicodedata.normalize("NFKC", answer)))
    text = _STYLE.sub(r"\1", text.translate(_MARKS)).replace("\\.", ".")
    return re.sub(r"[ \t]+", " ", _OPENING.sub("", re.sub(r"\\[)\]]", " ", text))).strip()


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", _bare(text)).strip(" .\"'()[]").lower()


def _told(text: str, options: Mapping[str, str]) -> list[str]:
    """What the answer says after `Answer:` or the like, as far as the text of an option reaches."""
    reach = _FAR + max((len(option) for option in options.values()), default=0)
    return [text[lead.end() : lead.end() + reach] for lead in _LEADS.finditer(text) if not _denied(text, lead)]


def _denied(text: str, lead: re.Match[str]) -> bool:
    """Whether the words before a lead, in its sentence, take it back."""
    sentence = re.split(r"[.!?\n]\s", text[max(0, lead.start() - _FAR) : lead.start()])[-1]
    return _DENIES.search(sentence) is not None or _NOT_SO.search(sentence) is not None


def _is_another_text(told: Sequence[str], options: Mapping[str, str]) -> bool:
    """Whether a small letter is told that is one option's letter and another's text."""
    said = {one.strip(" .\"'") for one in told}
    return any(
        _plain(option) in said and _plain(option).upper() in options.keys() - {own} for own, option in options.items()
    )


def _with_its_letter(told: Sequence[str], options: Mapping[str, str]) -> set[str]:
    """The option that the answer says with its letter behind: `Blue (B)`, `The answer is blue (B).`"""
    found = [re.match(r"(.+?)\s*[(\[]([A-H])[)\]]\W*$", one, re.DOTALL) for one in told]
    return {one[2] for one in found if one is not None and _says(one[1], options.get(one[2], ""))}


def _text_of(said: Sequence[str], options: Mapping[str, str]) -> set[str]:
    """The options whose text is said. A letter that is offered is a letter, and no text."""
    plain = {_plain(one) for one in said} - {letter.lower() for letter in options}
    return {letter for letter, option in options.items() if _plain(option) and _plain(option) in plain}


def _first_sentences(said: Sequence[str]) -> Iterator[str]:
    """Of what is said after leads, without what is taken back in the next sentence."""
    for one in said:
        end = re.search(r"[.!;\n]\s", one)
        if end is not None and _REJECTED.match(one, end.end()) is None:
            yield one[: end.start()]


def _at_the_start(text: str, options: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The letter that an answer begins with, and where it ends."""
    first = re.match(_LETTER, text)
    if first is None:
        return
    rest = text[first.end() :]
    if not _is_closed(first) and _is_word(first[1], rest, "", options):
        return
    if _goes_on(first, rest, options):
        yield first[1].upper(), first.end()


def _is_closed(letter: re.Match[str]) -> bool:
    """Whether brackets or quotes close a letter, so that any words may follow."""
    return letter[0].rstrip()[-1] in ")]}\"'"


def _goes_on(letter: re.Match[str], rest: str, options: Mapping[str, str]) -> bool:
    """Whether what follows a letter leaves it one."""
    if (
        _ENDS.match(rest)
        or (letter[1].isupper() and _IS_RIGHT.match(rest))
        or _says(rest, options.get(letter[1].upper(), ""))
    ):
        return True
    return _is_closed(letter) and not _JOINS.match(rest)


def _is_word(said: str, rest: str, lead: str, options: Mapping[str, str]) -> bool:
    """Whether a letter without brackets may be a word: the article of an answer that was cut (`It is a`), or a name that the options use
    (`C, the camera wearer, cooks`; not the A of `A man runs`). A full stop or a colon after it makes it a letter again."""
    if re.match(r"\s*[.:)](?![A-Za-z0-9])", rest):
        return False
    if said == "a":
        return bool(rest.strip()) or _BEFORE_ARTICLE.match(lead.strip()) is not None
    named = said.isupper() and _is_a_name(said, options)
    return named and re.match(r" *,(?!\s*(?:$|(?:because|since|as)\b))", rest) is not None


def _is_a_name(letter: str, options: Mapping[str, str]) -> bool:
    """Whether the options use a letter as a name (`C cooks`, `Team B`; not the A of `A man runs`)."""
    name = rf"(?<![\w']){letter}(?![\w'])" + (r"(?!\s+[a-z])" if letter == "A" else "")
    return any(re.search(name, option) for option in options.values())


def _after_leads(text: str, options: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The letters that follow `Answer:`, `I choose` and the like. One that a word such as `not` denies in the same sentence is none."""
    for lead in _LEADS.finditer(text):
        found = _AFTER_LEAD.match(text, lead.end())
        if found is None or _denied(text, lead):
            continue
        rest = text[found.end() :]
        if not _is_closed(found) and _is_word(found[1], rest, lead[0], options):
            continue
        if _goes_on(found, rest, options):
            yield found[1].upper(), found.end()


def _says(text: str, option: str) -> bool:
    """Whether a text is that of an option, apart from case and marks."""
    return len(text) <= len(option) + _FAR and bool(_plain(option)) and _plain(text) == _plain(option)


def _others(text: str, letter: str, offered: set[str], options: Mapping[str, str]) -> bool:
    """Whether the answer names another option than this one. What the options use as a name is one in a sentence, too (`C is seen`)."""
    for found in _LONE.finditer(text):
        article = found[1] == "A" and _ARTICLE.match(text, found.end()) is not None
        name = re.match(r"\s+(?!or\b|and\b|nor\b)[a-z]", text[found.end() :]) and _is_a_name(found[1], options)
        if found[1] != letter and found[1] in offered and not article and not name:
            return True
    return any(found[1].upper() != letter for found in _joined(text))


def _joined(text: str) -> Iterator[re.Match[str]]:
    """Letters of any case that `or` and the like join to a letter before them: `b or c`."""
    for found in re.finditer(r"(?<![\w'])[A-Ha-h](?![\w'])", text):
        if joined := _JOINS.match(text, found.end()):
            yield joined
