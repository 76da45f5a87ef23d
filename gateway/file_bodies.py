"""A file to send, as JSON brings it: in base64, or as a URL from which it is fetched."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.datastructures import Headers, UploadFile

from events.content import MediaKind
from gateway.addresses import LONGEST_URL
from gateway.chat_ids import To
from gateway.downloads import Downloads, too_large
from gateway.problems import Problem
from gateway.wire import Wire


class FileBody(Wire):
    """A file to send; `base64` or `url`, and not both."""

    to: To
    base64: str | None = Field(default=None, min_length=1, description="The file's bytes.")
    url: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_URL, description="Where the file is."
    )
    caption: str = Field("", max_length=65_536)
    filename: str | None = Field(default=None, max_length=1_000)
    mimetype: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Read only where the file's first bytes do not tell it."
    )
    kind: MediaKind | None = Field(default=None, description="Unset: by the file's type.")

    @model_validator(mode="after")
    def _one_source(self) -> FileBody:
        if (self.base64 is None) == (self.url is None):
            raise PydanticCustomError("one_source", "must have either base64 or url")
        return self

    async def open(self, downloads: Downloads, largest: int, user: str) -> UploadFile:
        """Get the file for a user, to be closed by the caller. `largest` in bytes.

        Raises Problem: 400 for what is no base64, 413, and see Downloads.fetch.
        """
        if self.url is not None:
            found = await downloads.fetch(self.url, user)
        else:
            content = _decoded(self.base64 or "", largest)
            found = UploadFile(BytesIO(content), size=len(content), headers=Headers({}))
        return UploadFile(
            found.file,
            size=found.size,
            filename=self.filename or found.filename,
            headers=Headers({"content-type": self.mimetype or found.content_type or ""}),
        )


def _decoded(text: str, largest: int) -> bytes:
    if len(text) * 3 // 4 > largest + 2:
        raise too_large(largest)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "bad_input", "base64 must be base64, without line breaks.") from None
