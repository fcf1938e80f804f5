"""The pages for people: server-rendered, live, the same objects as the API shows.

A page is a frame around one region; after a change the region asks for its own address again and is laid over what
is there, so that nothing moves that did not change.
"""
