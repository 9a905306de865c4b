"""Alembic's entry: runs the migrations on the connection and in the transaction of `store.schema`."""

from alembic import context

from claude_agent_http.store.tables import metadata

connection = context.config.attributes["connection"]
if connection is None:
    raise RuntimeError("run `claude-agent-http migrate`; offline migrations are not supported")

# SQLite's DDL is transactional too, when the driver does not commit on its own.
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
