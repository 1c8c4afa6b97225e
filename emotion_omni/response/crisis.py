"""Words that tell of danger: to oneself, or from other people.

Plain patterns find the open statements, after idioms, titles and denials have been taken out. A logistic regression on
MiniLM sentence vectors (trained by :mod:`emotion_omni.train.crisis`) finds some of the veiled ones.

Axes: B texts, D width 384, K = none, self, others (:data:`RISKS`).
"""

from __future__ import annotations

import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from emotion_omni import weights
from emotion_omni.response.sentence_encoder import SentenceEncoder

SHIPPED = Path(__file__).parent / "weights" / "crisis.safetensors"  # trained by us, with its card
RISKS = ("", "unclear", "others")  # what the classifier can find, in the order of its classes

_NOT_MEANT = re.compile(
    r"\b(?:suicide (?:squad|bomber\w*|note from|prevention|rates?)|(?:my|the|a) (?:phone|battery|laptop|car|\w+ "
    r"?screen) "
    r"(?:died|is dead|killed itself)|(?:not|never|isn't|wasn't|n't) (?:\w+ ){0,2}suicidal|"
    r"(?:never|not going to|wouldn't|won't|not gonna|no plans? to|don't want to|not want to|never thought of|"
    r"not thinking (?:of|about)) (?:kill(?:ing)?|hurt(?:ing)?|harm(?:ing)?|cut(?:ting)?) my ?self|"
    r"(?:so|was|were|nearly|almost) (?:embarrassed|ashamed|cold|hot|bored)\W+(?:\w+ ){0,3}(?:want(?:ed)? to die|died?)|"
    r"(?:cut|hurt|burn\w*|hit) my ?self (?:shaving|cooking|while|when i (?:fell|tripped|slipped)|at|on the|by "
    r"accident)|"
    r"(?:used to|years ago|back then|once|when i was (?:\w+ )?(?:young\w*|a \w+|\w+teen))\b[^.!?]*)",
    re.IGNORECASE,
)
CRISIS = re.compile(
    r"\b(kill(ing)? my ?self|(i'?m|i am|feel(ing)?|been|so|and) (\w+ )?suicidal|suicidal (thoughts?|ideas?|again|rn)|"
    r"i (\w+ ){0,3}(commit|attempt(ed)?) suicide|"
    r"i('?ve| have)? (\w+ ){0,2}th(ink|ought|inking) (of|about) suicide|planning my suicide|my suicide plan|"
    r"end(ing)? (my (own )?life|it all)|tak(e|ing) my own life|take my life(?! in)|"
    r"i (don'?t|do not|no longer) (really |even )?want to (live(?! (in|with|without|here|there|at|on|near|like))|"
    r"be alive|be here any ?more|exist|wake up(?= ?(any ?more|again|tomorrow|$|[.!]))|be on this earth)|"
    r"i (just |really |honestly |only )?(want|wanna|need) (to )?(die|be dead)(?= ?(so|tonight|now|and|honestly|"
    r"please|$|[.,!]))|"
    r"i wish (that )?(i (was|were) dead|i('d| had) never been born|i could die)|"
    r"(i('d| would) be|i('m| am)|everyone('d| would) be|they('d| would) (all )?be) better off (dead|without me|if i)|"
    r"(hurt|harm|cutt?)(ing)? my ?self(?= ?(on purpose|again|tonight|and|so|right now|because|to|$|[.,!]))|"
    r"i('ve| have)? (been )?self.?harm\w*|(took|taken|swallowed) an overdose|i overdosed|"
    r"no reason (for me )?to (live|be alive)|nothing (left )?to live for|suicide note|"
    r"kms|unaliv(e|ing) (my ?self|me)|off my ?self|top(ping)? my ?self|hang(ing)? my ?self|shoot(ing)? my ?self)\b",
    re.IGNORECASE,
)


def is_crisis(text: str) -> bool:
    """Whether the words say openly that the person wants to die or hurts themselves. Needs no model."""
    return CRISIS.search(_NOT_MEANT.sub(" ", text.replace("\u2019", "'"))) is not None


class CrisisHead:
    """Sentence vectors [B, D] → probabilities of none, self, others [B, K].

    ``threshold``: probability of danger of either kind from which there is an alarm.
    """

    def __init__(self, weight: Tensor, bias: Tensor, threshold: float) -> None:
        self.weight, self.bias, self.threshold = weight.float(), bias.float(), threshold

    @classmethod
    def load(cls, path: Path = SHIPPED) -> CrisisHead:
        """Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "crisis"):
            tensors = safetensors.torch.load_file(path)
            return cls(tensors["weight"], tensors["bias"], tensors["threshold"].item())

    def __call__(self, vectors: Tensor) -> Tensor:
        return (vectors @ self.weight.T + self.bias).softmax(1)


class CrisisDetector:
    """``encoder``: MiniLM as published."""

    def __init__(self, encoder: SentenceEncoder, head: CrisisHead) -> None:
        self._encoder, self._head = encoder, head

    def risk(self, text: str) -> str:
        """``crisis`` for open words, ``unclear`` for veiled ones, ``others`` for danger from others, else empty."""
        if is_crisis(text):
            return "crisis"
        danger, likelier = self.probability(text)
        return likelier if danger >= self._head.threshold else ""

    def alarms(self, text: str) -> bool:
        """Whether the classifier alone finds danger."""
        return self.probability(text)[0] >= self._head.threshold

    def probability(self, text: str) -> tuple[float, str]:
        """The probability of danger, and the likelier kind of it."""
        if not re.search(r"\w", text):
            return 0.0, ""
        with torch.inference_mode():
            (found,) = self._head(self._encoder([text]))  # [K]
        return 1 - found[0].item(), RISKS[1 + int(found[1:].argmax())]
