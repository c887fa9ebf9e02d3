"""Alembic's entry point: uses the connection and transaction of ``fleet.store.databases``."""

from alembic import context

from fleet.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
