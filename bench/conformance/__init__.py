"""Conformance: numbered requirements for frames, units, gateways and event consumers, each with the check that proves it."""
