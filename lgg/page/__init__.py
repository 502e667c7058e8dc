"""The Gradio page: layout and events, the only package that imports gradio. `app.py` opens it.

What the page says stands in `lgg.report`, what it draws in `lgg.view`, what it knows in `lgg.cascade`.
"""
