"""What was heard, as a picture: the change of an emotion, what is known of the voice, what "not sure" means."""

from __future__ import annotations

import re

from annotation.ui.talk import charts, page_update
from emotion_omni import emotion
from emotion_omni.types import SURE, Emotion, Heard, Plan


def rather(label: str) -> Emotion:
    return emotion.mixture(dict.fromkeys(emotion.NAMES, 0.05) | {label: 0.65})


def changing(turning_point: float | None) -> Heard:
    """Neutral up to 2.3 s, then angry; windows from 0.6 to 4.6 s."""
    over_time = [(0.6 + 0.2 * at, rather("neutral" if 0.6 + 0.2 * at < 2.3 else "angry")) for at in range(21)]
    return Heard("Well!", rather("neutral"), tuple(over_time), turning_point=turning_point)


def marks(picture: str) -> list[float]:
    """Where lines stand, as a share of the width of 360."""
    return [float(x) / 360 for x in re.findall(r'<line class="course-mark" x1="([\d.]+)"', picture)]


def test_a_change_is_marked_where_it_happens_and_named():
    picture = charts.heard_chart(changing(2.3), corrected=False)
    (share,) = marks(picture)
    assert abs(share - (2.3 - 0.6) / 4.0) < 0.005
    assert "changed here: neutral → angry, 2.3 s" in picture


def test_without_a_change_nothing_is_marked():
    picture = charts.heard_chart(changing(None), corrected=False)
    assert "course" in picture and not marks(picture) and "changed here" not in picture


def test_a_change_at_the_edge_stays_in_the_picture_and_equal_labels_are_not_named_twice():
    assert marks(charts.over_time(changing(None).trajectory, 9.0)) == [1.0]
    calmer = ((0.6, rather("sad")), (0.8, emotion.mixture({"sad": 0.4, "calm": 0.35, "neutral": 0.25})))
    assert "changed here, 0.7 s" in charts.over_time(calmer, 0.7)


def test_the_page_says_what_not_sure_means():
    unsure = emotion.mixture(dict.fromkeys(emotion.NAMES, 0.1) | {"sad": 0.3})
    assert f"No emotion reaches {SURE:.0%}" in charts.heard_chart(Heard("Well.", unsure), corrected=False)
    assert "No emotion reaches" not in charts.heard_chart(Heard("Well.", rather("sad")), corrected=False)


def test_the_page_says_what_it_learns_of_a_voice_and_that_it_is_not_kept():
    for turns in (1, 3, charts.WELL_KNOWN):
        said = charts.known_voice(turns)
        assert str(turns) in said and "for this conversation only" in said and "New forgets it" in said
    assert "voice" not in charts.heard_chart(Heard("Well.", rather("sad")), corrected=False), "it does not learn voices"


def test_the_page_says_that_words_and_tone_disagree():
    shown = [page_update._plan(Plan("calm", tone="sad", conflict=conflict)) for conflict in (True, False)]
    assert page_update.CONFLICT in shown[0] and page_update.CONFLICT not in shown[1]
