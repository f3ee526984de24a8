# SPDX-License-Identifier: Apache-2.0
"""Recordings made (`recording`), measured (`evaluation`), and shown to the real node (`demo`)."""
