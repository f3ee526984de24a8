# SPDX-License-Identifier: Apache-2.0
"""The demo: its recording, and the real node on it, asked for the views that were kept from it."""
