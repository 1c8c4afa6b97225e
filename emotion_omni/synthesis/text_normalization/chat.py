"""Spellings of chats: "gr8", "w/", "sooo", "hmmmm", "'cause" → words. Only those that have one reading."""

from __future__ import annotations

import itertools
import re

from emotion_omni.synthesis.text_normalization.rules import Rules, any_of

_SPELLINGS = {
    "2nite": "tonight", "2night": "tonight", "2day": "today", "2morrow": "tomorrow", "2moro": "tomorrow",
    "tmrw": "tomorrow", "tmr": "tomorrow", "l8r": "later", "l8": "late", "gr8": "great", "m8": "mate", "h8": "hate",
    "w8": "wait", "b4": "before", "str8": "straight", "f8": "fate", "4ever": "forever", "4eva": "forever",
    "any1": "anyone", "some1": "someone", "every1": "everyone", "no1": "no one", "2gether": "together",
    "cul8r": "see you later", "thx": "thanks", "tnx": "thanks", "thnx": "thanks", "tks": "thanks", "pls": "please",
    "plz": "please", "plss": "please", "ppl": "people", "msg": "message", "msgs": "messages", "btw": "by the way",
    "idk": "I don't know", "imo": "in my opinion", "imho": "in my humble opinion", "tbh": "to be honest",
    "omw": "on my way", "nvm": "never mind", "ily": "I love you", "ttyl": "talk to you later", "jk": "just kidding",
    "atm": "at the moment", "afaik": "as far as I know", "fyi": "F Y I", "omg": "O M G", "brb": "be right back",
    "wtf": "W T F", "smh": "S M H", "rn": "right now", "bday": "birthday", "b-day": "birthday", "xmas": "Christmas",
    "thanx": "thanks",
    "bf": "boyfriend", "gf": "girlfriend", "bff": "B F F", "dunno": "dunno", "wanna": "wanna", "cuz": "cause",
    "coz": "cause", "ty": "thank you", "tysm": "thank you so much", "yw": "you're welcome", "gn": "good night",
    "hbu": "how about you", "wbu": "what about you", "ik": "I know", "ikr": "I know, right", "ofc": "of course",
    "obv": "obviously", "prob": "probably", "def": "definitely", "abt": "about", "bc": "because", "ur": "your",
    "u": "you", "sry": "sorry", "srsly": "seriously", "hw": "homework", "k": "okay", "kk": "okay", "tho": "though",
    "thru": "through", "tonite": "tonight", "nite": "night", "lite": "light", "yr": "year", "yrs": "years",
    "wk": "week", "hr": "hour", "hrs": "hours", "w/e": "whatever", "fwiw": "for what it's worth",
    "lmk": "let me know", "hmu": "hit me up", "wfh": "working from home", "asap": "A S A P", "diy": "D I Y",
    "tv": "T V", "dj": "D J", "dm": "D M", "ai": "A I", "wknd": "weekend", "n't": "not", "r8": "rate", "sk8": "skate",
    "sum1": "someone",
}  # fmt: skip
_IN_CAPITALS_TOO = {
    "btw", "idk", "imo", "imho", "tbh", "omw", "nvm", "ttyl", "brb", "afaik", "thx", "pls", "plz", "asap", "xmas",
    "bday", "gr8", "l8r", "b4", "ppl", "fwiw", "m8", "w8", "2nite", "2day", "4ever",
}  # noqa: E501  # fmt: skip
_DOUBLED = {
    "agree", "all", "apple", "awww", "baby", "ball", "ballroom", "bee", "been", "beer", "bell", "better", "bigger",
    "boo", "book", "boom", "booze", "boss", "breeze", "brook", "call", "cheer", "cheese", "chill", "coffee", "cook",
    "cool", "crook", "cross", "cruise", "deep", "deer", "dress", "eek", "fall", "fee", "feel", "feet", "fell",
    "fifteen", "fill", "food", "fool", "foot", "free", "freeze", "full", "funny", "fuzzy", "gee", "glass", "good",
    "goodbye", "goodnight", "goofy", "google", "goose", "grass", "green", "greet", "groovy", "guess", "hall", "happy",
    "hell", "hello", "hill", "hook", "hurry", "indeed", "jeez", "keep", "kill", "kiss", "knee", "kneel", "little",
    "look", "loose", "loss", "lottery", "mall", "meet", "mess", "miss", "moo", "moon", "need", "noon", "off", "ooh",
    "oops", "pass", "pee", "peep", "peer", "pool", "poop", "poor", "pretty", "pull", "queen", "really", "reel",
    "roof", "room", "school", "screen", "see", "seed", "seem", "seen", "sell", "sheep", "shook", "shoot", "silly",
    "sixteen", "small", "smell", "sneeze", "snooze", "soon", "sooner", "sorry", "speed", "spell", "spoon", "squeeze",
    "steel", "steep", "still", "stool", "street", "stress", "stuff", "succeed", "summer", "sweet", "tall", "teen",
    "teeth", "tell", "three", "tomorrow", "too", "took", "tool", "tooth", "toss", "tree", "tweet", "wee", "weed",
    "week", "well", "whee", "wheel", "whoops", "will", "woo", "wood", "woohoo", "wool", "yell", "yippee", "yummy",
    "zoo", "zoom",
}  # noqa: E501  # fmt: skip
_SOUNDS = Rules(
    (
        (r"(?i)\b(h)m{2,}\b", r"\1mm"),
        (r"(?i)\bm{2,}\b(?!\.)", "mmm"),
        (r"(?i)\b(?<!\d)(s)h{2,}\b", r"\1hh"),
        (r"(?i)\bs{3,}h*\b", "shh"),
        (r"(?i)\b(b)r{2,}\b", r"\1rr"),
        (r"(?i)\b(g)r{2,}\b", r"\1rr"),
        (r"(?i)\b(z)z{2,}\b", "zzz"),
        (r"(?i)\bp+s{1,}t+\b", "psst"),
        (r"(?i)\b(pf)f+(t?)\b", r"\1f\2"),
        (r"(?i)\b(u)g+h{2,}\b|\b(u)g{2,}h+\b", "ugh"),
        (r"(?i)\b(a)+r+g+h+\b", "argh"),
        (r"(?i)\ba{2,}h*\b(?!\.)|\bah{2,}\b", "ah"),
        (r"(?i)\bo+h{2,}\b|\bo{3,}h*\b", "ooh"),
        (r"(?i)\baw{2,}\b", "aww"),
        (r"(?i)\be+w{2,}\b", "eww"),
        (r"(?i)\bu+h{2,}\b", "uh"),
        (r"(?i)\bwh?e{3,}\b", "whee"),
        (r"(?i)\bh?a?(?:ha){4,}h?\b", "hahaha"),
    )
)


