"""Messages with pictures: each picture becomes a placeholder in its message, and data beside it."""

import base64
from typing import Any


async def parse_chat_messages_async(messages: Any, model_config: Any, *, content_format: str) -> tuple[Any, Any, Any]:
    pictures: list[bytes] = []

    def parsed(part: dict[str, Any]) -> dict[str, Any]:
        if part["type"] == "text":
            return {"type": "text", "text": part["text"]}
        picture = base64.b64decode(part["image_url"]["url"].removeprefix("data:image/jpeg;base64,"), validate=True)
        assert picture[:2] == b"\xff\xd8"
        pictures.append(picture)
        return {"type": "image"}

    assert content_format == "openai"
    said = [
        {
            "role": one["role"],
            "content": one["content"] if isinstance(one["content"], str) else [*map(parsed, one["content"])],
        }
        for one in messages
    ]
    return said, {"image": pictures}, None
