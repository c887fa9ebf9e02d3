"""The Responses API, as far as Codex needs it for scripted conversations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.far_end.scripted_model import Asking, Call, Reply, ScriptedModel, Words

_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class ResponsesModel(ScriptedModel):
    """``POST /v1/responses`` with server-sent events. ``base_url`` is ``url`` + ``/v1``."""

    def read(self, key: str, body: dict[str, Any]) -> Asking | None:
        words: list[str] = []
        results: list[str] = []
        step, was_model = 0, False
        for item in body.get("input", []):
            by_model = item.get("role") == "assistant" or item["type"] in (
                "function_call",
                "custom_tool_call",
                "reasoning",
            )
            step += by_model and not was_model
            was_model = by_model
            if item.get("role") == "user":
                words += [part["text"] for part in item["content"] if "text" in part]
            elif item["type"] in _OUTPUTS:
                results.append(_text(item["output"]))
        return Asking(key, step, tuple(words), tuple(results), body)

    def events(self, asking: Asking | None, reply: Reply) -> Iterator[dict[str, Any]]:
        name = f"{0 if asking is None else asking.step}"
        yield {"type": "response.created", "response": {"id": f"resp_{name}"}}
        for index, part in enumerate(reply.parts):
            yield {"type": "response.output_item.done", "item": _item(part, f"{name}_{index}")}
        usage = {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": None,
            "output_tokens": reply.output_tokens,
            "output_tokens_details": None,
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }
        yield {"type": "response.completed", "response": {"id": f"resp_{name}", "usage": usage}}


def _item(part: Words | Call, name: str) -> dict[str, Any]:
    match part:
        case Words(text):
            content = [{"type": "output_text", "text": text}]
            return {"type": "message", "id": f"msg_{name}", "role": "assistant", "content": content}
        case Call(tool, str() as text):
            return {
                "type": "custom_tool_call",
                "id": f"ctc_{name}",
                "call_id": f"call_{name}",
                "name": tool,
                "input": text,
            }
        case Call(tool, arguments, namespace):
            return {
                **({"namespace": namespace} if namespace else {}),
                "type": "function_call",
                "id": f"fc_{name}",
                "call_id": f"call_{name}",
                "name": tool,
                "arguments": json.dumps(arguments),
            }


def _text(output: Any) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "".join(part.get("text", "") for part in output)
    return json.dumps(output)
