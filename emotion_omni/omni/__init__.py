"""The paper's end-to-end model: hears words and tone, answers in words and emotion, speaks from both."""
