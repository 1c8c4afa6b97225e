"""The guard: what may be said in reply, and whether the words tell of danger.

A reply never condoles to good news, never congratulates on bad news, never agrees with self-blame and never advises
as a doctor would.

Two small classifiers on MiniLM sentence vectors (trained by :mod:`emotion_omni.train.guard`): what the words report,
with fine-tuned upper layers, because "gone" and "not" reverse the meaning; and the direction of a reply. For a reply
plain phrases overrule the classifier.

Axes: B sentences, D width 384, K = good, bad, neutral (:data:`emotion_omni.emotion.NEWS`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from emotion_omni import weights
from emotion_omni.emotion import HURTING, NEWS
from emotion_omni.response.crisis import CrisisDetector
from emotion_omni.response.reply_faults import advises, agrees_with_blame, parrots_label
from emotion_omni.response.sentence_encoder import WIDTH, SentenceEncoder, load_encoder

SHIPPED = Path(__file__).parent / "weights" / "guard.safetensors"  # trained by us, with its card
SURE = 0.55  # probability from which the words decide, whatever the tone
VERY_SURE = 0.80  # the same for bad news in a happy voice, which may have ended well, and for a conflict with the tone
KEPT_VECTORS = 512  # of sentences of replies
DIRECTED = 0.80  # probability from which a reply counts as congratulating or condoling

CONGRATULATES = re.compile(
    r"\b(congrat\w*|hooray|hurray|yay|woo ?hoo|bravo|well done|good for you|way to go|nice work|cheers to|"
    r"celebrat\w*|how (wonderful|exciting|lovely|fantastic|thrilling|marvell?ous|great|delightful|sweet)|"
    r"(that is|that's|this is|what|sounds|such) (an? )?(\w+ly )?(wonderful|great|fantastic|amazing|brilliant|exciting|"
    r"lovely|awesome|terrific|thrilling|marvell?ous|fabulous|good|delightful|happy|superb)( news| day| moment|!|"
    r" to hear)|"
    r"(so|very|really|truly) (happy|glad|pleased|excited|thrilled|delighted) (for you|to hear|with you|that)|"
    r"(wonderful|great|fantastic|amazing|brilliant|excellent|exciting|good|happy|lovely) news|glad to hear|"
    r"(good|great|nice|lovely|glad|happy|pleased|wonderful) to (hear|know|see)|how (fun|nice|cool|happy)|"
    r"what (a|an) (joy|delight|"
    r"treat|thrill|pleasure|triumph|win)|good (job|on you)|finally done|enjoy (it|that|every)|sounds? (glad|"
    r"pleased|happy|cheerful)|"
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
    r"\byou('re| are| must be) (so |just |still |being )?(angry|scared|afraid|frightened|worried|sad|annoyed|"
    r"disgusted|cross|upset|furious|"
    r"mad|crying|ashamed)( \w+)? (with|of|at|about|for) (yourself|him|her|them|me|something|you)\b|"
    r"\byou('re| are) (stupid|to blame|wrong)\b",
    re.IGNORECASE,
)  # feelings that the person did not mention
REASSURES = re.compile(
    r"\b(i('m| am)|we('re| are)|everything('s| is)|(it|that)('s| is)|things are|all('s| is)) "
    r"(?!(not|never|hardly)\b)(\w+ )?(fine|ok(ay)?|all ?right|good|great|well|cool|perfect)\b"
    r"(?! (at|for|with|to|in|idea|question))|"
    r"\b(don't|do not) worry( about (me|it|us))?\b|\bno (problem|worries|big deal)\b|"
    r"\b(i('m| am)|we('re| are)) (\w+ )?(not (at all |even |that )?(angry|mad|upset|cross|sad|scared|afraid|worried|"
    r"nervous|disappointed|hurt|jealous|lonely)|over it)\b|\b(i|we) (don't|do not) mind\b|"
    r"\bnothing('s| is)? (wrong|the matter)\b|\bnever better\b|\bdoing (fine|well|great|good|okay)\b",
    re.IGNORECASE,
)  # says that the person is well, or not unwell
NOT_WELL = re.compile(r"\b(not|n't|never|isn't|hardly|without you|if|until|wish|pretend\w*|hope)\b", re.IGNORECASE)
BYGONE = re.compile(r"\b(used to|back then|(except|but|without) me)\b", re.IGNORECASE)  # good, but not here and now


class NewsHead(nn.Module):
    """Sentence vectors [B, D] → logits of good, bad, neutral [B, K]."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(WIDTH, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, len(NEWS))
        )

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors)


