"""``airboss init``: proposes an ``airboss.toml`` for a repository, writes it and tries it."""
