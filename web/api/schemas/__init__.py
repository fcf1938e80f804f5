"""The API's one contract: what may be sent, what is answered, and how the description of it reads.

Shapes only. Whether an address is free or a name is taken is the database's to say.
"""
