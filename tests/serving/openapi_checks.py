"""What schemathesis checks besides its own: loaded by it as hooks."""

from __future__ import annotations

from typing import Any

import schemathesis

INTERNALS = ("Traceback", ".py", "site-packages", "uvicorn", "starlette", "FastAPI", "pydantic")


@schemathesis.check
def only_the_model_refuses_what_the_document_allows(ctx: Any, response: Any, case: Any) -> None:
    """A request as the document has it is refused for what the model, not the form, lacks."""
    if response.status_code == 422 and case.meta.generation.mode.is_positive:
        code = response.json()["error"]["code"]
        assert code == "unfit", f"{code}: {response.text}"


@schemathesis.check
def nothing_is_told_of_the_inside(ctx: Any, response: Any, case: Any) -> None:
    """Neither body nor headers say what the service is made of."""
    told = response.text if response.status_code >= 400 else ""
    told += str(response.headers)
    assert not [word for word in INTERNALS if word in told], told
    assert response.headers["x-content-type-options"] == ["nosniff"]
