import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, recall_score

from tellapart.training.validation import balanced_accuracy, validation_figures


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur(pairs):
    y_true, y_pred = np.array(pairs).T
    recalls = recall_score(y_true, y_pred, labels=np.unique(y_true), average="macro", zero_division=0)
    assert balanced_accuracy(y_true, y_pred) == pytest.approx(recalls)


def test_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    logits, y_true = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    figures = validation_figures(logits, y_true)
    assert figures["val_loss"] == pytest.approx(log_loss(y_true, probabilities))
    assert figures["val_accuracy"] == accuracy_score(y_true, logits.argmax(axis=1))
    assert figures["val_balanced_accuracy"] == balanced_accuracy(y_true, logits.argmax(axis=1))
