"""What the operator puts into a workspace: ``[repos.NAME] files``. A snapshot never takes them."""

from __future__ import annotations

from fleet.flight.services import Services
from fleet.model import Session


async def put(services: Services, session: Session, repo: str) -> None:
    """Writes them, again at each call. Raises ``Misused`` when ``.env`` lacks one's content."""
    config = services.config().repos.get(repo)
    executor = services.executors.agent(session.machine, session.login)
    for path, file in config.files.items() if config else ():
        content = services.secrets.require(file.secret, f"fill {path}") if file.secret else file.text or ""
        await executor.write_file(f"{session.workspace}/{path}", content.encode())
