"""A recording → what was said and how. One pass of Whisper's encoder serves both.

Audio comes in at any rate and level and leaves as 16 kHz speech at one level, without the silence
around it; so neither loudness nor a pause before speaking looks like an emotion.

Axes: L states of the encoder, T frames (50 Hz), D width.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import numpy as np
import tokenizers
import torch

from emotion_omni import audio, emotion
from emotion_omni.recognition.speech_emotion import ToneHead
from emotion_omni.recognition.voice_activity import VoiceActivity
from emotion_omni.recognition.whisper_encoder import HZ, WINDOW_SECONDS, WhisperEncoder, valid_frames
from emotion_omni.types import Audio, Emotion, EmotionOmniError, Heard, Turn

PROMPT = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
TOKENS_A_SECOND = 6  # faster than people speak English; a decoder that loops is cut here
PLENTY, PLENTY_A_SECOND = 4, 4  # tokens; more of them and a second try is made
LOOP_PENALTY = 1.4  # divides the scores of words that were said already, in a second try
INVENTED = 0.75  # probability of no speech above which words are taken for imagination
BOOST_TO = 0.5  # peak the voice detector gets to see, however quiet the recording


def corrections(turn: Turn) -> tuple[str | None, str | None]:
    """The transcript and the emotion that a person has given, if any: what every engine takes as it is.

    Raises :class:`EmotionOmniError` (codes ``empty``, and that of an unknown emotion).
    """
    transcript = turn.transcript.strip() if turn.transcript is not None else None
    if transcript == "":
        raise EmotionOmniError("The corrected words are empty. Write what was said, or leave them as heard.", "empty")
    return transcript, emotion.find(turn.emotion).name if turn.emotion is not None else None


@dataclass(frozen=True, eq=False)
class Utterance:
    """Speech ready for the encoder: samples [N] at 16 kHz, and where it began in the recording."""

    samples: np.ndarray
    start_seconds: float


@dataclass
class Ear:
    """The parts of hearing. ``timings`` of the last call are returned, never kept."""

    encoder: WhisperEncoder
    decoder: ctranslate2.models.Whisper
    tokenizer: tokenizers.Tokenizer
    voice_activity: VoiceActivity
    tone: ToneHead
    special: int  # the first token that is no word

    @classmethod
    def load(cls, whisper: Path, vad: Path, tone: Path, threads: int) -> Ear:
        """``whisper``: a folder with CTranslate2's model.bin, config.json, vocabulary.txt, tokenizer.json."""
        encoder = WhisperEncoder.load(whisper / "model.bin")
        decoder = ctranslate2.models.Whisper(str(whisper), compute_type="int8", intra_threads=threads, inter_threads=1)
        tokenizer = tokenizers.Tokenizer.from_file(str(whisper / "tokenizer.json"))
        head = ToneHead.load(tone, encoder)
        return cls(encoder, decoder, tokenizer, VoiceActivity(vad), head, tokenizer.token_to_id("<|endoftext|>"))

    def hear(
        self, query: Audio, transcript: str | None = None, tone: str | None = None
    ) -> tuple[Heard, dict[str, float]]:
        """→ what was heard, and seconds by stage. A given transcript or tone is taken as it is.

        Raises :class:`EmotionOmniError` (codes ``silent``, ``no-speech``, ``no-words``).
        """
        timings: dict[str, float] = {}
        clock = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            timings[stage], clock = now - clock, now

        utterance = self.prepare(query)
        lap("voice_activity")
        windows = self.encode(utterance.samples)
        lap("encode")
        if transcript is None:
            transcript = self.words(windows, len(utterance.samples) / HZ)
            lap("words")
        if tone is None:
            belief, trajectory = self.feel(windows, utterance)
            lap("tone")
        else:
            belief, trajectory = emotion.certain(tone), ()
        return Heard(transcript, belief, trajectory), timings

    def prepare(self, query: Audio) -> Utterance:
        """See :func:`prepared`."""
        return prepared(query, self.voice_activity)

    def encode(self, samples: np.ndarray) -> list[torch.Tensor]:
        """[N] → the states [L, T, D] of each window of at most 29 s, over clip and padding."""
        size = int(WINDOW_SECONDS * HZ)
        return [self.encoder.states(samples[at : at + size]) for at in range(0, len(samples), size)]

    def words(self, windows: list[torch.Tensor], seconds: float) -> str:
        """The transcript, in English. Greedy, from the encoder's last state."""
        said = []
        for states in windows:
            features = ctranslate2.StorageView.from_array(states[-1:].contiguous().numpy())
            longest = 8 + int(TOKENS_A_SECOND * min(seconds, WINDOW_SECONDS))
            result = self._decode(features, longest)
            if len(result.sequences_ids[0]) > PLENTY + PLENTY_A_SECOND * seconds:
                # after a short sentence it often finds no end and says it again; who really speaks so fast is heard alike twice
                second = self._decode(features, longest, repetition_penalty=LOOP_PENALTY)
                result = min(second, result, key=lambda one: len(one.sequences_ids[0]))
            if result.no_speech_prob < INVENTED:
                tokens = [token for token in result.sequences_ids[0] if token < self.special]
                said.append(self.tokenizer.decode(tokens).strip())
        transcript = " ".join(filter(None, said))
        if not any(letter.isalnum() for letter in transcript):
            raise EmotionOmniError(
                "There is a voice, but no words could be made out. Say it again, a little slower or closer.", "no-words"
            )
        return transcript

    def _decode(
        self, features: ctranslate2.StorageView, longest: int, **more: float
    ) -> ctranslate2.models.WhisperGenerationResult:
        """Greedy, at most ``longest`` tokens: half of CTranslate2's ``max_length``, the other half of which is for a prompt."""
        (result,) = self.decoder.generate(
            features, [list(PROMPT)], beam_size=1, max_length=2 * longest, return_no_speech_prob=True, **more
        )
        return result

    def feel(
        self, windows: list[torch.Tensor], utterance: Utterance
    ) -> tuple[Emotion, tuple[tuple[float, Emotion], ...]]:
        """The tone of the whole utterance and over time, from the frames of the clip itself."""
        states = torch.cat([window[:, : valid_frames(int(WINDOW_SECONDS * HZ))] for window in windows], dim=1)
        belief, trajectory = self.tone.hear(states[:, : valid_frames(len(utterance.samples))])
        return belief, tuple((utterance.start_seconds + at, felt) for at, felt in trajectory)


def prepared(query: Audio, voice_activity: VoiceActivity) -> Utterance:
    """Resample, find the speech, cut the silence around it, set the level of the speech.

    Raises :class:`EmotionOmniError` (codes ``silent``, ``no-speech``).
    """
    samples = audio.resample(query, HZ).samples
    samples = samples - samples.mean()
    level = audio.dbfs(samples)
    if level < audio.QUIETEST_DBFS:
        raise EmotionOmniError(
            f"The recording is silent ({level:.0f} dBFS). Check the microphone, then record again.", "silent"
        )
    spans = voice_activity.spans(samples * np.float32(BOOST_TO / np.abs(samples).max()))
    if not spans:
        raise EmotionOmniError(
            "No speech was found in the recording. Speak a little closer to the microphone and try again.",
            "no-speech",
        )
    start, end = spans[0][0], spans[-1][1]
    speech = np.concatenate([samples[first:last] for first, last in spans])
    return Utterance(audio.set_level(samples[start:end], of=speech), start / HZ)
