"""Requests and responses of signing in and of the audit, for the OpenAPI document."""

from typing import Literal

from pydantic import Field

from afterview.stream.service.http.schemas import Request, Response, Text
from afterview.stream.service.people.users import LONGEST_PASSWORD


class SignIn(Request):
    """Name and password of a user."""

    name: Text = Field(min_length=1, max_length=200, examples=["ann"])
    password: Text = Field(min_length=1, max_length=LONGEST_PASSWORD)


class SessionDocument(Response):
    """Who asks, and what they may."""

    user: str = Field(
        description="`owner`: the holder of the service's token, or everybody while there is neither token nor user."
    )
    role: Literal["owner", "admin", "viewer"]
    cameras: list[str] | None = Field(description="Ids of the cameras that they may see; null: all.")
    token: str | None = Field(description="Name of the token by which they came.")
    csrf: str | None = Field(
        description="For a cookie: the value of the header X-CSRF-Token of requests that change something."
    )
    expires: float | None = Field(description="Unix seconds, of the cookie.")


class AuditLine(Response):
    """Who did what. Further keys tell about what."""

    id: str
    time: float
    user: str | None
    door: str = Field(examples=["http"])
    what: str = Field(examples=["question"])


class AuditDocument(Response):
    """Lines, newest first. next: what `before` gives the following ones; null at the end. unreadable: lines that are no JSON."""

    lines: list[AuditLine]
    next: str | None
    unreadable: int
