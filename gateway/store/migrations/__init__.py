"""Schemas, one after the other."""
