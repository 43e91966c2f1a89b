"""The server keeps to its OpenAPI document, whatever is made up from it or against it (schemathesis)."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ME, a_studio

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

ACCEPTANCE = positive_data_acceptance
"""Check that is left out: no document says which bytes are a picture, or which names there are."""
EXAMPLES = 15
"""Requests made up for each operation."""


@pytest.mark.slow
def test_every_answer_is_one_that_the_document_promises() -> None:
    with a_studio() as server:
        schema = schemathesis.openapi.from_url(f"{server.address}api/openapi.json")
        operations = [one.ok() for one in schema.get_all_operations()]
        assert {one.path for one in operations} >= {"/api/run", "/api/model", "/api/pictures", "/api/jobs/{job}", "/api/about"}
        for operation in operations:
            check(operation)


def check(operation: Any) -> None:
    made = st.one_of(operation.as_strategy(), operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )  # fmt: skip
    @given(case=made)
    def holds(case: Any) -> None:
        answer = case.call_and_validate(headers={"X-Tapetum-Client": ME}, timeout=60, excluded_checks=[ACCEPTANCE])
        assert answer.status_code < 500
        assert "Failure" not in answer.text

    holds()
