"""Where the API has the images of frames."""

from urllib.parse import quote


def image_url(camera: str, frame: int) -> str:
    """Where the API has the image of a frame."""
    return f"/api/v1/cameras/{quote(camera, safe='')}/frames/{frame}/image"
