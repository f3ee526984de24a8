# SPDX-License-Identifier: Apache-2.0
"""A viewer in the browser: people fly through the memory, and what they see is rendered by it."""
