"""The official client of OpenAI against a service of a test, and what it sends."""

import base64
import io
from typing import Any

import numpy as np
import openai
from PIL import Image

from tests.support.service import ServiceHere


def client_of(service: ServiceHere, key: str = "unused", **options: Any) -> openai.OpenAI:
    """A client that does not ask again by itself."""
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key=key, max_retries=0, timeout=20, **options)


def user(*content: Any) -> dict[str, Any]:
    """A message of the user: texts, and parts."""
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {
        "role": "user",
        "content": [{"type": "text", "text": one} if isinstance(one, str) else one for one in content],
    }


def video(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}, **more}


def picture(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def data_url(data: bytes, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def jpeg(side: int = 64, value: int = 90) -> bytes:
    """A grey picture."""
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(file, "JPEG")
    return file.getvalue()
