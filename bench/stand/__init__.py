"""The test stand behind the pytest plugin: a unit, its vehicle and a gateway, simulated or real, driven step by step.

`stage` is where time passes (virtual, or a loop in a thread), `gateways` what can be asked of a gateway, `simulated` and `real`
are the two kinds of units, `story` is what happened, told when an expectation fails.
"""
