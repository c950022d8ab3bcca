"""Tests of single link types. Each has FORMS, which tests/wire/test_link.py and the anonymizer's tests run over."""
