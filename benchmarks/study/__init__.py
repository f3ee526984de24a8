# SPDX-License-Identifier: Apache-2.0
"""The study of write rules: which of them keeps what a long stream has shown (benchmarks/elastic.py runs it).

Streams of many chunks are observed under every rule; what was seen, what was held out and what nobody saw is rendered
after few and after many chunks. Results are kept one file a rule, tables and plots are made from them.
"""
