"""How the tables came to be what they are, one alembic revision a file. `db.migrate` runs them."""
