"""Are the words right? Word error rate on emotional and on read speech, beside faster-whisper with the same model file.

``python -m emotion_omni bench words --data FOLDER [--data FOLDER …]``

Each data folder holds recordings and a ``manifest.csv`` with the columns path, transcript, language, source and split.
English clips with a transcript count words; clips in other languages should give none. Read speech is made on the
spot by our own voice. Case and punctuation do not count.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from emotion_omni import audio, engine, processors
from emotion_omni.engine import SpeaksText
from emotion_omni.recognition.recognizer import SpeechRecognizer
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, fetch_whisper
from emotion_omni.types import Audio, Delivery, EmotionOmniError, Turn

HZ = 16_000
READ = "read by our own voice"
EMOTIONS = ("neutral", "happy", "sad", "angry")  # of the read sentences, in turn
SENTENCES = (
    "The ferry leaves the harbor at seven and returns before dark.",
    "My sister keeps bees behind the old brick school.",
    "Please leave the blue folder on the desk by the window.",
    "The bakery on the corner sells warm bread every morning.",
    "We walked along the river until the path became too muddy.",
    "Nobody had expected the train to arrive so early.",
    "He forgot his umbrella and came home completely wet.",
    "The museum opens a new room about ancient maps next week.",
    "Could you tell me which bus goes to the hospital?",
    "Her grandmother taught her how to mend a fishing net.",
    "The committee will publish its report in the autumn.",
    "A small dog barked at the gate while we were waiting.",
    "I would rather stay at home and read a good book tonight.",
    "The mountain road was closed because of heavy snow.",
    "They planted two apple trees in front of the kitchen.",
    "The teacher asked the children to draw their favorite animal.",
    "There is a strange noise coming from the engine again.",
    "After the storm the whole village helped to clear the street.",
    "The nurse said that visitors may stay until eight.",
    "Our neighbors painted their fence yellow without asking anyone.",
    "She opened the letter slowly, as if it might break.",
    "The coffee was cold, but the conversation was not.",
    "I have never seen so many stars as I did last night.",
    "If the weather stays dry, we can finish the roof on Friday.",
    "The orchestra played the last movement twice.",
    "Someone left a green bicycle in the hallway.",
    "The doctor listened to his heart and smiled.",
    "We need more chairs before the guests arrive.",
    "The lighthouse keeper wrote down every ship that passed.",
    "Turn left at the church and follow the stone wall.",
)
STORIES = (
    "On Monday I took the train to the coast. The sea was rough, and the hotel had lost my booking. A "
    "fisherman told me about his daughter in Canada. We ate soup and talked about the price of coffee. On "
    "Tuesday the sun came back. I walked to the old lighthouse and counted ninety steps. My camera fell into "
    "the water, which made the children laugh. Then the wind turned, and it was time to take the last train "
    "home.",
    "My first winter in the north was quiet. The lake froze in November, and the postman came on skis. I "
    "learned to chop wood, to bake bread, and to sleep through the wind. In March the ice began to sing at "
    "night. When the first boat arrived, everybody stood on the pier and waved.",
)  # longer than one window of Whisper

Transcribe = Callable[[Audio], str]


@dataclass(frozen=True)
class Recording:
    """``transcript``: what is said; empty where it is unknown. ``language``: a code like ``en``."""

    source: str
    language: str
    transcript: str
    read: Callable[[], Audio]


def measure(
    folders: Sequence[Path], split: str = "dev", most: int = 60, read: Iterable[Recording] | None = None
) -> dict[str, Any]:
    """The report. ``most``: clips of each corpus and language, spread evenly. ``read``: read speech made before."""
    recognizer = WhisperCT2Recognizer.load()
    systems: dict[str, Transcribe] = {"ours": ours(recognizer)} | faster_whisper()
    recordings = [one for folder in folders for one in manifest(folder, split, most)]
    spoken = [one for one in recordings if one.language == "en" and one.transcript]
    spoken += read_aloud() if read is None else read
    return {
        "machine": processors.describe(),
        "split": split,
        "word_error_rate": word_error_rates(spoken, systems),
        "without_words": without_words(recordings, systems["ours"]),
    }


def manifest(folder: Path, split: str, most: int) -> list[Recording]:
    """The clips of a split: at most ``most`` of each corpus and language, evenly over the manifest."""
    with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    groups: dict[tuple[str, str], list[Recording]] = {}
    for row in rows:
        one = Recording(row["source"], row["language"], row["transcript"], _reader(folder / row["path"]))
        groups.setdefault((one.source, one.language), []).append(one)
    return [one for group in groups.values() for one in _evenly(group, most)]


def _evenly(clips: list[Recording], most: int) -> list[Recording]:
    count = min(most, len(clips))
    return [clips[at * len(clips) // count] for at in range(count)]


def _reader(path: Path) -> Callable[[], Audio]:
    return lambda: audio.decode(path)


def read_aloud() -> list[Recording]:
    """The sentences and stories above, spoken by our own voice."""
    voice = engine.load("embedded-small")
    assert isinstance(voice, SpeaksText)
    lines = [(text, EMOTIONS[at % len(EMOTIONS)]) for at, text in enumerate(SENTENCES)]
    lines += [(text, "neutral") for text in STORIES]
    return [Recording(READ, "en", text, _spoken(voice, text, emotion)) for text, emotion in lines]


def _spoken(voice: SpeaksText, text: str, emotion: str) -> Callable[[], Audio]:
    sound = audio.join(list(voice.speak(text, Delivery(emotion))))
    return lambda: sound


def ours(recognizer: SpeechRecognizer) -> Transcribe:
    """Words alone: the tone is given. A refused recording has none."""

    def transcribe(sound: Audio) -> str:
        try:
            return recognizer.recognize(Turn(sound, emotion="neutral")).transcript
        except EmotionOmniError:
            return ""

    return transcribe


def faster_whisper() -> dict[str, Transcribe]:
    """The same model file in faster-whisper: greedy, and with its defaults (beam 5). English is given."""
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise EmotionOmniError("Install faster-whisper to compare with it.", "missing-package") from error
    model = WhisperModel(str(fetch_whisper()), device="cpu", compute_type="int8", cpu_threads=processors.THREADS)

    def transcribe(sound: Audio, beam: int) -> str:
        segments, _ = model.transcribe(audio.resample(sound, HZ).samples, language="en", beam_size=beam)
        return " ".join(segment.text.strip() for segment in segments)

    return {
        "faster-whisper, greedy": lambda sound: transcribe(sound, 1),
        "faster-whisper, defaults": lambda sound: transcribe(sound, 5),
    }


def word_error_rates(recordings: Sequence[Recording], systems: Mapping[str, Transcribe]) -> dict[str, Any]:
    """By corpus and system."""
    found: dict[str, Any] = {}
    for source in dict.fromkeys(one.source for one in recordings):
        chosen = [one for one in recordings if one.source == source]
        sounds, true = [one.read() for one in chosen], [one.transcript for one in chosen]
        row: dict[str, Any] = {"clips": len(chosen), "words": sum(len(text.split()) for text in true)}
        for name, transcribe in systems.items():
            row[name] = {"wer": word_errors(true, [transcribe(sound) for sound in sounds])}
        found[source] = row
    return found


def without_words(recordings: Sequence[Recording], transcribe: Transcribe) -> dict[str, Any]:
    """By corpus and language: the share of clips with an empty transcript. For English it should be 0, for others 1."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys((one.source, one.language) for one in recordings if one.language):
        heard = [transcribe(one.read()) for one in recordings if (one.source, one.language) == key]
        empty = sum(not text for text in heard) / len(heard)
        found[" ".join(key)] = {"clips": len(heard), "empty": round(empty, 3)}
    return found


def word_errors(true: Sequence[str], heard: Sequence[str]) -> float:
    """Word error rate over all of them together, without case and punctuation."""
    normalize = BasicTextNormalizer()
    return round(jiwer.wer([normalize(text).strip() for text in true], [normalize(text).strip() for text in heard]), 4)


def as_text(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=1)
