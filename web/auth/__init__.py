"""Who is asking, and may they? Tokens, sessions, log-in, role rules, and what a browser must be told."""
