"""Experiments: one module or package a table or figure of the paper."""
