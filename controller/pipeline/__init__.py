"""Pure: which flows follow from a world. One module per feature, each a handful of functions from world values to flows."""
