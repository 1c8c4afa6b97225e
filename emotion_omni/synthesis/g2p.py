"""Grapheme to phoneme: normalized English text → phonemes in the notation of misaki's lexicon (US).

A word is looked up in the lexicon, then derived by its ending, then as a compound; what is left goes to a small network
trained on that lexicon (``python -m emotion_omni train g2p``), so no word is skipped. Knows nothing of audio.

Axes: B batch, T letters. Lexicon: hexgrad, "misaki" (Apache-2.0). Network: a bidirectional GRU with connectionist
temporal classification (CTC, Graves et al. 2006), three output frames a letter.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from emotion_omni import weights

SHIPPED = Path(__file__).parent / "weights" / "g2p.safetensors"  # trained by us; its card lies beside it
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
SLOTS = 3  # CTC frames a letter: the x of "box" is two phonemes, and a stress mark may precede them
PUNCTUATION = ".,!?;:"

_VOWELS = "AIOQWYaeiouæɑɐɒɔəɚɛɜɪʊʌᵻ"
_VOICELESS = "ptkfθ"
_SIBILANTS = ("s", "z", "ʃ", "ʒ", "ʧ", "ʤ")
_VOICELESS_SIBILANTS = ("s", "ʃ", "ʧ")
_WEAK_FORMS = {"a": "ɐ", "an": "ɐn", "and": "ænd", "i": "I", "am": "æm"}  # unstressed in running speech

_LETTER = "[A-Za-zÀ-ÖØ-öø-ÿ']"
_TOKEN = re.compile(rf"(?:\b[A-Z] )+[A-Z]\b(?![-'])|{_LETTER}+(?:-{_LETTER}+)*|[.,!?;:]+")
_CAMEL = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z']+|[A-Z]")
# What no dictionary has, though all say it
_INTERJECTIONS = {
    "shh": "ʃːː", "psst": "psst", "brr": "bˈɜɹɹ", "zzz": "zzzz", "pfft": "pft", "pff": "pf", "grr": "ɡˈɜɹɹ",
    "mmm": "mˈmm", "hmm": "hmm", "mhm": "mhˈm", "tsk": "tˈɪsk", "aww": "ˈɔ", "eww": "ˈiu", "argh": "ˈɑɹɡ",
    "ugh": "ˈʌɡ", "haha": "hɑhˈɑ", "hahaha": "hɑhɑhˈɑ", "hehe": "hɛhˈɛ", "lol": "lˈɑl", "miz": "mˈɪz", "whee": "wˈi",
}  # fmt: skip
# Names that their letters mislead about
_NAMES = {
    "siobhan": "ʃɪvˈɔn", "nguyen": "wˈɪn", "saoirse": "sˈɜɹʃə", "niamh": "nˈiv", "aoife": "ˈifə", "lukasz": "lˈukɑʃ",
    "jürgen": "jˈɜɹɡən", "søren": "sˈɔɹən", "björn": "bjˈɔɹn", "dvorák": "dvˈɔɹʒɑk", "köln": "kˈɜln",
    "françois": "fɹɑnswˈɑ", "señor": "sAnjˈɔɹ", "muñoz": "munjˈOz", "málaga": "mˈɑləɡə", "zoë": "zˈOi",
    "chloë": "klˈOi", "noël": "nOˈɛl",
}  # fmt: skip
# Words that are others without their accent
_ACCENTED = {
    "résumé": "ɹˈɛzəmˌA", "resumé": "ɹˈɛzəmˌA", "rosé": "ɹOzˈA", "exposé": "ˌɛkspOzˈA", "pâté": "pætˈA",
    "lamé": "læmˈA", "sauté": "sɔtˈA", "saké": "sˈɑkˌA", "maté": "mˈɑtˌA", "josé": "hOzˈA", "andré": "ˈɑndɹˌA",
    "rené": "ɹənˈA", "beyoncé": "biˈɑnsˌA", "déjà": "dˈAʒɑ", "touché": "tuʃˈA", "voilà": "vwɑlˈɑ", "crème": "kɹˈɛm",
    "pokémon": "pˈOkAmˌɑn", "brûlée": "bɹulˈA", "attaché": "ˌæɾəʃˈA", "passé": "pæsˈA", "moiré": "mwɑɹˈA",
}  # fmt: skip
_ACCENTS = str.maketrans("àáâãäåçèéêëìíîïñòóôõöøùúûüýÿ", "aaaaaaceeeeiiiinoooooouuuuyy")


class GraphemeToPhoneme(nn.Module):
    """A bidirectional GRU with CTC: letters of one word → phonemes, for words outside the lexicon."""

    def __init__(self, symbols: str, width: int = 160) -> None:
        super().__init__()
        self.symbols = symbols  # class 0 is the CTC blank, so symbol i is class i + 1
        self.letters = nn.Embedding(len(LETTERS) + 1, width, padding_idx=0)
        self.read = nn.GRU(width, width, num_layers=2, batch_first=True, bidirectional=True, dropout=0.1)
        self.out = nn.Linear(2 * width, SLOTS * (len(symbols) + 1))

    def forward(self, letters: Tensor) -> Tensor:
        """letters [B, T], 0 where padded → log probabilities [B, SLOTS · T, 1 + symbols]."""
        hidden_states, _ = self.read(self.letters(letters))
        return self.out(hidden_states).unflatten(-1, (SLOTS, -1)).flatten(1, 2).log_softmax(-1)

    @classmethod
    def load(cls, path: Path) -> GraphemeToPhoneme:
        with weights.part_explained(path, "g2p"):
            with safetensors.safe_open(path, "pt") as file:
                network = cls(file.metadata()["symbols"])
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
            network.load_state_dict(tensors, strict=True)
        return network.eval()

    @torch.inference_mode()
    def predict(self, word: str) -> str:
        """The greedy CTC decoding; empty for a word without letters."""
        letters = encode_letters(word)
        if not letters:
            return ""
        classes = torch.unique_consecutive(self(torch.tensor([letters]))[0].argmax(-1)).tolist()
        return "".join(self.symbols[index - 1] for index in classes if index)


def encode_letters(word: str) -> list[int]:
    """→ the network's input; other characters are dropped."""
    return [LETTERS.index(letter) + 1 for letter in word.lower().translate(_ACCENTS) if letter in LETTERS]


