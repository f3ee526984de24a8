# SPDX-License-Identifier: Apache-2.0
"""Write rules: how one chunk goes into the fast weights of a layer.

A rule is a value behind :class:`.base.WriteRule`; :mod:`.naming` has how files and settings say which one is meant.
"""
