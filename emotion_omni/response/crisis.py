"""Words that tell of danger: to oneself, or from other people.

Plain patterns find the open statements, after idioms, titles and denials have been taken out. MiniLM, fine-tuned by
:mod:`emotion_omni.train.crisis`, finds indirect words ("I gave my things away, I won't need
them"). Long turns are read whole and in parts, because one sentence among many hardly moves a mean.

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
LORA_PREFIX = "lora."
MIN_WORDS = 3  # of a part
LONG = 16  # words from which a turn is also read in parts
PART, STEP = 14, 7  # words of a part where there is no punctuation

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

    ``threshold``: probability of danger of either kind from which there is an alarm. ``lora``: low-rank updates of the
    encoder (Hu et al. 2021), ``NAME.a`` [R, in] and ``NAME.b`` [out, R] for its matrix NAME.
    """

    def __init__(self, weight: Tensor, bias: Tensor, threshold: float, lora: dict[str, Tensor]) -> None:
        self.weight, self.bias, self.threshold, self.lora = weight, bias, threshold, lora

    @classmethod
    def load(cls, path: Path = SHIPPED) -> CrisisHead:
        """Raises :class:`EmotionOmniError` (code ``checkpoint``)."""
        with weights.part_explained(path, "crisis"):
            return cls.of(safetensors.torch.load_file(path))

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> CrisisHead:
        """From the tensors of a file."""
        tensors = {name: value.float() for name, value in tensors.items()}
        lora = {name: value for name, value in tensors.items() if name.startswith(LORA_PREFIX)}
        lora = {name.removeprefix(LORA_PREFIX): value for name, value in lora.items()}
        return cls(tensors["weight"], tensors["bias"], tensors["threshold"].item(), lora)

    def __call__(self, vectors: Tensor) -> Tensor:
        return (vectors @ self.weight.T + self.bias).softmax(1)


class CrisisDetector:
    """``encoder``: MiniLM as published."""

    def __init__(self, encoder: SentenceEncoder, head: CrisisHead) -> None:
        self._encoder, self._head = with_lora(encoder, head.lora), head

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
        """The probability of danger in the most telling part, and the likelier kind of it."""
        if not re.search(r"\w", text):
            return 0.0, ""
        with torch.inference_mode():
            found = self._head(self._encoder(parts(text)))  # [B, K]
        most = found[found[:, 0].argmin()]
        return 1 - most[0].item(), RISKS[1 + int(most[1:].argmax())]


def with_lora(encoder: SentenceEncoder, lora: dict[str, Tensor]) -> SentenceEncoder:
    """The encoder with the updates merged into its matrices: W + B A."""
    names = [name.removesuffix(".a") for name in lora if name.endswith(".a")]
    return encoder.with_layers({name: encoder.tensor(name) + lora[f"{name}.b"] @ lora[f"{name}.a"] for name in names})


def parts(text: str) -> list[str]:
    """The text, and where it is long its sentences or windows of words."""
    words = text.split()
    if len(words) <= LONG:
        return [text]
    sentences = [one.strip() for one in re.split(r"(?<=[.!?;])\s+", text)]
    found = [one for one in sentences if len(one.split()) >= MIN_WORDS]
    for one in list(found):
        if len(one.split()) > LONG:
            run = one.split()
            found += [" ".join(run[at : at + PART]) for at in range(0, len(run) - PART + STEP, STEP)]
    return list(dict.fromkeys([text, *found]))
