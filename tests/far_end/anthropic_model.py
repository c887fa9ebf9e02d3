"""The Messages API, as far as Claude Code needs it for scripted conversations."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

from tests.far_end.scripted_model import Asking, Call, Reply, ScriptedModel, Words, say


class AnthropicModel(ScriptedModel):
    """``POST /v1/messages`` with server-sent events. Point ``ANTHROPIC_BASE_URL`` at ``url``."""

    def read(self, key: str, body: dict[str, Any]) -> Asking | None:
        if not body.get("tools"):  # a request for a title
            return None
        words: list[str] = []
        results: list[str] = []
        for message in body["messages"]:
            if message["role"] != "user":
                continue
            for block in _blocks(message["content"]):
                if block["type"] == "text":
                    words.append(block["text"])
                elif block["type"] == "tool_result":
                    results.append("".join(part.get("text", "") for part in _blocks(block.get("content", ""))))
        step = sum(message["role"] == "assistant" for message in body["messages"])
        return Asking(key, step, tuple(words), tuple(results), body)

    def aside(self) -> Reply:
        return say('{"title":"scripted","isNewTopic":false}')

    def events(self, asking: Asking | None, reply: Reply) -> Iterator[dict[str, Any]]:
        step = 0 if asking is None else asking.step
        model = "aside" if asking is None else asking.body["model"]
        thread = 0 if asking is None else zlib.crc32("".join(asking.words[:2]).encode())  # apart from a subagent's
        yield {
            "type": "message_start",
            "message": {
                "id": f"msg_{step}",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": reply.input_tokens, "output_tokens": 1},
            },
        }
        for index, part in enumerate(reply.parts):
            match part:
                case Words(text):
                    block: dict[str, Any] = {"type": "text", "text": ""}
                    delta = {"type": "text_delta", "text": text}
                case Call(tool, arguments):
                    name = f"toolu_{thread:x}_{step}_{index}"
                    block = {"type": "tool_use", "id": name, "name": tool, "input": {}}
                    delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
            yield {"type": "content_block_start", "index": index, "content_block": block}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        calls = any(isinstance(part, Call) for part in reply.parts)
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": reply.output_tokens},
        }
        yield {"type": "message_stop"}


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
