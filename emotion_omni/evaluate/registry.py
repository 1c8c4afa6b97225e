"""All measures, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Sequence

from emotion_omni.evaluate.measure import Measure
from emotion_omni.evaluate.measures import (
    conversation,
    counterfactuals,
    crisis,
    end_to_end,
    judged,
    pleasing,
    questions,
    reading,
    recognition,
    replies,
    speed,
    truth,
    voice,
    words,
)
from emotion_omni.strict import nearest
from emotion_omni.types import EmotionOmniError

MEASURES: tuple[Measure, ...] = (
    recognition.MEASURE,
    words.MEASURE,
    replies.MEASURE,
    conversation.MEASURE,
    *counterfactuals.MEASURES,
    crisis.MEASURE,
    pleasing.MEASURE,
    truth.MEASURE,
    voice.MEASURE,
    reading.MEASURE,
    speed.MEASURE,
    *end_to_end.MEASURES,
    judged.MEASURE,
    questions.MEASURE,
)
NAMES = tuple(one.name for one in MEASURES)


def chosen(names: Sequence[str]) -> list[Measure]:
    """Those of these names, all if there are none. Raises :class:`EmotionOmniError` (code ``measure``)."""
    for name in names:
        if name not in NAMES:
            hint = nearest(name, NAMES)
            raise EmotionOmniError(f"There is no measure {name!r}. Use one of: {', '.join(NAMES)}.{hint}", "measure")
    return [one for one in MEASURES if not names or one.name in names]


def depending_on(parts: Sequence[str]) -> list[Measure]:
    """Measures with a guarded figure that depend on any of these parts."""
    return [one for one in MEASURES if set(one.parts) & set(parts) and any(figure.guarded for figure in one.figures)]
