"""The brain: compiles a world into the flows of every switch and keeps the switches at it."""
