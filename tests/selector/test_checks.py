"""scikit-learn's own checks of an estimator."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import recprune as rp

PARTS = (
    "rows are dealt to parts that train, score and decide: a row that is there twice may lie in "
    "two of them, a row of weight 2 cannot"
)
#: What does not apply, and why.
INAPPLICABLE = {
    "check_sample_weight_equivalence_on_dense_data": PARTS,
    "check_sample_weight_equivalence_on_sparse_data": PARTS,
}


def inapplicable(_: Any) -> dict[str, str]:
    return INAPPLICABLE


@parametrize_with_checks(
    [
        rp.FeatureSelector(LogisticRegression()),
        rp.FeatureSelector(Ridge(), method="drop_and_retrain", keep_count=1),
        rp.FeatureSelector(DecisionTreeClassifier(random_state=0), threshold=-1.0),
    ],
    expected_failed_checks=inapplicable,
)
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)
