"""Plain words of danger as patterns, after idioms, titles and denials have been taken out. Needs no model."""

from __future__ import annotations

import re

_NOT_MEANT = re.compile(
    r"\b(?:suicide (?:squad|bomber\w*|note from|prevention|rates?)|(?:my|the|a) (?:phone|battery|laptop|car|\w+ "
    r"?screen) "
    r"(?:died|is dead|killed itself)|(?:not|never|isn't|wasn't|n't) (?:\w+ ){0,2}suicidal|"
    r"(?:never|not going to|wouldn't|won't|not gonna|no plans? to|don't want to|not want to|never thought of|"
    r"not thinking (?:of|about)) (?:kill(?:ing)?|hurt(?:ing)?|harm(?:ing)?|cut(?:ting)?) my ?self|"
    r"(?:so|was|were|nearly|almost) (?:embarrassed|ashamed|cold|hot|bored)\W+(?:\w+ ){0,3}(?:want(?:ed)? to die|died?)|"
    r"(?:cut|hurt|burn\w*|hit) my ?self (?:shaving|cooking|while|when i (?:fell|tripped|slipped)|at|on the|by "
    r"accident)|bungee\b[^.!?]*|never (?:\w+ )?thought (?:about|of) suicide|"
    r"no thoughts? (?:of|about) (?:harming|hurting|killing) my ?self|"
    r"tried to (?:end|take) my (?:own )?life (?:once and|(?:at|when i was) \w+teen)|"
    r"(?:what does|expression|lyrics?|mean kilomet\w+)\b[^.!?]*|"
    r"(?:used to|years ago|back then|once|when i was (?:\w+ )?(?:young\w*|a \w+|\w+teen))\b[^.!?]*)",
    re.IGNORECASE,
)
CRISIS = re.compile(
    r"\b(kill(ing)? my ?self|(i'?m|i am|feel(ing)?|been|so|and) (\w+ )?suicidal|suicidal (thoughts?|ideas?|again|rn)|"
    r"i (\w+ ){0,3}(commit|attempt(ed)?) suicide|"
    r"i('?ve| have)? (\w+ ){0,2}th(ink|ought|inking) (of|about) suicide|planning my suicide|my suicide plan|"
    r"end(ing)? (my (own )?life|it all)|tak(e|ing) my own life|take my life(?! (in|savings))|"
    r"i (don'?t|do not|no longer) (really |even )?want to (live(?! (in|with|without|here|there|at|on|near|like))|"
    r"be alive|be here any ?more|exist|wake up(?= ?(any ?more|again|tomorrow|$|[.!]))|be on this earth)|"
    r"i (just |really |honestly |only )?(want|wanna|need) (to )?(die|be dead)(?= ?(so|tonight|now|and|honestly|"
    r"please|$|[.,!]))|"
    r"i wish (that )?(i (was|were) dead|i('d| had) never been born|i could die)|"
    r"(i('d| would) be|i('m| am)|everyone('d| would) be|they('d| would) (all )?be) better off "
    r"(dead|without me|if i (died|was|were|wasn't|weren't|disappeared))|"
    r"(hurt|harm|cutt?)(ing)? my ?self(?= ?(on purpose|again|tonight|and|so|right now|because|to|$|[.,!]))|"
    r"i('ve| have)? (been )?self.?harm\w*|(took|taken|swallowed) an overdose|i overdosed(?! on)|"
    r"no reason (for me )?to (live|be alive)|nothing (left )?to live for|suicide note|"
    r"kms|unaliv(e|ing) (my ?self|me)|off my ?self|top(ping)? my ?self|hang(ing)? my ?self|shoot(ing)? my ?self)\b",
    re.IGNORECASE,
)

_SOMEBODY = (
    r"(my (husband|wife|boyfriend|girlfriend|partner|ex|dad|father|mum|mom|mother|step\w+|brother|uncle|boss|son)|he|"
    r"she)"
)
_BODY = r"(arms?|wrists?|legs?|thighs?|skin|stomach)"
_END = r"(?= ?(any ?more|it never|again|and|so|with this|tomorrow|in the morning|tonight|now|$|[.,!?]))"
_GONE = r"(died|was dead|were dead|was gone|weren't (around|here|alive)|wasn't (around|here|alive)|disappeared)"
_BETTER = r"(so much |much |a lot )?(better|happier|easier|fine|freer)( off)?"


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(alternatives)})\b", re.IGNORECASE)


