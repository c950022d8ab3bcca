"""Tests of single tunnels. Each has FORMS, which tests/wire/test_tunnels.py and the anonymizer's tests run over."""
