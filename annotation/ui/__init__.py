"""One file per tab. The only folder besides ``app.py`` that imports gradio."""
