"""The checks of gateways by what units say and hear: CloudBoxx, the command envelope, and the public protocols."""
