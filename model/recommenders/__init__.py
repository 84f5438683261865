"""Recommenders of tags that train no network: counts, user groups, matrix factorisation, a linear map of features."""
