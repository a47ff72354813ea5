"""Views of clips: the presets, and what single methods want of them."""
