"""What a failed call into a page is called."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from actors.browser.sightings import MAYBE_MESSAGE
from actors.sightings import failure_of


def test_an_answer_that_cannot_be_read_is_never_quoted() -> None:
    with pytest.raises(ValidationError) as unreadable:
        MAYBE_MESSAGE.validate_python({"body": ["my secret"], "from": "4915112345678"})

    failure = failure_of(unreadable.value)

    assert failure.reason == "browser_error"
    assert "secret" not in failure.detail
    assert "49151" not in failure.detail
