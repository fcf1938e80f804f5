"""Pure: what a change concerns. Selections over worlds; no flows are written here."""
