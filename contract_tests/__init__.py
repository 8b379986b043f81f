"""The contract suite: tests that run against a mock and, within a budget, against the live service."""

import pytest

# before the first import of these modules, so that their failed asserts show values too
pytest.register_assert_rewrite("contract_tests.reading", "contract_tests.service")
