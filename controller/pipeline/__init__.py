"""Pure: which flows follow from a world. A module per feature: functions from world values to flows."""