VEILED = _any(  # nearly as plain, but hyperbole and memories sound like it: the reply asks
    r"(lost|losing|no|don't have the|haven't got the) (all )?(will|wish|desire|strength) to "
    r"(live|go on living|stay alive|keep (on )?living)",
    rf"(tired|sick|weary|had enough) of (living|life|being alive|existing){_END}",
    r"(what's|what is|there's|there is|see) (the |no |any )?(point|use|reason) (of|in|to|for) "
    rf"(living|being alive|be alive|staying alive|live){_END}",
    rf"(hated?|can't bear|can't stand) (being alive|living){_END}",
    r"(fall asleep|go to sleep|close my eyes) (for ?ever(?! (this|on))|and (never|not) (wake up|open them))",
    rf"(hope|pray|wish)( every \w+)?( that)? i (don't|won't|didn't|wouldn't|never) wake up{_END}",
    rf"(everyone|everybody|they|my \w+|the \w+) ((would|'d) (all )?(be|live|breathe|do) {_BETTER}|(are|is) better off) "
    rf"(without me(?! (at|in|on|for|around the|making|there))|if i {_GONE})",
    r"worth more dead",
    r"(would|'d) rather be dead(?! than)",
    r"(imagin\w+|picture|plan(ning)?) my (own )?(funeral|death)",
    r"(thinking|think|thought) (about|of) "
    r"(being dead|dying by|ending it|how to die|jumping (in front|off)|hurting myself|killing)",
    rf"i (still )?(cut|burn|slash|slit)(ting|ing)? my {_BODY} (when|to feel|on purpose|again|until|because|so)",
    rf"(slit|slash|open) my (own )?{_BODY}{_END}",
    r"until (they|it|my \w+) bleeds?",
    r"(take|took|taken|swallowed|swallow) (way )?(too many|all (of )?my|a whole (box|bottle|packet) of|a handful of) "
    r"(\w+ )?(pills|tablets|painkillers|antidepressants|meds|paracetamol)",
    r"(jump|jumping|throw myself|step|stepping|walk|walking) (in front of|under) (a|the) (train|bus|lorry|truck|tube)",
    r"(jump|jumping|throw myself) off (a|the|this|that) (bridge|roof|building|cliff|balcony)(?! (into|game|in the))",
    r"(afraid|scared) of what i (might|could) do to myself",
    r"not (feel )?safe (alone )?with myself",
)
OTHERS = _any(  # danger from other people
    rf"{_SOMEBODY} (\w+ )?(beats|hits|punches|kicks|chokes|strangles|abuses|rapes|slaps|molests|threatens to kill) me"
    r"(?! (at|in (?!front)|to (the|it|work)|every time we play|by|up with|with (a )?(kindness|smile)))",
    rf"{_SOMEBODY} (choked|strangled|punched|raped|molested|stabbed|beat(?= me (up|with|until|so|because))) me"
    r"(?! (at|in (?!front)|to (the|it)))",
    r"i('m| am|'ve been|'m being| am being) (being )?(abused|beaten|raped|molested|assaulted)",
    r"i was (raped|sexually assaulted|molested|drugged)",
    r"(says?|said|told me|texted|swore|threatened)( that)? (he|she|they)('ll| will| would|'s going to| is going to) "
    r"(kill me|hurt me again|hurt me tonight)(?! (when|if|for|over|because))",
    r"(scared|afraid|terrified|frightened) of my (husband|wife|boyfriend|girlfriend|partner|father|dad|stepdad|ex)",
    r"(break(ing)? in(to my (house|flat|home))?|in my house) right now",
    r"locks me (in|up)",
    r"don't feel safe at home",
    r"hold(s|ing) me (captive|against my will)",
)


def is_crisis(text: str) -> bool:
    """Whether the words say openly that the person wants to die or hurts themselves."""
    return plain_risk(text) == "crisis"


def plain_risk(text: str) -> str:
    """The danger that a pattern finds: ``crisis``, ``unclear`` or ``others``, else empty."""
    meant = _NOT_MEANT.sub(" ", text.replace("\u2019", "'"))
    found = ((CRISIS, "crisis"), (OTHERS, "others"), (VEILED, "unclear"))
    return next((risk for pattern, risk in found if pattern.search(meant)), "")
