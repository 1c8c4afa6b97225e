"""What the codec preserves of recordings it was not trained on: spectrum, pitch, and words, by a recognizer."""

from __future__ import annotations

import math
import re
import statistics
from typing import Any

import numpy as np
import torch

from emotion_omni import audio
from emotion_omni.recognition.recognizer import Recognizer
from emotion_omni.synthesis.codec import HZ, Codec, CodecTokenizer, CodecVocoder, log_mel
from emotion_omni.train.codec_recordings import Recording
from emotion_omni.train.g2p import distance
from emotion_omni.types import Audio, EmotionOmniError, Turn

SENTENCES_AT_ONCE = 3  # for the recognizer: a single short one is often transcribed twice


def evaluate(recognizer: Recognizer, codec: Codec, recordings: list[Recording]) -> dict[str, Any]:
    """Recordings, and what the codec makes of them."""
    tokenizer, vocoder = CodecTokenizer(codec), CodecVocoder(codec)
    texts = [recording.text for recording in recordings]
    originals, decoded, used, mel_errors, pitch_errors = [], [], set(), [], []
    for recording in recordings:
        tokens = tokenizer(Audio(recording.samples, HZ))
        sound = vocoder.decode(tokens)
        original = np.pad(recording.samples, (0, len(sound.samples) - len(recording.samples)))
        mel, its_mel = (log_mel(torch.from_numpy(samples)[None]) for samples in (original, sound.samples))
        mel_errors.append(3 * float((mel - its_mel).abs().mean()))  # nepers
        pitch_errors.append(pitch_error(recording, vocoder, tokens))
        originals.append(Audio(original, HZ))
        decoded.append(sound)
        used |= set(tokens.tolist())
    return {
        "sentences": len(texts),
        "words": sum(len(words_of(text)) for text in texts),
        "mel_decibels": round(statistics.mean(mel_errors) * 20 / math.log(10), 2),
        "pitch_percent": round(statistics.mean(pitch_errors), 2),
        "codes_used": len(used),
        "word_error_rate_original": round(word_error_rate(recognizer, texts, originals), 4),
        "word_error_rate_codec": round(word_error_rate(recognizer, texts, decoded), 4),
    }


def word_error_rate(recognizer: Recognizer, texts: list[str], sounds: list[Audio]) -> float:
    """Of the recognizer's transcripts, three sentences at a time."""
    wrong, words = 0, 0
    for start in range(0, len(texts), SENTENCES_AT_ONCE):
        expected = words_of(" ".join(texts[start : start + SENTENCES_AT_ONCE]))
        heard = words_of(transcribe(recognizer, audio.join(sounds[start : start + SENTENCES_AT_ONCE])))
        wrong += distance(expected, heard)
        words += len(expected)
    return wrong / words


def pitch_error(recording: Recording, vocoder: CodecVocoder, tokens: np.ndarray) -> float:
    """Mean deviation of the decoder's pitch where the recording is voiced, in percent."""
    with torch.inference_mode():
        pitch = vocoder.codec.decode(torch.from_numpy(tokens)[None])[0][0].numpy()
    count = min(len(pitch), len(recording.pitch))
    ratio = np.abs(np.log(pitch[:count] / recording.pitch[:count]))
    return float(100 * np.average(ratio, weights=recording.voiced[:count] + 1e-9))


def transcribe(recognizer: Recognizer, speech: Audio) -> str:
    """The recognizer's transcript; empty where it hears no speech."""
    try:
        return recognizer.recognize(Turn(speech, emotion="neutral")).transcript
    except EmotionOmniError:
        return ""


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower().replace("’", "'"))
