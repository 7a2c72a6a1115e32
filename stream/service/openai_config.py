"""The section `openai` of the service's configuration."""

from pathlib import Path

from pydantic import Field, field_validator

from afterview.configs import Schema
from afterview.stream.service.host_names import require_host

ANY_PUBLIC = "*"  # in allow_urls: every host that is not of a private network


class OpenAiConfig(Schema):
    """The doors for clients of OpenAI, under /v1, and what may come with their questions."""

    enabled: bool = Field(default=True, description="Whether /v1 is served.")
    folders: tuple[Path, ...] = Field(
        default=(), description="Folders whose files may be named as file: addresses, by users who see all cameras."
    )
    allow_urls: tuple[str, ...] = Field(
        default=(),
        description='Hosts from which pictures and videos may be fetched; "*": every public one. A private one must be named.',
        examples=[["*", "nvr.home"]],
    )
    largest_bytes: int = Field(
        default=32 << 20, ge=1024, le=1 << 30, description="Of the pictures and videos of one question."
    )

    @field_validator("allow_urls")
    @classmethod
    def _host_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host if host == ANY_PUBLIC else require_host(host) for host in hosts)

    def from_directory(self, directory: Path) -> "OpenAiConfig":
        """With relative folders under a directory."""
        return self.model_copy(update={"folders": tuple(directory / folder.expanduser() for folder in self.folders)})
