# SPDX-License-Identifier: MIT
"""Suites that Debian ships only as source."""
SUITES = []
