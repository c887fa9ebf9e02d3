"""The store's schema, step by step (Alembic). ``HEAD`` lets a store that is up to date open without Alembic."""

HEAD = "0051"