class Guard:
    """The two heads and the crisis detector on one encoder. ``heads``: a ``guard.safetensors``."""

    def __init__(self, encoder: SentenceEncoder, heads: Path, crisis: CrisisDetector | None = None) -> None:
        self._encoder = encoder
        self._vectors: dict[str, Tensor] = {}
        self._crisis = crisis or CrisisDetector.load(encoder)
        self._words, self._reply = NewsHead(), NewsHead()
        with weights.part_explained(heads, "guard"):
            tensors = {name: value.float() for name, value in safetensors.torch.load_file(heads).items()}
            self._words_encoder = encoder.with_layers(_with_prefix(tensors, "tuned."))
            for name, head in (("words.", self._words), ("reply.", self._reply)):
                head.load_state_dict(_with_prefix(tensors, name), strict=True)
                head.eval()

    @classmethod
    def load(cls, heads: str | Path = "", crisis: str | Path = "") -> Guard:
        """Fetches the sentence encoder; without ``heads`` and ``crisis``, the detector's weights, the shipped ones.

        Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``).
        """
        encoder = load_encoder()
        detector = CrisisDetector.load(encoder, Path(crisis)) if crisis else None
        return cls(encoder, Path(heads or SHIPPED), detector)

    def news(self, text: str, tone: str) -> str:
        """What the person reports. Words decide where they are sure; else the tone does.

        Good words in a hurting tone are neither: the tone says that something is wrong.
        """
        good, bad, _ = _probabilities(self._words, self._words_encoder, text)
        if bad >= (VERY_SURE if tone == "happy" else SURE):
            return "bad"
        if good >= SURE:
            return "neutral" if tone in HURTING else "good"
        if tone in HURTING:
            return "bad"
        return "good" if tone == "happy" and good > bad else "neutral"

    def sentiment(self, text: str) -> str:
        """What the words alone say of how the person is: ``good``, ``bad`` or ``neutral``."""
        good, bad, _ = _probabilities(self._words, self._words_encoder, text)
        if bad >= VERY_SURE:
            return "bad"
        found = REASSURES.search(text)
        if found and not NOT_WELL.search(text.replace(found[0], "")) and not text[found.end() :].startswith("?"):
            return "good"
        return "good" if good >= VERY_SURE and not BYGONE.search(text) else "neutral"

    def direction(self, reply: str) -> str:
        """A reply, or a clause of it → ``good`` if it congratulates, ``bad`` if it condoles, else ``neutral``."""
        cheers, comforts = CONGRATULATES.search(reply), CONDOLES.search(reply)
        if cheers and comforts:
            return "bad" if comforts.start() < cheers.start() else "good"
        if cheers or comforts:
            return "good" if cheers else "bad"
        good, bad, _ = _probabilities(self._reply, self._encoder, reply)
        return "good" if good >= DIRECTED else "bad" if bad >= DIRECTED else "neutral"

    def risk(self, text: str) -> str:
        """The danger that the words tell of: see :meth:`emotion_omni.response.crisis.CrisisDetector.risk`."""
        return self._crisis.risk(text)

    def alike(self, text: str, others: Sequence[str], /) -> float:
        """See :class:`emotion_omni.response.repetition.Alike`."""
        if not others:
            return 0.0
        return max(float(self._vector(text) @ self._vector(other)) for other in others)

    def _vector(self, text: str) -> Tensor:
        """A sentence's vector [D], kept for the next turn of the conversation."""
        if text not in self._vectors:
            if len(self._vectors) >= KEPT_VECTORS:
                self._vectors.clear()
            self._vectors[text] = self._encoder([text])[0]
        return self._vectors[text]

    def fault(self, reply: str, news: str, words: str = "") -> str:
        """Why a large model's reply may not be spoken, empty if it may: a key of ``chat.FAULTS``.

        Of neutral news the direction is not judged: it only means that the small classifier found neither kind, and a
        large model reads the words better.
        """
        if agrees_with_blame(reply, words):
            return "agrees"
        if advises(reply, words):
            return "advice"
        if PRESUMES.search(reply) or parrots_label(reply):
            return "presumes"
        return "" if news == "neutral" or self.fits(reply, news) else "direction"

    def allows(self, reply: str, news: str, words: str = "") -> bool:
        """Whether the small model's reply to these words may be spoken."""
        return not self.fault(reply, news, words) and self.fits(reply, news)

    def fits(self, reply: str, news: str) -> bool:
        """Whether the direction of a reply fits the news. To neutral news it neither condoles nor congratulates."""
        cheers, comforts = bool(CONGRATULATES.search(reply)), bool(CONDOLES.search(reply))
        if news == "bad":
            return not cheers and self.direction(reply) != "good"
        if news == "good":
            return not comforts and self.direction(reply) != "bad"
        return not (cheers or comforts)


def _probabilities(head: NewsHead, encoder: SentenceEncoder, text: str) -> tuple[float, float, float]:
    with torch.inference_mode():
        good, bad, neutral = head(encoder([text])).softmax(1)[0].tolist()
    return good, bad, neutral


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
