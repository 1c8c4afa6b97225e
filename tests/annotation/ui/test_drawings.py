"""The Results tab is drawn once for each state of the store, and again after an event."""

from __future__ import annotations

import gc
from pathlib import Path

from annotation.bench.figures import STUDY, fill
from annotation.studio import Studio
from annotation.ui.results import KEPT_DRAWINGS, Drawings


def test_a_study_is_drawn_again_only_after_an_event(tmp_path: Path):
    studio = Studio.open(tmp_path)
    fill(studio, 300, 10, 5, "emotion-recognition")
    drawings = Drawings(studio)
    first = drawings.get(STUDY, True)
    assert drawings.get(STUDY, True) is first and drawings.get(STUDY, False) is not first and gc.isenabled()
    facts = {"subject": "item", "item": "i000001", "scale": "primary", "value": "calm", "reason": "", "by": "r0001"}
    for number in range(KEPT_DRAWINGS + 2):
        studio.store.write(lambda t, n=number: t.record("decided", decision=f"d{n}", study=STUDY, **facts))
        assert drawings.get(STUDY, True) is not first
    queue = drawings.get(STUDY, True).queue.set_index("item")
    assert queue.loc["i000001", "decided"] == "calm" and len(drawings._kept) == KEPT_DRAWINGS
    studio.close()
