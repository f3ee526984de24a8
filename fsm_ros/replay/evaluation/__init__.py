# SPDX-License-Identifier: Apache-2.0
"""Measures a memory on recordings: how good, how forgetful, how fast; and shows it."""
