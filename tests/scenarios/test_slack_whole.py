"""What Slack carries beside the text, on the wire: shared messages with their files, also where nothing was typed;
and edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet.model import TaskState
from fleet.store import tasks
from fleet.store.chat import attachments as attachment_rows
from tests.far_end.slack import ADA, ADAS_DM, OTTO, shows
from tests.scenarios.slack_house import House, house


async def dm(there: House, text: str, ts: str, **more: Any) -> None:
    """Ada writes to the app directly."""
    await there.proxy.event(text, user=ADA, channel=ADAS_DM, ts=ts, channel_type="im", **more)
    await there.handled()


def shared(text: str, file: str = "") -> dict[str, Any]:
    files = {"files": [{"id": file, "name": "cart.log", "mimetype": "text/plain", "size": 4}]} if file else {}
    return {"is_share": True, "is_msg_unfurl": True, "author_name": "alerts", "text": text, **files}


def edited(text: str, before: str, when: str) -> dict[str, Any]:
    now = {"user": ADA, "text": text, "ts": "1.1", "edited": {"user": ADA, "ts": when}}
    return {"subtype": "message_changed", "message": now, "previous_message": {"user": ADA, "text": before}}


async def test_a_shared_message_and_its_file_are_part_of_the_prompt_and_never_a_command(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.upload("cart.log", b"log\n", "see", user=OTTO)
        (message,) = [said for said in await there.slack.messages() if said.get("files")]
        await dm(there, "run fix that", "1.1", attachments=[shared("KeyError: 'price'", message["files"][0]["id"])])
        (task,) = await there.tasks()
        assert task.prompt.startswith("fix that\n\nForwarded from alerts") and "KeyError: 'price'" in task.prompt
        kept = await there.store.read(lambda tx: attachment_rows.of_note(tx, task.id, 0))
        assert [Path(file.path).read_bytes() for file in kept] == [b"log\n"]
        await dm(there, "", "1.2", attachments=[shared(f"stop {task.id}")])
        assert not await there.stopping(task.id), "shared words are no command"
        assert "comment" in shows((await there.slack.said(ADAS_DM))[-1]), "it says what to do with it"


async def test_an_edit_replaces_a_task_that_has_not_started_and_else_is_said(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await dm(there, "run fix the crat", "1.1")
        await dm(there, "", "2.1", **edited("run fix the cart", "run fix the crat", "2.0"))
        assert [(task.prompt, await there.stopping(task.id)) for task in await there.tasks()] == [
            ("fix the crat", True),
            ("fix the cart", False),
        ]
        await there.store.write(lambda tx: tasks.move(tx, "t2", TaskState.STOPPED, "", "airboss"))
        await dm(there, "", "3.1", **edited("run fix the carts", "run fix the cart", "3.0"))
        card = "\n".join([shows(said) for said in await there.slack.said(ADAS_DM)])
        assert "has your message as it was before your edit" in card and "Send the new text" in card
        assert len(await there.tasks()) == 2
