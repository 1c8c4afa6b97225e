"""What the words tell of, and which way a reply leans: good, bad or neutral news.

Two small networks on MiniLM sentence vectors (trained by ``train/meaning.py``; the one for the words
has tuned upper layers, since "gone" and "not" turn news round) and, for a reply, plain phrases that
no network may overrule. The guard that follows from them is the promise of this
room: a reply never condoles to good news and never congratulates grief.

Axes: B sentences, D width 384, K = good, bad, neutral (:data:`emotion_omni.emotion.EVENTS`).
"""

from __future__ import annotations

import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from emotion_omni.emotion import EVENTS
from emotion_omni.response.sentence_encoder import WIDTH, SentenceEncoder

SHIPPED = Path(__file__).parent / "weights" / "guard.safetensors"  # trained by us, with its card
SURE = 0.55  # probability from which the words decide, whatever the tone
VERY_SURE = 0.80  # the same, where a happy voice says that it may have ended well
LEANS = 0.80  # probability from which a reply counts as leaning one way

HURTING = ("sad", "angry", "fearful", "disgusted")

CONGRATULATES = re.compile(
    r"\b(congrat\w*|hooray|hurray|yay|woo ?hoo|bravo|well done|good for you|way to go|nice work|cheers to|"
    r"celebrat\w*|how (wonderful|exciting|lovely|fantastic|thrilling|marvell?ous|great|delightful|sweet)|"
    r"(that is|that's|this is|what|sounds|such) (an? )?(\w+ly )?(wonderful|great|fantastic|amazing|brilliant|exciting|"
    r"lovely|awesome|terrific|thrilling|marvell?ous|fabulous|good|delightful|happy|superb)( news| day| moment|!| to hear)|"
    r"(so|very|really|truly) (happy|glad|pleased|excited|thrilled|delighted) (for you|to hear|with you|that)|"
    r"(wonderful|great|fantastic|amazing|brilliant|excellent|exciting|good|happy|lovely) news|glad to hear|"
    r"(good|great|nice|lovely|glad|happy|pleased|wonderful) to (hear|know|see)|how (fun|nice|cool|happy)|what (a|an) (joy|delight|"
    r"treat|thrill|pleasure|triumph|win)|good (job|on you)|finally done|enjoy (it|that|every)|sounds? (glad|pleased|happy|cheerful)|"
    r"proud of you|well.deserved|you (must|should) be (so |very |really )?(proud|thrilled|happy|excited|delighted))\b",
    re.IGNORECASE,
)
CONDOLES = re.compile(
    r"\b(condolence\w*|sympath\w*|sorry (for|about) (your|his|her|their|the|this|that)|"
    r"sorry (to hear|you|that|this|it|things)|(so|very|truly|really|terribly) sorry|"
    r"(that|this|it)('s| is| sounds| must be| must feel)( just| so| really| such| very| truly)* (an? )?"
    r"(awful|terrible|horrible|heartbreaking|devastating|tragic|painful|dreadful|heavy|a blow|loss|"
    r"sad|upsetting|crushing|hard to bear|rough|unfair|heart.?wrenching)|"
    r"what an? (awful|terrible|horrible|heartbreaking|dreadful|painful|sad|cruel|heavy)|rest in peace|"
    r"your (loss|grief|sorrow|pain|heartache)|passed away|miss (him|her|them) terribly|oh no\b)",
    re.IGNORECASE,
)
PRESUMES = re.compile(
    r"\byou('re| are| must be) (so |just |still |being )?(angry|scared|afraid|frightened|worried|sad|annoyed|disgusted|cross|upset|furious|"
    r"mad|crying|ashamed)( \w+)? (with|of|at|about|for) (yourself|him|her|them|me|something|you)\b|"
    r"\byou('re| are) (stupid|to blame|wrong)\b",
    re.IGNORECASE,
)  # feelings nobody spoke of, put into the person's mouth
CRISIS = re.compile(
    r"\b(kill(ing)? my ?self|suicid\w*|end(ing)? (my|it) (life|all)|take my (own )?life|"
    r"(don't|do not|dont|no longer) want to (live|be alive|be here any ?more|exist|wake up)|"
    r"want to die|wish i (was|were) dead|better off (dead|without me)|hurt(ing)? my ?self|harm(ing)? my ?self|self.harm|"
    r"cut(ting)? my ?self|overdos\w*|no reason to live|nothing to live for)\b",
    re.IGNORECASE,
)


class Lean(nn.Module):
    """Sentence vectors [B, D] → probability of good, bad, neutral [B, K]."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(WIDTH, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, len(EVENTS))
        )

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors)


class Meaning:
    """The two heads on one encoder."""

    def __init__(self, encoder: SentenceEncoder, heads: Path) -> None:
        tensors = {name: value.float() for name, value in safetensors.torch.load_file(heads).items()}
        self._encoder = encoder
        self._words_encoder = encoder.with_layers(_part(tensors, "tuned."))
        self._words, self._reply = Lean(), Lean()
        for name, head in (("words.", self._words), ("reply.", self._reply)):
            head.load_state_dict(_part(tensors, name), strict=True)
            head.eval()

    def event(self, text: str, tone: str) -> str:
        """What the person tells of. Words that are sure decide; else the tone does.

        Good words in a hurting tone are neither: the tone says that something is amiss.
        """
        good, bad, _ = _lean(self._words, self._words_encoder, text)
        if bad >= (VERY_SURE if tone == "happy" else SURE):
            return "bad"
        if good >= SURE:
            return "neutral" if tone in HURTING else "good"
        if tone in HURTING:
            return "bad"
        return "good" if tone == "happy" and good > bad else "neutral"

    def direction(self, reply: str) -> str:
        """Which way a reply, or a clause of it, leans: "good" congratulates, "bad" condoles, else "neutral"."""
        cheers, comforts = bool(CONGRATULATES.search(reply)), bool(CONDOLES.search(reply))
        if cheers != comforts:
            return "good" if cheers else "bad"
        if cheers:
            return "bad" if CONDOLES.search(reply).start() < CONGRATULATES.search(reply).start() else "good"
        good, bad, _ = _lean(self._reply, self._encoder, reply)
        return "good" if good >= LEANS else "bad" if bad >= LEANS else "neutral"

    def allows(self, reply: str, event: str) -> bool:
        """Whether this reply may be said: it must lean with the event or not at all, and presume nothing."""
        cheers, comforts = bool(CONGRATULATES.search(reply)), bool(CONDOLES.search(reply))
        if PRESUMES.search(reply):
            return False
        if event == "bad":
            return not cheers and self.direction(reply) != "good"
        if event == "good":
            return not comforts and self.direction(reply) != "bad"
        return not (cheers or comforts)


def _lean(head: Lean, encoder: SentenceEncoder, text: str) -> tuple[float, float, float]:
    with torch.inference_mode():
        good, bad, neutral = head(encoder([text])).softmax(1)[0].tolist()
    return good, bad, neutral


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def is_crisis(text: str) -> bool:
    """Whether the words speak of harming oneself. Plain phrases: a miss costs more than a false alarm."""
    return CRISIS.search(text) is not None
