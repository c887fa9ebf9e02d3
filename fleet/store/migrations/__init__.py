"""The store's schema migrations (Alembic). ``HEAD`` lets an up-to-date store open without loading Alembic."""

HEAD = "0009"
