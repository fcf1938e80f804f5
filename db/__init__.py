"""Warren's truth: rows, revisions, and the rules that decide which changes are allowed.

Knows nothing of flows or HTTP.
"""
