"""The checks of the gateway's face: access, vehicles, states, logins, commands, events."""
