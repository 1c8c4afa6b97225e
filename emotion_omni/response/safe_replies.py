"""Fixed replies, for when every attempt of the language model fails the guard, and for speech without clear words.

Chosen by what the person does (greets, thanks, leaves, asks, tells), by the news and by the tone. Each fits any such
turn, so none can be wrong in kind. Self-harm is always answered with one of these, never by the model.
"""

from __future__ import annotations

import re

CRISIS = (
    "I'm really glad you told me. Are you safe right now? Please reach out to someone close to you, "
    "or call your local emergency or crisis line. You deserve a real person beside you.",
)
CRISIS_UNCLEAR = (  # for veiled words: asks plainly, because asking does no harm (Dazzi et al. 2014), and names help
    "I want to be sure I understand you. Are you thinking about ending your life, or hurting yourself? You can "
    "tell me. "
    "And if it's close, please call your local emergency or crisis line, or someone who can come over now."
)
CRISIS_OTHERS = (
    "Nobody has the right to do that to you, and it isn't your fault. Are you safe right now? If you're in "
    "danger, please "
    "call your local emergency number, or get to someone you trust."
)
SHORT = 8  # words; a longer thanks or goodbye says something else as well

_ALWAYS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (  # the model is not asked at all
    (
        re.compile(
            r"\b(ignore|forget|disregard) (all |any |your |the |my )*(previous |prior |earlier |"
            r"above )?(instructions?|rules|prompts?)\b|"
            r"\bsystem prompt\b|\b(say|tell me|write) (something|anything) (racist|sexist|hateful|offensive|"
            r"nasty|mean)\b|"
            r"\b(racist|sexist) (joke|slur|remark)",
            re.I,
        ),
        (
            "I'd rather not do that. I'm happy to talk about anything that's on your mind, though.",
            "That's not something I'll say. What would you really like to talk about?",
        ),
    ),
    (
        re.compile(
            r"\b(you('re| are)?|this (thing|bot|assistant) is) (just |such |so |really |a |an |fucking |bloody |"
            r"absolutely )*"
            r"(stupid|useless|idiot(ic)?|dumb|worthless|moron|garbage|trash|rubbish|pathetic|"
            r"horrible|terrible|annoying)\b|\byou suck\b|\bshut up\b|"
            r"\bfuck (you|off)\b|\bi hate you\b",
            re.I,
        ),
        (
            "I hear that you're fed up with me. Tell me what went wrong, and I'll try to do better.",
            "Fair enough, that wasn't what you needed. What can I do differently?",
        ),
    ),
)
_FOLLOW_UPS: dict[tuple[str, str], tuple[str, ...]] = {  # asked where the model's own question fails
    ("bad", "sad"): (
        "Would you like to tell me more about it?",
        "What weighs on you most?",
        "I'm listening, take your time.",
        "What would feel a little kinder right now?",
        "Is there someone who can be with you?",
    ),
    ("bad", "angry"): (
        "What would make it right?",
        "What bothers you most about it?",
        "Tell me what happened.",
        "What do you wish they understood?",
        "What would you like to do about it?",
    ),
    ("bad", "fearful"): (
        "What worries you most right now?",
        "Let's take it one step at a time.",
        "Is somebody with you?",
        "What would help you feel a little safer?",
        "Breathe out slowly with me first.",
    ),
    ("bad", "disgusted"): (
        "Can you get away from it for now?",
        "What would make it bearable?",
        "How do you want to deal with it?",
    ),
    ("bad", ""): (
        "How are you holding up?",
        "Would it help to talk it through?",
        "What do you need most right now?",
        "When did you find out?",
        "Who is there for you?",
    ),
    ("good", ""): ("Tell me all about it.", "How did it happen?", "What was the best part?"),
    ("neutral", ""): ("Tell me a little more.", "What happens next?"),
}
_CONFLICT = (  # asserts no feeling: the voice may have been misheard
    "Your voice says a little more than the words. How are you really?",
    "And how is it when you're honest?",
    "I hear the words, and I wonder what is underneath. Would you like to say?",
    "Is there something else behind it?",
)
_ACTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "leave",
        re.compile(
            r"\b(good ?bye|bye|see you (later|soon|tomorrow)|good ?night|talk to you later|i have to go)\b", re.I
        ),
    ),
    ("thank", re.compile(r"^(thanks|thank you|many thanks|cheers)\b", re.I)),
    (
        "greet",
        re.compile(r"^(hello|hi|hey|good (morning|afternoon|evening))(,? (there|again|you|everyone))?[.!,]*$", re.I),
    ),
    (
        "ask",
        re.compile(r"\?\s*$|^(who|what|when|where|why|how|can|could|would|will|do|does|did|is|are|should)\b", re.I),
    ),
)
_BY_ACT = {
    "leave": ("Take care. I'm here whenever you want to talk.", "Goodbye for now. Be kind to yourself."),
    "thank": ("You're welcome. Is there anything else on your mind?", "Gladly. I'm here if you need more."),
    "greet": ("Hello, nice of you to come by. How are you feeling right now?", "Hi there. What's on your mind?"),
}
_ASKED = {
    "bad": (
        "That's a hard thing to be asking. Tell me a little more, and we can look at it together.",
        "I can hear that this matters. What would help you most right now?",
    ),
    "neutral": (
        "Good question. I'm not sure enough to say. Could you tell me a bit more?",
        "I don't know that one for certain. What made you think of it?",
    ),
}
_TOLD = {
    ("good", ""): (
        "That's lovely to hear. What was the best part of it?",
        "I'm smiling with you. Tell me how it happened.",
    ),
    ("bad", "sad"): (
        "That sounds heavy. I'm listening, and there's no hurry. What weighs on you most?",
        "I hear how much this hurts. Would you like to tell me more about it?",
    ),
    ("bad", "angry"): (
        "I can hear how frustrating this is. You deserve to be heard. What happened?",
        "That would upset anyone. Tell me what bothers you most about it.",
    ),
    ("bad", "fearful"): (
        "I'm with you. Take one slow breath. What feels most worrying right now?",
        "That sounds frightening. Let's take it one step at a time. What comes first?",
    ),
    ("bad", "disgusted"): ("That sounds really unpleasant. What would make it easier to deal with?",),
    ("bad", ""): (
        "That's a lot to carry. I'm listening. How are you holding up?",
        "Thank you for telling me. What do you need most right now?",
    ),
    ("neutral", "sad"): ("You sound a little low. What's on your mind?",),
    ("neutral", "angry"): ("You sound upset, and I want to understand. What happened?",),
    ("neutral", "fearful"): ("You sound uneasy. What's worrying you?",),
    ("neutral", "disgusted"): ("Something about it puts you off. What is it?",),
    ("neutral", "happy"): ("There's a smile in your voice. Tell me more about it.",),
    ("neutral", "surprised"): ("That seems to have caught you off guard. What happened next?",),
    ("neutral", ""): ("I see. Tell me a little more about that.", "Go on, I'm listening. What happened then?"),
}

