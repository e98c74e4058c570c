"""Scenes composed of parts of photographs and handwritten digits."""