class G2P:
    """Normalized text → one string of phonemes, spaces and punctuation. ``gold`` overrides ``silver``."""

    def __init__(self, gold: Path, silver: Path, network: Path) -> None:
        self._entries = {
            word: default_pronunciation(entry)
            for path in (silver, gold)
            for word, entry in json.loads(path.read_text(encoding="utf-8")).items()
        }
        self._network = GraphemeToPhoneme.load(network)
        self.word = functools.lru_cache(50_000)(self._word)

    @classmethod
    def load(cls, network: str | Path = "") -> G2P:
        """Fetches misaki's lexicon. An empty ``network`` is the shipped one.

        Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``).
        """
        gold, silver = weights.fetch("misaki/us_gold.json"), weights.fetch("misaki/us_silver.json")
        return cls(gold, silver, Path(network or SHIPPED))

    def __call__(self, text: str) -> str:
        phonemes: list[str] = []
        for token in reversed(self._tokens(text)):  # "the" and "to" depend on the word that follows
            if token[0] in PUNCTUATION:
                phonemes.append(token[0])
            elif token.strip("'"):
                phonemes.append(self._in_context(token, phonemes[-1] if phonemes else ""))
        joined = " ".join(reversed(phonemes))
        return re.sub(r" ([.,!?;:])", r"\1", joined)

    def _tokens(self, text: str) -> list[str]:
        """Words, letters that are spelled together such as "F B I", and punctuation. Known compounds stay whole."""
        tokens: list[str] = []
        for match in _TOKEN.finditer(text):
            token = match[0]
            if " " in token and token.endswith(" I") and re.match(r"(?:'| [a-z])", text[match.end() :]):
                tokens += [token[:-2], "I"]  # "in the U S I saw"
            elif "-" in token and not self._entry(token) and " " not in token:
                tokens += [part for part in token.split("-") if part]
            else:
                tokens.append(token)
        return tokens

    def _in_context(self, token: str, following: str) -> str:
        """A word before the phonemes ``following``, with its weak form where it has one."""
        lower = token.lower()
        before_vowel = following.lstrip("ˈˌ").startswith(tuple(_VOWELS))
        if lower == "the":
            return "ði" if before_vowel else "ðə"
        if lower == "to" and (not following or following[0] in PUNCTUATION):
            return "tu"
        if lower == "to":
            return "tʊ" if before_vowel else "tə"
        if lower in _WEAK_FORMS and (len(token) > 1 or token in "aI"):
            return _WEAK_FORMS[lower]
        return self.word(token)

    def _word(self, token: str) -> str:
        if " " in token:
            return self._spelled(token)
        word = token.strip("'") or token
        acronym = re.fullmatch(r"([A-Z]{2,5})('?s|'S)?", word)
        if acronym and not any(form in self._entries for form in (acronym[1], acronym[1].lower(), word, word.lower())):
            return self._spelled(acronym[1]) + ("z" if acronym[2] else "")
        return (
            _INTERJECTIONS.get(word.lower(), "")
            or _NAMES.get(word.lower(), "")
            or self._entry(token)
            or self._entry(word)
            or self._accented(word)
            or self._by_ending(word.lower())
            or self._by_case(word)
            or self._by_parts(word.lower())
            or self._network.predict(word)
            or self._spelled(word)
        )

    def _accented(self, word: str) -> str:
        """ "résumé", "café": by itself, else as the same word without accents; a last "é" is spoken."""
        if word.isascii():
            return ""
        lower, plain = word.lower(), word.translate(_ACCENTS)
        if found := _ACCENTED.get(lower) or self._entry(plain):
            return found
        if lower.endswith("s") and (stem := _ACCENTED.get(lower[:-1])):
            return stem + "z"
        return self.word(plain[:-1]) + "ˌA" if lower.endswith("é") and len(word) > 3 else ""

    def _by_case(self, word: str) -> str:
        """A name such as "ChatGPT" or "iPhone": part by part. "McDonald" and "HELLO" are left to others."""
        parts = _CAMEL.findall(word)
        if len(parts) < 2 or not word.isascii() or re.match(r"Ma?c[A-Z]|[A-Z]'", word) or "".join(parts) != word:
            return ""
        return " ".join(self.word(part if len(part) > 1 else part.upper()) for part in parts)

    def _entry(self, word: str) -> str:
        for form in (word, word.lower(), word.capitalize()):
            if form in self._entries:
                return self._entries[form]
        return ""

    def _spelled(self, word: str) -> str:
        """Letter by letter, the last one stressed."""
        names = [self._entries.get(letter.upper(), "") for letter in word.translate(_ACCENTS) if letter.isalpha()]
        return "".join(name if index == len(names) - 1 else name.replace("ˈ", "ˌ") for index, name in enumerate(names))

    def _by_ending(self, word: str) -> str:
        """An inflected form: the phonemes of its stem and of the ending after that stem."""
        if word.endswith("'s"):
            return self._plural(word[:-2])
        if word.endswith("s") and not word.endswith("ss") and (plural := self._plural(word[:-1])):
            return plural
        if word.endswith("es") and (plural := self._plural(word[:-2])):
            return plural
        for ending in ("ed", "ing", "er", "ly", "ness", "less", "ful", "ish"):
            if word.endswith(ending) and len(word) > len(ending) + 2:
                stem = self._stem(word[: -len(ending)])
                if stem:
                    return stem + self._ending_phonemes(ending, stem)
        return ""

    def _plural(self, stem: str) -> str:
        phonemes = self._entry(stem)
        if not phonemes:
            return ""
        if phonemes.endswith(_SIBILANTS):
            return phonemes + "ᵻz"
        return phonemes + ("s" if phonemes[-1] in _VOICELESS else "z")

    def _stem(self, cut: str) -> str:
        """What an ending was cut from: as it is, without its silent e, or with a doubled consonant."""
        doubled = len(cut) > 3 and cut[-1] == cut[-2]
        return self._entry(cut) or self._entry(cut + "e") or (self._entry(cut[:-1]) if doubled else "")

    @staticmethod
    def _ending_phonemes(ending: str, stem: str) -> str:
        if ending == "ed" and stem[-1] in "td":
            return "ᵻd"
        if ending == "ed":
            return "t" if stem[-1] in _VOICELESS or stem.endswith(_VOICELESS_SIBILANTS) else "d"
        return {"ing": "ɪŋ", "er": "əɹ", "ly": "li", "ness": "nəs", "less": "ləs", "ful": "fᵊl", "ish": "ɪʃ"}[ending]

    def _by_parts(self, word: str) -> str:
        """A compound such as "rainjacket": two known words of at least four letters, with the longest first part."""
        for cut in range(len(word) - 4, 3, -1):
            first, second = self._entries.get(word[:cut], ""), self._entries.get(word[cut:], "")
            if first and second:
                return first + second.replace("ˈ", "ˌ")
        return ""


def default_pronunciation(entry: str | dict) -> str:
    return entry if isinstance(entry, str) else entry["DEFAULT"]