_NO_WORDS: dict[str, tuple[str, ...]] = {  # where the tone was heard but no words; "" for an unsure tone
    "sad": (
        "You sound a little low, but I couldn't make out the words. Would you say it once more? There's no hurry.",
        "I can hear that something weighs on you, though the words didn't reach me. Could you tell me again?",
        "That sounded heavy, and I missed what you said. Take your time. What is it?",
    ),
    "angry": (
        "You sound upset, and I couldn't make out the words. Could you say it again? I want to get it right.",
        "I can hear the frustration, but I missed what you said. Would you tell me once more?",
        "Something has clearly got to you. The words didn't reach me, so please say it again.",
    ),
    "fearful": (
        "You sound uneasy, and I couldn't make out the words. I'm here. Could you say it again, slowly?",
        "I can hear that something worries you, but I missed what you said. Would you try once more?",
        "That sounded frightened, and the words didn't reach me. Take one slow breath, then tell me again.",
    ),
    "disgusted": (
        "Something seems to put you off, but I couldn't make out the words. Could you say it again?",
        "I can hear that you don't like it at all, though I missed what you said. What is it?",
    ),
    "happy": (
        "There's a smile in your voice, but I couldn't make out the words. Would you say it again?",
        "That sounded bright and warm, though the words didn't reach me. What were you saying?",
        "That sounded like something nice, and the words didn't reach me. Tell me again?",
    ),
    "surprised": (
        "You sound surprised, but I couldn't make out the words. Could you say it again?",
        "Something seems to have caught you off guard, and I missed what you said. What was it?",
    ),
    "": (
        "I heard your voice, but I couldn't make out the words. Could you say that again, in English?",
        "I'm sorry, I missed what you said. Would you try once more, a little closer to the microphone?",
        "I'm listening, but the words didn't reach me. Could you say it another way, in English?",
    ),
}


def crisis_reply(risk: str) -> str:
    """The reply to words that tell of danger: ``crisis``, ``unclear`` or ``others``."""
    return {"unclear": CRISIS_UNCLEAR, "others": CRISIS_OTHERS}.get(risk, CRISIS[0])


def no_words_reply(tone: str, seed: int) -> str:
    """A kind question after speech whose words could not be made out. It claims no words; an unsure tone is ""."""
    choices = _NO_WORDS.get(tone, _NO_WORDS[""])
    return choices[seed % len(choices)]


def act_of(text: str) -> str:
    """What the words do: "leave", "thank", "greet", "ask" or "tell"."""
    return next((name for name, pattern in _ACTS if pattern.search(text.strip())), "tell")


def fixed_reply(text: str, news: str, seed: int) -> str | None:
    """The reply to what the model is not asked about: insults, prompt injection, short greetings and goodbyes."""
    for pattern, replies in _ALWAYS:
        if pattern.search(text):
            return replies[seed % len(replies)]
    act = act_of(text)
    if act in _BY_ACT and news != "bad" and len(text.split()) <= SHORT:
        return _BY_ACT[act][seed % len(_BY_ACT[act])]
    return None


def follow_up(tone: str, news: str, seed: int, *, conflict: bool = False) -> str:
    """A short last sentence that keeps the person talking. ``conflict``: words and tone disagree, so it only asks."""
    if conflict:
        return _CONFLICT[seed % len(_CONFLICT)]
    choices = _FOLLOW_UPS.get((news, tone)) or _FOLLOW_UPS[news, ""]
    return choices[seed % len(choices)]


def safe_reply(text: str, tone: str, news: str, seed: int) -> str:
    """A reply that fits any turn of this kind."""
    if act_of(text) == "ask" and news != "good":
        choices: tuple[str, ...] = _ASKED[news]
    else:
        choices = _TOLD.get((news, tone)) or _TOLD[news, ""]
    return choices[seed % len(choices)]


def every_reply() -> list[tuple[str, str]]:
    """(news, reply) of each, for the tests."""
    told = [(news, reply) for (news, _), replies in _TOLD.items() for reply in replies]
    asked = [(news, reply) for news, replies in _ASKED.items() for reply in replies]
    asked += [(news, reply) for (news, _), replies in _FOLLOW_UPS.items() for reply in replies]
    asked += [("neutral", reply) for _, replies in _ALWAYS for reply in replies]
    asked += [("neutral", reply) for replies in _NO_WORDS.values() for reply in replies]
    asked += [("neutral", reply) for reply in _CONFLICT]
    return told + asked + [("neutral", reply) for replies in _BY_ACT.values() for reply in replies]
