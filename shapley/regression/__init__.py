"""Weighted and ridge regression on coalitions: the algebra under the estimators."""
