"""Search what each emotion does to Kokoro's prosody: sample, fit a surface, climb it, sample around the top, again.

``python -m emotion_omni train prosody --data FOLDER:FOLDER --out FOLDER``

A *manner* is a point in the space of :class:`Prosody`, in units of :data:`PARAMETERS`. Random manners are spoken with
neutral words by several voices. A ridge regression of second order predicts from a manner how the hidden states of
Whisper's encoder change, how natural the clip is and how like the voice stays. On this surface one manner an emotion is
found by gradient: those that the judges name rightly against each other, natural, one voice, and close to neutral. The
next round samples around them. Samples are kept as they come, and a second call goes on.

Axes: N samples, P parameters, Q terms of second order, F features, E emotions.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor

from emotion_omni import audio, emotion, streams, weights
from emotion_omni.evaluate.speaker_similarity import SpeakerEmbedder, similarity
from emotion_omni.evaluate.speech_quality import SpeechQuality
from emotion_omni.recognition.recognizer import HZ
from emotion_omni.recognition.speech_emotion import SHIPPED, SpeechEmotionHead, load_head, mean_states
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer, spoken_frames
from emotion_omni.synthesis import kokoro
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.synthesis.prosody import TIMBRE, Prosody
from emotion_omni.train.part_settings import ProsodySettings
from emotion_omni.train.prosody_judges import Judges, fit_judges
from emotion_omni.train.recognizer import load_corpus
from emotion_omni.types import Audio
