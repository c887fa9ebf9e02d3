"""Alembic's entry: runs inside the connection and transaction that ``fleet.store.databases`` hands over."""

from alembic import context

from fleet.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
