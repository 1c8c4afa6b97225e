"""``python -m emotion_omni``."""

import sys

from emotion_omni.cli import main

if __name__ == "__main__":
    sys.exit(main())