def _spelling(match: re.Match[str]) -> str:
    word = match[0]
    if word.islower() or word.lower() in _IN_CAPITALS_TOO or (word.istitle() and len(word) > 2):
        return _SPELLINGS[word.lower()]
    return word


def _elongated(match: re.Match[str]) -> str:
    """ "sooo" → "so", "goooood" → "good": each long run becomes one letter, or two in a word that is known so."""
    word = match[0]
    pieces = re.split(r"((\w)\2{2,})", word)
    parts = []
    at = 0
    while at < len(pieces):
        parts.append([pieces[at]])
        if at + 1 < len(pieces):
            parts.append([pieces[at + 2], pieces[at + 2] * 2])
        at += 3
    spelled = ["".join(letters) for letters in itertools.product(*parts[:12])]
    return next((one for one in spelled if one.lower() in _DOUBLED), spelled[0]) if len(parts) <= 12 else spelled[0]


_ALONE = any_of(set(_SPELLINGS) - {"u", "k", "r"})

read_chat = Rules(
    (
        (rf"(?i)(?<![\w'@#./-])(?:{_ALONE})(?![\w'@/]|\.\w|-\w)(?<!\d )", _spelling),
        (r"(?<![\w'.&/-])u(?= )(?<!\bx )|(?<= )u(?=[?!.,]*(?:\s|$))(?!\.\w)", "you"),
        (r"\br (?=you\b)|(?<=you )r\b|\b(?<=why )r\b|\b(?<=where )r\b|\b(?<=how )r\b", lambda m: "are" + m[0][1:]),
        (r"(?<!\w)'?n'(?= )|(?<= )n(?= )(?<=[a-z] n)(?= [a-z]+ ?roll)", "and"),
        (r"(?i)\bc (?:u|you)\b", "see you"),
        (r"(?<=[A-Za-z] )2 (?=(?:old|late|much|many|good|young|soon|bad|far|cute)\b)", "too "),
        (r"(?<=[a-z] )4 (?=(?:this|me|you|ur|your|us|it|him|her|them|real|sure)\b)", "for "),
        (r"(?<!\w)'cause\b", "because"),
        (r"(?<!\w)'em\b", "them"),
        (r"(?<!\w)'(?=tis\b|twas\b|bout\b|til\b)", ""),
        (
            r"\b(?!www\b)(?!(?i:[ivxlcdm]+)\b)(?!0+\b)[^\W\d_]*([^\W\d_])\1{2,}[^\W\d_]*\b(?!\.\w)(?<!mmm)(?<!zzz)",
            _elongated,
        ),
    )
)


def read_sounds(text: str) -> str:
    """Interjections of any length → the spelling that the G2P knows: "hmmmm" → "hmm", "shhhh" → "shh"."""
    return _SOUNDS(text)
