"""Words → phonemes for the voice, in the notation of misaki's English lexicon (US).

Looked up first, then by ending, then by parts, and at last sounded out by a small network that was
trained on that lexicon (``train/pronounce.py``): no word is ever left out. Knows nothing of audio.

Source of the lexicon: hexgrad, "misaki" (Apache-2.0). Network: connectionist temporal classification,
Graves et al. 2006, three slots a letter.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

SHIPPED = Path(__file__).parent / "weights" / "g2p.safetensors"  # trained by us, with its card
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
SLOTS = 3  # phonemes one letter may sound, as the x of "box" and a stress mark
PUNCTUATION = ".,!?;:"

_VOWELS = "AIOQWYaeiouæɑɐɒɔəɚɛɜɪʊʌᵻ"
_VOICELESS = "ptkfθ"
_SIBILANTS = ("s", "z", "ʃ", "ʒ", "ʧ", "ʤ")
_LIGHT = {"a": "ɐ", "an": "ɐn", "and": "ænd", "i": "I", "am": "æm"}  # unstressed in running speech

_WORD = re.compile(r"[A-Za-zÀ-ÿ']+|[.,!?;:]+")
_ACCENTS = str.maketrans("àáâãäåçèéêëìíîïñòóôõöøùúûüýÿ", "aaaaaaceeeeiiiinoooooouuuuyy")


class Sounder(nn.Module):
    """Letters of one word → phonemes, for words that no lexicon holds."""

    def __init__(self, symbols: str, width: int = 160) -> None:
        super().__init__()
        self.symbols = symbols  # index 0 is CTC's blank, so symbol i is class i + 1
        self.letters = nn.Embedding(len(LETTERS) + 1, width, padding_idx=0)
        self.read = nn.GRU(width, width, num_layers=2, batch_first=True, bidirectional=True, dropout=0.1)
        self.out = nn.Linear(2 * width, SLOTS * (len(symbols) + 1))

    def forward(self, letters: Tensor) -> Tensor:
        """letters [B, T], 0 where padded → log probabilities [B, SLOTS · T, 1 + symbols]."""
        states, _ = self.read(self.letters(letters))
        return self.out(states).unflatten(-1, (SLOTS, -1)).flatten(1, 2).log_softmax(-1)

    @classmethod
    def load(cls, path: Path) -> Sounder:
        with safetensors.safe_open(path, "pt") as file:
            sounder = cls(file.metadata()["symbols"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
        sounder.load_state_dict(tensors, strict=True)
        return sounder.eval()

    @torch.inference_mode()
    def sound(self, word: str) -> str:
        letters = encode_letters(word)
        if not letters:
            return ""
        best = self(torch.tensor([letters]))[0].argmax(-1).tolist()
        kept = [now for before, now in zip([0, *best], best, strict=False) if now and now != before]
        return "".join(self.symbols[index - 1] for index in kept)


def encode_letters(word: str) -> list[int]:
    return [LETTERS.index(letter) + 1 for letter in word.lower().translate(_ACCENTS) if letter in LETTERS]


class Pronouncer:
    """Text in its spoken form → one string of phonemes, spaces and punctuation."""

    def __init__(self, gold: Path, silver: Path, sounder: Path) -> None:
        self._entries = {
            word: _default(entry)
            for path in (silver, gold)
            for word, entry in json.loads(path.read_text(encoding="utf-8")).items()
        }
        self._sounder = Sounder.load(sounder)
        self.word = functools.lru_cache(50_000)(self._word)

    def __call__(self, text: str) -> str:
        tokens = _WORD.findall(text.replace("-", " "))
        said: list[str] = []
        for index in range(len(tokens) - 1, -1, -1):  # backwards: "the" and "to" lean on the word that follows
            token = tokens[index]
            if token[0] in PUNCTUATION:
                said.append(token[0])
            elif token.strip("'"):
                said.append(self._in_context(token, said[-1] if said else ""))
        joined = " ".join(reversed(said))
        return re.sub(r" ([.,!?;:])", r"\1", joined)

    def _in_context(self, token: str, following: str) -> str:
        lower = token.lower()
        before_vowel = following.lstrip("ˈˌ")[:1] in _VOWELS if following else False
        if lower == "the":
            return "ði" if before_vowel else "ðə"
        if lower == "to":
            return "tu" if not following or following[0] in PUNCTUATION else "tʊ" if before_vowel else "tə"
        if lower in _LIGHT and (len(token) > 1 or token in "aI"):
            return _LIGHT[lower]
        return self.word(token)

    def _word(self, token: str) -> str:
        word = token.strip("'") or token
        if word.isupper() and 2 <= len(word) <= 5 and word not in self._entries and not self._entries.get(word.lower()):
            return self._letters(word)
        return (
            self._entry(token)
            or self._entry(word)
            or self._by_ending(word.lower())
            or self._by_parts(word.lower())
            or self._sounder.sound(word)
            or self._letters(word)
        )

    def _entry(self, word: str) -> str:
        for form in (word, word.lower(), word.capitalize()):
            if form in self._entries:
                return self._entries[form]
        return ""

    def _letters(self, word: str) -> str:
        names = [self._entries.get(letter.upper(), "") for letter in word.translate(_ACCENTS) if letter.isalpha()]
        return "".join(name if index == len(names) - 1 else name.replace("ˈ", "ˌ") for index, name in enumerate(names))

    def _by_ending(self, word: str) -> str:
        """An inflected form from its stem, with the sound that English gives the ending there."""
        if word.endswith("'s") or (word.endswith("s") and not word.endswith("ss")):
            cuts = (word[:-2],) if word.endswith("'s") else (word[:-1], word[:-2] if word.endswith("es") else "")
            stem = next(filter(None, map(self._entry, filter(None, cuts))), "")
            if stem:
                return stem + ("ᵻz" if stem.endswith(_SIBILANTS) else "s" if stem[-1] in _VOICELESS else "z")
        for ending in ("ed", "ing", "er", "ly", "ness", "less", "ful", "ish"):
            if word.endswith(ending) and len(word) > len(ending) + 2:
                stem = self._stem(word[: -len(ending)])
                if stem:
                    return stem + self._ending_sound(ending, stem)
        return ""

    def _stem(self, cut: str) -> str:
        doubled = cut[:-1] if len(cut) > 3 and cut[-1] == cut[-2] else ""
        return next(filter(None, map(self._entry, filter(None, (cut, cut + "e", doubled)))), "")

    @staticmethod
    def _ending_sound(ending: str, stem: str) -> str:
        if ending == "ed":
            return (
                "ᵻd" if stem[-1] in "td" else "t" if stem[-1] in _VOICELESS or stem.endswith(_SIBILANTS[::2]) else "d"
            )
        return {"ing": "ɪŋ", "er": "əɹ", "ly": "li", "ness": "nəs", "less": "ləs", "ful": "fᵊl", "ish": "ɪʃ"}[ending]

    def _by_parts(self, word: str) -> str:
        """A compound such as "rainjacket": two known words of four letters and more, the longer first part wins."""
        for cut in range(len(word) - 4, 3, -1):
            first, second = self._entries.get(word[:cut], ""), self._entries.get(word[cut:], "")
            if first and second:
                return first + second.replace("ˈ", "ˌ")
        return ""


def _default(entry: str | dict) -> str:
    return entry if isinstance(entry, str) else entry["DEFAULT"]
