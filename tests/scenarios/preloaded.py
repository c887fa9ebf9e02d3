"""What the process that is forked into controllers has made already: the runner, compiled, and the imports that a
controller puts off until it needs them."""

from __future__ import annotations

import asyncssh

from bot.chats.slack import adapter as slack
from bot.chats.telegram import adapter as telegram
from fleet.machines.bootstrap import compiled_runner

LATER = (asyncssh, slack, telegram)

compiled_runner()
