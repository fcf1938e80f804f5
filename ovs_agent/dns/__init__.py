"""The host's resolver: Warren's own names from a document, all others from the host's resolvers.

`wire`, `names`, `answer` and `cache` are pure: bytes and a time in, bytes out. `server` and `forward` move the bytes,
`space` makes the place where queries arrive, `follow` keeps the document.
"""
